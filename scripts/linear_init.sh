#!/usr/bin/env bash
# LinearInit on digits: 25 epochs of the head alone, with fine-tuning after them and without.
#
#     scripts/linear_init.sh             # prints the committed records, writes docs/methods.md
#     SEEDS="4 5" RESULTS=my_linear scripts/linear_init.sh    # trains, under a minute a run
#
# End to end training is that of scripts/digits.sh. Stopped and started again, it goes on where it
# was. A run that fails is named at the end.
set -u
cd "$(dirname "$0")/.." || exit 1
RESULTS=${RESULTS:-results/linear_init}
SEEDS=${SEEDS:-1 2 3}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records: it changes the rounding

failed=()
for seed in $SEEDS; do
    for method in AN LL-R LL-Ct LL-Cp; do
        for phases in "--linear_init 25" "--linear_init 25 --num_epochs 0"; do
            # shellcheck disable=SC2086  # the flags are several words
            python main.py --dataset digits --mod_scheme "$method" $phases --seed "$seed" \
                --save_path "$RESULTS" --resume
            status=$?
            ((status >= 128)) && exit "$status" # stopped by a signal: do not start the next one
            ((status)) && failed+=("$method $phases, seed $seed")
        done
    done
done
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
if [[ $RESULTS == results/linear_init ]]; then
    python -m tools.report results/digits "$RESULTS" --name linear_init --write docs/methods.md
else
    python -m tools.report "$RESULTS"
fi
