#!/usr/bin/env bash
# Every method on digits at its recipe's setting, then the tables of docs/methods.md.
#
#     scripts/methods.sh                 # prints the committed records, writes the page
#     SEEDS="4 5" RESULTS=my_methods scripts/methods.sh    # trains, under a minute a run
#     JOBS=2 scripts/methods.sh          # two runs at a time
#
# AN, LL-* and full labels are of scripts/digits.sh. Stopped and started again, it goes on where it
# was. Runs that fail are named at the end.
cd "$(dirname "$0")/.." || exit 1
RESULTS=${RESULTS:-results/methods}
source scripts/runs.sh

METHODS=(
    IU WAN LSAN EPR ROLE EM EM+APL ASL CSL
    "AN --boostlu 5" "LL-R --boostlu 5" "LL-Ct --boostlu 5" "LL-Cp --boostlu 2"
)
for seed in ${SEEDS:-1 2 3}; do
    printf -- "--mod_scheme %s --seed $seed\n" "${METHODS[@]}"
done | train_all || exit
name_failed
if [[ $RESULTS == results/methods ]]; then
    python -m tools.report results/digits "$RESULTS" --name methods --write docs/methods.md
else
    python -m tools.report "$RESULTS"
fi
