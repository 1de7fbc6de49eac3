#!/usr/bin/env bash
# The pointing game, and class activation maps: how often the maximum of a class's map lies in a box
# of the class. For digits, pascal and coco, whose boxes are known.
#
#     scripts/pointing.sh                         # digits, with the runs of scripts/results.sh
#     DATASET=coco SEEDS=0 scripts/pointing.sh
#
# A record that is there already is not made again. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
RESULTS=${RESULTS:-$(usual_folder main)}

for seed in $SEEDS; do
    for method in AN LL-R LL-Ct LL-Cp; do
        echo "--mod_scheme $method --audit labels --seed $seed"
    done
done | train_all || exit
explain=() # the runs whose weights are there, and whose record is not, or older
for summary in "$RESULTS"/*/summary.json; do
    run=${summary%/*}
    [[ -e $run/bestmodel.pt && ! $run/pointing.json -nt $summary ]] && explain+=("$run")
done
((${#explain[@]})) && step python -m tools.explain "${explain[@]}"
out=$(figures_folder main)
step python -m tools.report "$RESULTS" --table pointing
step python -m tools.figures pointing "$RESULTS" --out "$out/pointing"
step python -m tools.figures maps "$RESULTS" --out "$out/maps"
name_failed
if are_committed main; then
    step python -m tools.report "$RESULTS" --table pointing --name pointing --write docs/evidence.md
    name_failed
fi
