#!/usr/bin/env bash
# The table of results on digits: every method on every seed, then the README's table and figure.
#
#     scripts/digits.sh                          # prints the committed records, writes table and figure
#     SEEDS="4 5" RESULTS=my_digits scripts/digits.sh    # trains, under a minute a run
#     JOBS=2 scripts/digits.sh                   # two runs at a time
#
# Stopped and started again, it goes on where it was. Runs that fail are named at the end.
cd "$(dirname "$0")/.." || exit 1
RESULTS=${RESULTS:-results/digits}
source scripts/runs.sh

for seed in ${SEEDS:-1 2 3}; do
    for method in "AN" "LL-R" "LL-Ct" "LL-Cp" "AN --lr 0.001 --train_set_variant clean"; do
        echo "--mod_scheme $method --seed $seed"
    done
done | train_all || exit
name_failed
if [[ $RESULTS == results/digits ]]; then
    python -m tools.report "$RESULTS" --write README.md
    python -m tools.figures "$RESULTS" --out imgs/memorization.png
else
    python -m tools.report "$RESULTS"
fi
