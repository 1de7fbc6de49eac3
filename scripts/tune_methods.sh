#!/usr/bin/env bash
# Choose the setting of every method on digits by validation mAP: three values each, on seed 0.
#
#     scripts/tune_methods.sh            # trains what is not there yet, under a minute a run
#
# Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
USUAL_SEEDS=0
source scripts/runs.sh
digits_alone
RESULTS=${RESULTS:-$(usual_folder sweep_digits)}

# the method, ending in the flag that is tuned: its three values
GRID="
AN --lr                            : 0.0005 0.001 0.002
AN --train_set_variant clean --lr  : 0.0005 0.001 0.002
IU --lr                            : 0.0005 0.001 0.002
WAN --lr                           : 0.0005 0.001 0.002
LSAN --ls_coef                     : 0.05 0.1 0.2
EPR --lr                           : 0.0005 0.001 0.002
ROLE --lr                          : 0.0005 0.001 0.002
EM --em_alpha                      : 0.05 0.1 0.2
EM+APL --em_alpha 0.1 --apl_beta   : 0.02 0.2 0.9
ASL --gammas                       : 0,1 0,2 0,4
CSL --topk                         : 1 2 3
LL-R --delta_rel                   : 1.5 2 2.5
LL-Ct --delta_rel                  : 1.5 2 2.5
LL-Cp --delta_rel                  : 0.5 1 1.5
AN --boostlu                       : 2 5 10
LL-R --boostlu                     : 2 5 10
LL-Ct --boostlu                    : 2 5 10
LL-Cp --boostlu                    : 2 5 10
"

runs() { # the flags of each run with this seed, a line a run
    while IFS=: read -r method values; do
        method=${method%%  *} # without the spaces at its end
        for value in $values; do
            name=${method// --/_}-$value
            name=" --exp_name ${name// /-}_seed$1"
            [[ $method == *--lr || $method == *--delta_rel ]] && name= # the usual name says it
            echo "--mod_scheme $method $value --seed $1$name"
        done
    done <<<"$GRID"
}

for seed in $SEEDS; do runs "$seed"; done | train_all || exit
step python -m tools.report "$RESULTS"
name_failed
