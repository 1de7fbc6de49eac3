# shellcheck shell=bash
# Sourced by the other scripts, each of which is a table or a figure. What they all take:
#
#   DATASET=digits     the data set, or the path of a folder
#   SEEDS="1 2 3"      a run for each
#   JOBS=1             runs at a time, spread over the GPUs if there are any
#   QUICK=             1: one seed and fewer values, in results/quick
#   ROOT=results       the folder of all results
#   RESULTS            the folder of the script's own runs, if not the usual one below ROOT
#
# Stopped and started again, a script goes on where it was: each run is started with --resume, and a
# finished one not at all. Runs that fail hold up no other; they are named at the end, with status 1.
# The file runs.txt beside the runs lists them, so that tools.report also knows of those that never
# began.
set -u
DATASET=${DATASET:-digits}
QUICK=${QUICK:-}
ROOT=${ROOT:-results${QUICK:+/quick}}
if [[ -n $QUICK ]]; then
    SEEDS=${SEEDS:-1}
fi
SEEDS=${SEEDS:-1 2 3}
GPUS=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
FAILED=$(mktemp) || exit 1
export DATASET GPUS FAILED
trap 'rm -f "$FAILED"' EXIT
if [[ $DATASET == digits ]]; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records: it changes the rounding
fi

usual_folder() { # of the runs of this kind: main, methods, delta_rel, ...
    if [[ $DATASET != digits ]]; then
        echo "$ROOT/$(basename "$DATASET")/$1"
    elif [[ $1 == main ]]; then
        echo "$ROOT/digits"
    else
        echo "$ROOT/$1"
    fi
}

are_committed() { # whether the runs of this kind are those whose pages and figures are committed
    [[ $DATASET == digits && $ROOT == results && $RESULTS == "$(usual_folder "$1")" ]]
}

figures_folder() { # where figures of runs of this kind are written
    if are_committed "$1"; then
        echo imgs
    elif [[ $RESULTS == "$(usual_folder "$1")" ]]; then
        usual_folder figures
    else
        echo "$RESULTS/figures"
    fi
}

train() { # the flags of a run, all in one word
    local gpu=()
    ((GPUS)) && gpu=(--gpu_num $((${SLOT:-0} % GPUS)))
    # shellcheck disable=SC2086
    python main.py --dataset "$DATASET" $1 --save_path "$RESULTS" --resume ${gpu[@]+"${gpu[@]}"}
    local status=$?
    ((status >= 128)) && exit 255 # stopped by a signal: no other run is started then
    ((status)) && echo "failed: $1" >>"$FAILED"
    exit 0
}
export -f train

todo() { # those that are not finished of the runs whose flags stand on standard input
    python -m tools.todo "$RESULTS" --dataset "$DATASET"
}

train_all() { # the runs whose flags stand on standard input, a line a run
    export RESULTS
    local todo slots=()
    todo=$(todo) || exit
    [[ -n $todo ]] || return 0
    ((GPUS)) && slots=(--process-slot-var=SLOT)
    # shellcheck disable=SC2016  # the shell that xargs starts expands it
    xargs -P "${JOBS:-1}" ${slots[@]+"${slots[@]}"} -I{} bash -c 'train "$1"' _ {} <<<"$todo"
}

step() { # a command that is no run: named with the failed ones if it fails
    "$@"
    local status=$?
    ((status >= 128)) && exit "$status"
    ((status)) && echo "failed: $*" >>"$FAILED"
    return 0
}

name_failed() { # and end with status 1 if there are any
    [[ -s $FAILED ]] || return 0
    cat "$FAILED" >&2
    exit 1
}
