#!/usr/bin/env bash
# LinearInit on digits: 25 epochs of the head alone, with fine-tuning after them and without.
#
#     scripts/linear_init.sh             # prints the committed records, writes docs/methods.md
#     SEEDS="4 5" RESULTS=my_linear scripts/linear_init.sh    # trains, under a minute a run
#     JOBS=2 scripts/linear_init.sh      # two runs at a time
#
# End to end training is that of scripts/digits.sh. Stopped and started again, it goes on where it
# was. Runs that fail are named at the end.
cd "$(dirname "$0")/.." || exit 1
RESULTS=${RESULTS:-results/linear_init}
source scripts/runs.sh

for seed in ${SEEDS:-1 2 3}; do
    for method in AN LL-R LL-Ct LL-Cp; do
        echo "--mod_scheme $method --linear_init 25 --seed $seed"
        echo "--mod_scheme $method --linear_init 25 --num_epochs 0 --seed $seed"
    done
done | train_all || exit
name_failed
if [[ $RESULTS == results/linear_init ]]; then
    python -m tools.report results/digits "$RESULTS" --name linear_init --write docs/methods.md
else
    python -m tools.report "$RESULTS"
fi
