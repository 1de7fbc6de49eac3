#!/usr/bin/env bash
# Every table and every figure, in turn, and the page with all of them.
#
#     scripts/all.sh                              # digits, from the committed records: minutes
#     QUICK=1 JOBS=2 scripts/all.sh               # digits anew, one seed: in results/quick
#     ROOT=anew JOBS=2 scripts/all.sh             # digits anew, three seeds: in anew
#     DATASET=pascal SEEDS="0 1 2" JOBS=4 scripts/all.sh
#
# Stopped and started again, it goes on where it was. The parts of which something failed are named
# at the end, with status 1. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
unset RESULTS # each part has its own
export QUICK ROOT SEEDS

parts=(results table1 selection corrections pointing sweep_delta_rel train_share methods linear_init)
[[ $DATASET == digits ]] && parts+=(csl)
for part in "${parts[@]}"; do
    echo "== $part"
    step bash "scripts/$part.sh"
    if (($? == 2)); then # no run can be started: it has said why
        sed '$d' "$FAILED" >&2 # what failed before
        exit 2
    fi
done
folders=()
for kind in main pretrained delta_rel train_share methods linear_init csl; do
    folder=$(usual_folder $kind)
    [[ -d $folder ]] && folders+=("$folder")
done
RESULTS=$(usual_folder main)
step python -m tools.report "${folders[@]}" --pictures "$(figures_folder main)" \
    --html "$ROOT/report_${PLACE##*/}.html"
name_failed
