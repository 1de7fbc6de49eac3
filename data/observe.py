"""Keep some of the labels of a data set, drawn at random once, and hide the rest.

On the command line: `python -m data.observe coco --num_pos 1 --num_neg 0 --seed 1200`.
Shapes: N images, K classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import cli
from cli import UserError
from data.formatted import KNOWN, PARTS, array_path, dataset_folder, load_array, write_array


def observe_labels(labels: np.ndarray, num_pos: int, num_neg: int, seed: int) -> np.ndarray:
    """Observed labels [N, K]: 1 a kept positive, -1 a kept negative, 0 hidden; int8.

    The official draw, value for value: of each image in turn, `num_pos` positives and `num_neg`
    negatives, -1 for all of them. `labels` [N, K] in {0, 1}, else UserError.
    """
    positive = _positives(labels, "the labels")
    observed = np.zeros(positive.shape, dtype=np.int8)
    rng = np.random.RandomState(seed)
    for row, is_positive in zip(observed, positive, strict=True):
        row[_draw(rng, is_positive, num_pos)] = 1
        # with num_neg 0 too: it moves the random stream on, as in the official draw
        row[_draw(rng, ~is_positive, num_neg)] = -1
    return observed


def _draw(rng: np.random.RandomState, eligible: np.ndarray, count: int) -> np.ndarray:
    """The columns of `count` of the eligible entries [K], -1 for all of them."""
    columns = np.nonzero(eligible)[0]
    rng.shuffle(columns)
    return columns if count == -1 else columns[:count]


def _positives(labels: np.ndarray, name: object) -> np.ndarray:
    """Where the labels are 1, bool [N, K]; anything but a table of 0 and 1 is refused."""
    if labels.ndim != 2 or labels.dtype.kind not in "biuf":
        raise UserError(
            f"{name}: must be a table [images, classes] of numbers, not {labels.dtype} "
            f"of shape {labels.shape}"
        )
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        raise UserError(
            f"{name}: the value {labels[wrong][0]} is neither 0 nor 1; to draw from, every label "
            "must be known"
        )
    return labels == 1


def redraw(folder: Path, num_pos: int, num_neg: int, seed: int) -> dict[str, np.ndarray]:
    """The observed labels of both parts of a formatted folder, drawn anew and written there.

    Each part has its own random stream from `seed`. Nothing is written if one of them is bad.
    """
    observed = {}
    for part in PARTS:
        path = array_path(folder, part, "labels")
        positive = _positives(load_array(path), path)
        observed[part] = observe_labels(positive, num_pos, num_neg, seed)
    for part in PARTS:
        write_array(array_path(folder, part, "labels_obs"), observed[part])
    return observed


def describe(observed: np.ndarray) -> str:
    """How many labels of a part are observed, for people."""
    images, classes = observed.shape
    positives, negatives = (observed == 1).sum(), (observed == -1).sum()
    return (
        f"{images:,} images x {classes} classes, observed: {positives:,} positive and "
        f"{negatives:,} negative labels"
    )


def add_draw_flags(parser: cli.Parser) -> None:
    """The flags of the draw, with the paper's values as defaults."""
    count = cli.number(int, low=-1)
    help = "{} kept per image, -1 for all (%(default)s)"
    parser.add_argument("--num_pos", type=count, default=1, help=help.format("positives"))
    parser.add_argument("--num_neg", type=count, default=0, help=help.format("negatives"))
    root = "the folder that holds the data sets (%(default)s)"
    seed = cli.number(int, low=0, high=2**32 - 1)
    parser.add_argument("--seed", type=seed, default=1200, help="of the draw (%(default)s)")
    parser.add_argument("--data_root", type=Path, default=Path("data"), help=root)


def main(argv: Sequence[str]) -> None:
    """Draw the observed labels of a formatted data set again."""
    parser = cli.Parser(prog="python -m data.observe", description=main.__doc__)
    parser.add_argument("dataset", help=f"{', '.join(KNOWN)}, or the path of a formatted folder")
    add_draw_flags(parser)
    args = parser.parse_args(argv)
    if args.dataset == "digits":
        raise UserError("digits is composed in memory, it has no files to draw from")
    folder = dataset_folder(args.dataset, args.data_root)
    for part, observed in redraw(folder, args.num_pos, args.num_neg, args.seed).items():
        print(f"{array_path(folder, part, 'labels_obs')}: {describe(observed)}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
