#!/usr/bin/env bash
# CSL on labels drawn by FPC and by RPS: a model that ignores unobserved labels gives the classes'
# priors, with which the selective one is trained; and one that takes unobserved labels for negative.
#
#     scripts/csl.sh                     # digits: prints the committed records, writes the page
#     DATASET=coco DRAWS="fpc=1000 rps=0.5" scripts/csl.sh    # draws its observed labels anew
#
# One prior a draw, from the first seed. Stopped and started again, it goes on where it was. A run
# that fails is named at the end.
set -u
cd "$(dirname "$0")/.." || exit 1
DATASET=${DATASET:-digits}
DRAWS=${DRAWS:-fpc=100 rps=0.5}
SEEDS=${SEEDS:-1 2 3}
if [[ $DATASET == digits ]]; then
    RESULTS=${RESULTS:-results/csl}
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records
else
    RESULTS=${RESULTS:-results/csl_$(basename "$DATASET")}
fi
failed=()

check() { # what became of the step of this name
    local status=$?
    ((status >= 128)) && exit "$status" # stopped by a signal: do not start the next one
    ((status)) && failed+=("$1")
    return "$status"
}

train() { # mode, seed, more flags
    python main.py --dataset "$DATASET" --mod_scheme CSL --mode "$1" --seed "$2" "${@:3}" \
        --save_path "$folder" --exp_name "$1_seed$2" --resume
    check "$folder/$1_seed$2"
}

for draw in $DRAWS; do
    folder=$RESULTS/${draw/=/_}
    first=$folder/ignore_seed${SEEDS%% *}
    labels=("--${draw%=*}" "${draw#*=}") # of digits main.py draws them, of a folder data.observe
    if [[ $DATASET != digits ]]; then
        python -m data.observe "$DATASET" ${labels[@]+"${labels[@]}"}
        check "the draw $draw" || continue
        labels=()
    fi
    for seed in $SEEDS; do
        train ignore "$seed" ${labels[@]+"${labels[@]}"}
        train negative "$seed" ${labels[@]+"${labels[@]}"}
    done
    if [[ ! -e $first.csv ]]; then
        python -m tools.prior "$first" --out "$first.csv"
        check "$first.csv" || continue
    fi
    for seed in $SEEDS; do
        train selective "$seed" ${labels[@]+"${labels[@]}"} --prior "$first.csv"
    done
done
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
if [[ $RESULTS == results/csl ]]; then
    python -m tools.report "$RESULTS" --name csl --write docs/methods.md
else
    python -m tools.report "$RESULTS"
fi
