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
digits_alone
RESULTS=${RESULTS:-$(usual_folder suggest)}

for seed in $SEEDS; do
    for method in AN LL-R; do
        echo "--mod_scheme $method --audit labels --seed $seed --exp_name before_${method}_$seed"
    done
done | train_all || exit
after=() # the runs on the folders that could be made
for seed in $SEEDS; do
    run=$RESULTS/before_LL-R_$seed
    table=$run/suggestions/suggestions.csv
    [[ -e $table ]] || step python -m tools.suggest "$run" --top 3000 || continue
    for top in ${TOPS:-1000 3000}; do
        folder=$RESULTS/data_${top}_$seed
        [[ -e $folder ]] || step python -m tools.apply "$table" --accept_top "$top" --out "$folder" ||
            continue
        for method in AN LL-R; do
            config=$(printf %q "$RESULTS/before_${method}_$seed/config.json")
            flags="--config $config --cache memory --dataset $(printf %q "$folder")"
            [[ $method == LL-R ]] && flags+=" --delta_rel 2.5" # as on digits: a folder's is another
            after+=("$flags --audit labels --exp_name after_${top}_${method}_$seed")
        done
    done
done
((${#after[@]})) && { printf '%s\n' "${after[@]}" | train_all || exit; }
step python -m benchmarks.suggestions results/digits --after "$RESULTS" --out "$RESULTS/suggest.json"
name_failed
