#!/usr/bin/env bash
# CSL on labels drawn by FPC and by RPS: a model that ignores unobserved labels gives the classes'
# priors, with which the selective one is trained; and one that takes unobserved labels for negative.
#
#     scripts/csl.sh                              # digits, and the table of docs/methods.md
#     DATASET=coco DRAWS="fpc=1000 rps=0.5" scripts/csl.sh    # draws its observed labels anew
#
# One prior a draw, from the first seed. A folder keeps the labels of the last draw. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
all=${RESULTS:-$(usual_folder csl)}

runs() { # of this mode, with these flags
    for seed in $SEEDS; do
        echo "--mod_scheme CSL --mode $1 --seed $seed ${*:2} --exp_name $1_seed$seed"
    done
}

[[ -n $QUICK ]] && DRAWS=${DRAWS:-fpc=100}

for draw in ${DRAWS:-fpc=100 rps=0.5}; do
    RESULTS=$all/${draw/=/_}
    first=$RESULTS/ignore_seed${SEEDS%% *}
    labels="--${draw%=*} ${draw#*=}" # of digits main.py draws them, of a folder data.observe
    if [[ $DATASET != digits ]]; then
        runs ignore | todo >/dev/null || exit # there is no such folder
        [[ $FLAGS =~ --data_root[=\ ]+([^ ]+) ]] && labels+=" --data_root ${BASH_REMATCH[1]}"
        # shellcheck disable=SC2086
        step python -m data.observe "$DATASET" $labels || continue
        labels=
    fi
    # shellcheck disable=SC2086
    { runs ignore $labels; runs negative $labels; } | train_all || exit
    [[ -e $first.csv ]] || step python -m tools.prior "$first" --out "$first.csv" || continue
    # shellcheck disable=SC2086
    runs selective $labels --prior "$(printf %q "$first.csv")" | train_all || exit
done
RESULTS=$all
step python -m tools.report "$all"
name_failed
if are_committed csl; then
    step python -m tools.report "$all" --name csl --write docs/methods.md
    name_failed
fi
