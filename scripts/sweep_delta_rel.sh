#!/usr/bin/env bash
# Choose delta_rel by validation mAP: each scheme at each value, on one seed.
#
#     scripts/sweep_delta_rel.sh                 # digits, about 10 minutes on two CPU cores
#     DATASET=pascal SCHEMES="LL-R" DELTAS="0.1 0.2 0.3 0.4 0.5" scripts/sweep_delta_rel.sh
#
# Stopped and started again, it goes on where it was. A run that fails is named at the end.
set -u
cd "$(dirname "$0")/.." || exit 1
DATASET=${DATASET:-digits}
SCHEMES=${SCHEMES:-LL-R LL-Ct LL-Cp}
SEED=${SEED:-0}
RESULTS=${RESULTS:-results/sweep_$(basename "$DATASET")}
[[ $DATASET == digits ]] && export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # as the committed records

failed=()
for scheme in $SCHEMES; do
    usual="1.5 2 2.5"
    [[ $scheme == LL-Cp ]] && usual="0.5 1 1.5"
    for delta in ${DELTAS:-$usual}; do
        python main.py --dataset "$DATASET" --mod_scheme "$scheme" --delta_rel "$delta" \
            --seed "$SEED" --save_path "$RESULTS" --resume
        status=$?
        ((status >= 128)) && exit "$status" # stopped by a signal: do not start the next one
        ((status)) && failed+=("$scheme $delta")
    done
done
python -m tools.report "$RESULTS"
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
