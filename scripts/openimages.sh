#!/usr/bin/env bash
# The table of OpenImages V3: test mAP by group of classes.
#
#     python -m data.prepare openimages           # first: docs/data.md says what it costs
#     JOBS=4 scripts/openimages.sh
#
# One seed unless SEEDS says otherwise. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
DATASET=openimages SEEDS=${SEEDS:-0}
source scripts/runs.sh
RESULTS=${RESULTS:-$(usual_folder main)}

for seed in $SEEDS; do
    for method in ${METHODS:-IU AN WAN LSAN LL-R LL-Ct LL-Cp}; do
        echo "--mod_scheme $method --seed $seed"
    done
done | train_all || exit
step python -m tools.report "$RESULTS" --table groups
name_failed
