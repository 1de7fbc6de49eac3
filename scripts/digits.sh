#!/usr/bin/env bash
# The table of results on digits: every method on every seed, then the README's table and figure.
#
#     scripts/digits.sh                          # prints the committed records, writes table and figure
#     SEEDS="4 5" RESULTS=my_digits scripts/digits.sh    # trains, under a minute a run
#
# Stopped and started again, it goes on where it was. A run that fails is named at the end.
set -u
cd "$(dirname "$0")/.." || exit 1
RESULTS=${RESULTS:-results/digits}
SEEDS=${SEEDS:-1 2 3}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records: it changes the rounding

failed=()
for seed in $SEEDS; do
    for method in "AN" "LL-R" "LL-Ct" "LL-Cp" "AN --lr 0.001 --train_set_variant clean"; do
        # shellcheck disable=SC2086  # a method is several words
        python main.py --dataset digits --mod_scheme $method --seed "$seed" \
            --save_path "$RESULTS" --resume
        status=$?
        ((status >= 128)) && exit "$status" # stopped by a signal: do not start the next one
        ((status)) && failed+=("$method, seed $seed")
    done
done
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
if [[ $RESULTS == results/digits ]]; then
    python -m tools.report "$RESULTS" --write README.md
    python -m tools.figures "$RESULTS" --out imgs/memorization.png
else
    python -m tools.report "$RESULTS"
fi
