#!/usr/bin/env bash
# Labels suggested by LL-R, taken over unseen, and AN and LL-R trained on the labels after that. On
# digits alone; docs/suggest.md has the table.
#
#     scripts/suggest.sh
#     TOPS=500 SEEDS=1 ROOT=anew JOBS=2 scripts/suggest.sh
#
#   TOPS="1000 3000"   how many suggestions are taken over, a folder and two runs for each
#
# Head of scripts/runs.sh: what else it takes. The runs lie in ROOT/suggest.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
RESULTS=${RESULTS:-$(usual_folder suggest)}
TOPS=${TOPS:-1000 3000}

trained() { # the runs whose flags stand on standard input, a line a run
    sed "s|^|python main.py --audit labels --save_path $RESULTS --resume |" |
        xargs -P "${JOBS:-1}" -I{} bash -c '{}' || exit
}

for seed in $SEEDS; do
    for method in AN LL-R; do
        echo "--dataset digits --mod_scheme $method --seed $seed --exp_name before_${method}_$seed"
    done
done | trained
for seed in $SEEDS; do
    run=$RESULTS/before_LL-R_$seed
    [[ -e $run/suggestions/suggestions.csv ]] || python -m tools.suggest "$run" --top 3000 || exit
    for top in $TOPS; do
        folder=$RESULTS/data_${top}_$seed
        [[ -e $folder ]] || python -m tools.apply "$run/suggestions/suggestions.csv" \
            --accept_top "$top" --out "$folder" || exit
    done
done
for top in $TOPS; do
    for seed in $SEEDS; do
        for method in AN LL-R; do
            delta=$([[ $method == LL-R ]] && echo "--delta_rel 2.5") # as on digits: a folder's is another
            echo "--config $RESULTS/before_${method}_$seed/config.json --cache memory $delta" \
                "--dataset $RESULTS/data_${top}_$seed --exp_name after_${top}_${method}_$seed"
        done
    done
done | trained
python -m benchmarks.suggestions results/digits --after "$RESULTS" --out "$RESULTS/suggest.json"
