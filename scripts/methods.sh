#!/usr/bin/env bash
# Every other method of the paper's table and its follow-ups, at its recipe's setting.
#
#     scripts/methods.sh                          # digits, and the tables of docs/methods.md
#     DATASET=pascal SEEDS=0 scripts/methods.sh
#
# AN, LL-* and full labels are of scripts/results.sh. Head of scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
main=$(usual_folder main)
RESULTS=${RESULTS:-$(usual_folder methods)}

METHODS=(
    IU WAN LSAN EPR ROLE EM EM+APL ASL CSL
    "AN --boostlu 5" "LL-R --boostlu 5" "LL-Ct --boostlu 5" "LL-Cp --boostlu 2"
)
[[ -n $QUICK ]] && METHODS=(WAN LSAN EPR ROLE) # the others of the paper's table
for seed in $SEEDS; do
    printf -- "--mod_scheme %s --seed $seed\n" "${METHODS[@]}"
done | train_all || exit
step python -m tools.report "$RESULTS"
name_failed
if are_committed methods; then
    step python -m tools.report "$main" "$RESULTS" --name methods --write docs/methods.md
    name_failed
fi
