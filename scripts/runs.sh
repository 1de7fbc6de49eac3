# shellcheck shell=bash
# Sourced by the other scripts, each of which is a table or a figure. What they all take:
#
#   DATASET=digits     the data set, or the path of a folder: its results lie in ROOT/folders
#   SEEDS="1 2 3"      a run for each
#   FLAGS=             more flags of main.py for every run: FLAGS="--data_root /big --num_workers 8";
#                      they win over those of the script (table1.sh pretrains without them)
#   JOBS=1             runs at a time, spread over the GPUs if there are any
#   QUICK=             1: one seed and fewer values, in results/quick
#   ROOT=results       the folder of all results
#   RESULTS            the folder of the script's own runs, if not the usual one below ROOT; relative
#                      paths are below the repository
#
# The records of digits, its figures in imgs/ and the tables of the pages are committed. With other
# SEEDS, with FLAGS or values of your own (METHODS, SCHEMES, DELTAS, SHARES, DRAWS), ROOT is
# results/own unless you give it, figures lie there too, and no page is written. A run that a script
# gives a name (csl.sh, table1.sh on digits) has the same with other FLAGS: give it another ROOT.
#
# Stopped and started again, a script goes on where it was: each run is started with --resume, and a
# finished one not at all. Runs that fail hold up no other; they are named at the end, with status 1.
# The file runs.txt beside the runs lists them, so that tools.report also knows of those that never
# began.
set -u
if (($#)); then # they take none: the head of the script says what it does
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "scripts/$(basename "$0")"
    [[ $1 == --help || $1 == -h ]] && exit 0
    echo "error: unexpected argument $1: settings are variables, see the head of scripts/runs.sh" >&2
    exit 2
fi
if [[ -z ${GUARDED:-} ]]; then # bash looks at a signal only once a command in front has ended,
    export GUARDED=1           # so another one runs the script, and this one passes SIGTERM on
    (trap - INT && exec bash "scripts/$(basename "$0")") &
    script=$! running=
    # shellcheck disable=SC2329  # the trap calls it
    tree() { # a process and all below it
        local child
        echo "$1"
        for child in $(pgrep -P "$1"); do tree "$child"; done
    }
    # shellcheck disable=SC2086  # a word a process
    trap 'running=$(tree $script) && kill $running' TERM HUP
    trap : INT # the script gets it too
    wait "$script"
    status=$?
    while kill -0 "$script" 2>/dev/null; do # a signal has ended the wait
        wait "$script"
        status=$?
    done
    for process in $running; do # a run stops after its step
        while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
    done
    exit "$status"
fi
if [[ ! ${JOBS:-1} =~ ^[1-9][0-9]*$ ]]; then
    echo "error: JOBS=$JOBS must be a whole number from 1" >&2
    exit 2
fi
DATASET=${DATASET:-digits}
FLAGS=${FLAGS:-}
QUICK=${QUICK:-}
[[ $QUICK == 0 ]] && QUICK=
USUAL_SEEDS=${USUAL_SEEDS:-1 2 3}
if [[ -n $QUICK ]]; then
    SEEDS=${SEEDS:-1} ROOT=${ROOT:-results/quick}
fi
SEEDS=${SEEDS:-$USUAL_SEEDS}
OWN=$FLAGS${METHODS:-}${SCHEMES:-}${DELTAS:-}${SHARES:-}${DRAWS:-} # what makes other runs
[[ $SEEDS == "$USUAL_SEEDS" ]] || OWN+=$SEEDS
[[ $DATASET == digits && -n $OWN ]] && ROOT=${ROOT:-results/own}
ROOT=${ROOT:-results}
if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
    GPUS=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .)
else
    GPUS=$(nvidia-smi --list-gpus 2>/dev/null | wc -l)
fi
FAILED=$(mktemp) || exit 1
export DATASET GPUS FAILED
trap 'rm -f "$FAILED"' EXIT
trap 'exit 130' INT # a child that was about to end may end well
if [[ $DATASET == digits ]]; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records: it changes the rounding
fi

PLACE=$DATASET # of its results, below ROOT
if [[ $DATASET != */* && -d $DATASET ]]; then # a known set, or the path of a folder
    DATASET=$(python -c 'import sys, words; print(words.dataset(sys.argv[1]))' "$DATASET") || exit
fi
if [[ $DATASET == */* ]]; then # as in the names of its runs
    PLACE=$(cd "$DATASET" &>/dev/null && pwd -P || echo "$DATASET")
    digest=$(printf %s "$PLACE" | sha256sum)
    PLACE=${PLACE##*/}
    PLACE=folders/${PLACE//[^A-Za-z0-9.-]/-}-${digest::8}
fi

usual_folder() { # of the runs of this kind: main, methods, delta_rel, ...
    if [[ $DATASET != digits ]]; then
        echo "$ROOT/$PLACE/$1"
    elif [[ $1 == main ]]; then
        echo "$ROOT/digits"
    else
        echo "$ROOT/$1"
    fi
}

digits_alone() { # refuse another data set
    [[ $DATASET == digits ]] && return
    echo "error: DATASET=$DATASET: scripts/$(basename "$0") is about digits alone" >&2
    exit 2
}

are_committed() { # whether the runs of this kind are those whose pages and figures are committed
    [[ $DATASET == digits && $ROOT == results && -z $OWN && $RESULTS == "$(usual_folder "$1")" ]]
}

figures_folder() { # where figures of runs of this kind are written
    if are_committed "$1"; then
        echo imgs
    elif [[ $RESULTS == "$(usual_folder "$1")" || $RESULTS == "$(usual_folder main)" ]]; then
        usual_folder figures
    else
        echo "$RESULTS/figures"
    fi
}

train() { # the flags of a run, all in one word
    local gpu=()
    ((GPUS)) && gpu=(--gpu_num $((${SLOT:-0} % GPUS)))
    eval "set -- $1"
    python main.py --dataset "$DATASET" "$@" --save_path "$RESULTS" --resume ${gpu[@]+"${gpu[@]}"}
    local status=$?
    ((status == 130 || status == 143)) && exit 255 # stopped: no other run is started then
    ((status)) && echo "failed: $*" >>"$FAILED"
    exit 0
}
export -f train

todo() { # those that are not finished of the runs whose flags stand on standard input, with FLAGS
    while read -r line; do
        printf '%s\n' "$line${FLAGS:+ $FLAGS}"
    done | python -m tools.todo "$RESULTS" --dataset "$DATASET" ${BESIDES:+--besides "$BESIDES"}
}

train_all() { # the runs whose flags stand on standard input, a line a run, but those in BESIDES
    export RESULTS
    local todo slots=()
    todo=$(todo) || exit
    [[ -n $todo ]] || return 0
    ((GPUS)) && slots=(--process-slot-var=SLOT)
    # shellcheck disable=SC2016  # the shell that xargs starts expands it
    printf '%s\n' "$todo" | tr '\n' '\0' |
        xargs -0 -P "${JOBS:-1}" ${slots[@]+"${slots[@]}"} -I{} bash -c 'train "$1"' _ {} ||
        exit 130 # one was stopped, and so are all
    [[ -d $RESULTS ]] || name_failed # none could begin: there is nothing to tell of
}

step() { # a command that is no run: named with the failed ones if it fails
    "$@"
    local status=$?
    ((status == 130 || status == 143)) && exit "$status" # stopped
    ((status)) && echo "failed: $*" >>"$FAILED"
    return "$status"
}

name_failed() { # and end with status 1 if there are any
    [[ -s $FAILED ]] || return 0
    cat "$FAILED" >&2
    exit 1
}
