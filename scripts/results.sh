#!/usr/bin/env bash
# The table of results: the paper's methods and full labels, with what memorization costs by epoch.
#
#     scripts/results.sh                          # digits, under a minute a run
#     DATASET=pascal SEEDS="0 1 2" JOBS=4 scripts/results.sh
#     SEEDS="4 5" scripts/results.sh              # digits, in results/own
#
# Every label's loss is kept (--audit labels: at COCO's size 0.1 GB a run), for scripts/table1.sh,
# selection.sh and corrections.sh, which take the same runs. The committed records of digits are
# only printed, and written into README.md. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
RESULTS=${RESULTS:-$(usual_folder main)}
full="AN --train_set_variant clean"
[[ $DATASET == digits ]] && full+=" --lr 0.001"

for seed in $SEEDS; do
    for method in AN LL-R LL-Ct LL-Cp; do
        echo "--mod_scheme $method --audit labels --seed $seed"
    done
    echo "--mod_scheme $full --seed $seed"
done | train_all || exit
out=$(figures_folder main)
step python -m tools.report "$RESULTS"
step python -m tools.figures memorization "$RESULTS" --out "$out/memorization"
step python -m tools.figures best_last "$RESULTS" --out "$out/best_last"
name_failed
if are_committed main; then
    step python -m tools.report "$RESULTS" --write README.md
    name_failed
fi
