#!/usr/bin/env bash
# Every method on digits at its recipe's setting, then the tables of docs/methods.md.
#
#     scripts/methods.sh                 # prints the committed records, writes the page
#     SEEDS="4 5" RESULTS=my_methods scripts/methods.sh    # trains, under a minute a run
#     JOBS=2 scripts/methods.sh          # two runs at a time
#
# AN, LL-* and full labels are of scripts/digits.sh. Stopped and started again, it goes on where it
# was. Runs that fail are named at the end.
set -u
cd "$(dirname "$0")/.." || exit 1
JOBS=${JOBS:-1}
SEEDS=${SEEDS:-1 2 3}
RESULTS=${RESULTS:-results/methods}
FAILED=$(mktemp) || exit 1
trap 'rm -f "$FAILED"' EXIT
export RESULTS FAILED OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records

METHODS=(
    IU WAN LSAN EPR ROLE EM EM+APL ASL CSL
    "AN --boostlu 5" "LL-R --boostlu 5" "LL-Ct --boostlu 5" "LL-Cp --boostlu 2"
)

runs() { # the flags of each run, a line a run
    for seed in $SEEDS; do
        printf -- "--mod_scheme %s --seed $seed\n" "${METHODS[@]}"
    done
}

train() { # the run with these flags, all in one word
    # shellcheck disable=SC2086
    python main.py --dataset digits $1 --save_path "$RESULTS" --resume
    status=$?
    ((status >= 128)) && exit 255 # stopped by a signal: no other run is started then
    ((status)) && echo "failed: $1" >>"$FAILED"
    exit 0
}
export -f train

# shellcheck disable=SC2016  # the shell that xargs starts expands it
runs | xargs -P "$JOBS" -I{} bash -c 'train "$1"' _ {} || exit
if [[ -s $FAILED ]]; then
    cat "$FAILED" >&2
    exit 1
fi
if [[ $RESULTS == results/methods ]]; then
    python -m tools.report results/digits "$RESULTS" --name methods --write docs/methods.md
else
    python -m tools.report "$RESULTS"
fi
