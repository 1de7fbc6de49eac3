#!/usr/bin/env bash
# Choose delta_rel by validation mAP: each scheme at each value, on one seed.
#
#     scripts/sweep_delta_rel.sh                 # digits, about 10 minutes on two CPU cores
#     DATASET=pascal SCHEMES="LL-R" DELTAS="0.1 0.2 0.3 0.4 0.5" scripts/sweep_delta_rel.sh
#     JOBS=2 scripts/sweep_delta_rel.sh          # two runs at a time
#
# Stopped and started again, it goes on where it was. Runs that fail are named at the end.
cd "$(dirname "$0")/.." || exit 1
RESULTS=${RESULTS:-results/sweep_$(basename "${DATASET:-digits}")}
source scripts/runs.sh

for scheme in ${SCHEMES:-LL-R LL-Ct LL-Cp}; do
    usual="1.5 2 2.5"
    [[ $scheme == LL-Cp ]] && usual="0.5 1 1.5"
    for delta in ${DELTAS:-$usual}; do
        echo "--mod_scheme $scheme --delta_rel $delta --seed ${SEED:-0}"
    done
done | train_all || exit
python -m tools.report "$RESULTS"
name_failed
