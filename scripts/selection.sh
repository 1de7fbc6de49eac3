#!/usr/bin/env bash
# What the large-loss schemes select: precision and recall by epoch, in all and by class.
#
#     scripts/selection.sh                        # digits, with the runs of scripts/results.sh
#     DATASET=coco SEEDS=0 scripts/selection.sh
#
# Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
RESULTS=${RESULTS:-$(usual_folder main)}

for seed in $SEEDS; do
    for method in LL-R LL-Ct LL-Cp; do
        echo "--mod_scheme $method --audit labels --seed $seed"
    done
done | train_all || exit
out=$(figures_folder main)
step python -m tools.figures selection "$RESULTS" --out "$out/selection"
step python -m tools.figures selection_by_class "$RESULTS" --out "$out/selection_by_class"
name_failed
