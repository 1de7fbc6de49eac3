#!/usr/bin/env bash
# LinearInit: 25 epochs of the head alone, with fine-tuning after them and without.
#
#     scripts/linear_init.sh                      # digits, and the table of docs/methods.md
#     DATASET=pascal SEEDS=0 METHODS="AN LL-R" scripts/linear_init.sh
#
# End to end training is that of scripts/results.sh. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
main=$(usual_folder main)
RESULTS=${RESULTS:-$(usual_folder linear_init)}
[[ -n $QUICK ]] && METHODS=${METHODS:-AN LL-R}

for seed in $SEEDS; do
    for method in ${METHODS:-AN LL-R LL-Ct LL-Cp}; do
        echo "--mod_scheme $method --linear_init 25 --seed $seed"
        echo "--mod_scheme $method --linear_init 25 --num_epochs 0 --seed $seed"
    done
done | train_all || exit
step python -m tools.report "$RESULTS"
name_failed
if are_committed linear_init; then
    step python -m tools.report "$main" "$RESULTS" --name linear_init --write docs/methods.md
    name_failed
fi
