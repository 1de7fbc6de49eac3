# shellcheck shell=bash
# Sourced by the other scripts: trains runs, JOBS at a time, and names those that fail at the end.
# Each run is started with --resume: what was stopped goes on, what is finished is not repeated.
# A caller sets RESULTS, the folder of its runs, and DATASET if it is not digits.
set -u
DATASET=${DATASET:-digits}
export RESULTS DATASET
FAILED=$(mktemp) || exit 1
export FAILED
trap 'rm -f "$FAILED"' EXIT
if [[ $DATASET == digits ]]; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records: it changes the rounding
fi

train() { # the flags of a run, all in one word
    # shellcheck disable=SC2086
    python main.py --dataset "$DATASET" $1 --save_path "$RESULTS" --resume
    local status=$?
    ((status >= 128)) && exit 255 # stopped by a signal: no other run is started then
    ((status)) && echo "failed: $1" >>"$FAILED"
    exit 0
}
export -f train

train_all() { # the runs whose flags stand on standard input, a line a run
    # shellcheck disable=SC2016  # the shell that xargs starts expands it
    xargs -P "${JOBS:-1}" -I{} bash -c 'train "$1"' _ {}
}

name_failed() { # and end with status 1 if there are any
    [[ -s $FAILED ]] || return 0
    cat "$FAILED" >&2
    exit 1
}
