#!/usr/bin/env bash
# Test mAP against the share of the training images.
#
#     scripts/train_share.sh                      # digits, with the whole set of scripts/results.sh
#     DATASET=coco SHARES="0.25 0.5" METHODS="AN LL-R" scripts/train_share.sh
#
# Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
RESULTS=${RESULTS:-$(usual_folder train_share)}
SHARES=${SHARES:-${QUICK:+0.25 0.5}}

for seed in $SEEDS; do
    for share in ${SHARES:-0.1 0.25 0.5}; do
        for method in ${METHODS:-AN LL-R LL-Ct LL-Cp}; do
            echo "--mod_scheme $method --ss_frac_train $share --seed $seed"
        done
    done
done | train_all || exit
out=$(figures_folder train_share)
step python -m tools.report "$RESULTS"
main=$(usual_folder main)
folders=("$RESULTS")
[[ -d $main && $RESULTS == "$(usual_folder train_share)" ]] && folders=("$main" "$RESULTS") # with the whole set
if (($(wc -w <<<"${SHARES:-1 2}") + ${#folders[@]} > 2)); then
    step python -m tools.figures train_share "${folders[@]}" --out "$out/train_share"
else
    echo "note: a single share makes no figure" >&2
fi
name_failed
