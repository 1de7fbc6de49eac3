#!/usr/bin/env bash
# Each large-loss scheme at several values of delta_rel: the figure, and the value that validation
# mAP chooses.
#
#     scripts/sweep_delta_rel.sh                  # digits, with the runs of scripts/results.sh
#     DATASET=pascal SCHEMES=LL-R DELTAS="0.1 0.3 0.4 0.5" SEEDS=0 scripts/sweep_delta_rel.sh
#
# A value that is among the runs of scripts/results.sh is not trained again; with RESULTS, only the
# runs in that folder count. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
main=$(usual_folder main)
RESULTS=${RESULTS:-$(usual_folder delta_rel)}
[[ $RESULTS == "$(usual_folder delta_rel)" ]] && BESIDES=$main

values() { # of delta_rel for a scheme; on digits, without the recipe's
    case $DATASET${QUICK:+-quick}-$1 in
    digits-LL-R) echo 1 2 4 ;;
    digits-LL-Ct) echo 1 3 4 ;;
    digits-LL-Cp) echo 0.5 2 3 ;;
    digits-quick-LL-Cp) echo 0.5 2 ;;
    digits-quick-*) echo 1 4 ;;
    *) echo 0.1 0.2 0.3 0.4 0.5 ;; # those of Kim et al.
    esac
}

for seed in $SEEDS; do
    for scheme in ${SCHEMES:-LL-R LL-Ct LL-Cp}; do
        for delta in ${DELTAS:-$(values "$scheme")}; do
            echo "--mod_scheme $scheme --delta_rel $delta --seed $seed"
        done
    done
done | train_all || exit
folders=("$RESULTS")
[[ -d $main && $RESULTS == "$(usual_folder delta_rel)" ]] && folders=("$main" "$RESULTS")
[[ -d $RESULTS ]] || folders=("$main") # all are there
out=$(figures_folder delta_rel)
step python -m tools.report "${folders[@]}"
if (($(wc -w <<<"${DELTAS:-1 2}") + ${#folders[@]} > 2)); then
    step python -m tools.figures delta_rel "${folders[@]}" --out "$out/delta_rel"
else
    echo "note: a single value of delta_rel makes no figure" >&2
fi
name_failed
if are_committed delta_rel; then
    step python -m tools.report "${folders[@]}" --name delta_rel --write docs/evidence.md
    name_failed
fi
