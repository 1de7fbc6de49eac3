#!/usr/bin/env bash
# Table 1: in which epoch the loss of a label is highest under Assume Negative, and the figure of
# memorization: the losses of single labels, and their means.
#
#     scripts/table1.sh                           # digits: from a network that knows single digits
#     DATASET=pascal SEEDS="0 1 2" scripts/table1.sh      # with the runs of scripts/results.sh
#
# The paper's networks are pretrained; for digits one is, on pictures of single digits. Head of
# scripts/runs.sh: what else it takes.
cd "$(dirname "$0")/.." || exit 1
source scripts/runs.sh
singles=data/digit_singles
weights=$ROOT/pretraining/digit_singles/bestmodel.pt

pretrain() { # a network for digits, on pictures of one digit each
    # its seed is none of the runs', whose new heads would begin as its own began
    [[ -e $singles/formatted_val_labels.npy ]] || step python -m data.digit_singles --out "$singles"
    step python main.py --dataset "$singles" --mod_scheme AN --train_set_variant clean \
        --arch resnet8 --use_pretrained false --image_size 24 --flip false --bsize 32 --lr 0.001 \
        --num_epochs 8 --seed 2022 --num_workers 1 --cache memory --save_path "$ROOT/pretraining" \
        --exp_name digit_singles --resume
}

runs() { # the flags of each run, a line a run
    local seed
    for seed in $SEEDS; do
        if [[ $DATASET == digits ]]; then
            echo "--mod_scheme AN --weights $(printf %q "$weights") --lr 0.0002 --audit labels --seed $seed" \
                "--exp_name AN_seed$seed"
        else
            echo "--mod_scheme AN --audit labels --seed $seed"
        fi
    done
}

if [[ $DATASET == digits ]]; then
    RESULTS=${RESULTS:-$(usual_folder pretrained)}
    [[ -z $(runs | todo) ]] || pretrain
else
    RESULTS=${RESULTS:-$(usual_folder main)}
fi
runs | train_all || exit
out=$(figures_folder pretrained)
step python -m tools.report "$RESULTS" --table highest_loss
step python -m tools.figures highest_loss "$RESULTS" --out "$out/highest_loss"
step python -m tools.figures single_labels "$RESULTS" --out "$out/single_labels"
name_failed
if are_committed pretrained; then
    page=(--table highest_loss --write docs/evidence.md)
    step python -m tools.report "$RESULTS" "${page[@]}" --name highest_loss
    step python -m tools.report results/digits "${page[@]}" --name from_scratch
    name_failed
fi
