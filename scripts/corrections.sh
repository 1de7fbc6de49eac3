#!/usr/bin/env bash
# The qualitative figure: images with their given labels, those that LL-Ct corrects epoch by epoch,
# and the truth; good and bad cases, chosen by a rule that the figure states.
#
#     scripts/corrections.sh                      # digits, with the runs of scripts/results.sh
#     DATASET=coco SEEDS=0 scripts/corrections.sh
#
# Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
RESULTS=${RESULTS:-$(usual_folder main)}

for seed in $SEEDS; do
    echo "--mod_scheme LL-Ct --audit labels --seed $seed"
done | train_all || exit
out=$(figures_folder main)
step python -m tools.figures corrections "$RESULTS" --out "$out/corrections"
name_failed
