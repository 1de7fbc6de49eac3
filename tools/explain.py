"""What the class maps of a run point at: `python -m tools.explain RUN_DIR...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cli
import stopping
from cli import UserError, printable
from data.boxes import boxes_of
from files import is_there
from folder import BEST, MAPS, POINTING
from tools import loading, pointing
from tools.explained import (
    SPLITS,
    Maps,
    Pointing,
    best_epoch,
    check_same_data,
    read_pointing,
    write_maps,
    write_pointing,
)

if TYPE_CHECKING:
    from datasets import Split
    from tools.loading import Loaded


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.explain", description=main.__doc__)
    loading.add_arguments(parser)
    parser.add_argument("more", nargs="*", metavar="more_runs", help="one after the other")
    parser.add_argument("--split", type=cli.choice(*SPLITS), default="test",
                        metavar="{test,val,train}", help="(%(default)s)")  # fmt: skip
    parser.add_argument("--examples", type=cli.number(int, 1, 1000), default=8, metavar="N",
                        help="images whose maps are kept, drawn from those with boxes "
                        "(%(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=cli.number(int, 0, 2**32 - 1), default=0, metavar="N",
                        help="of that draw (%(default)s)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true",
                        help="replace the record of another split")  # fmt: skip
    parser.add_argument("--per_class", action="store_true", help="print each class's result too")
    return parser


def main(argv: Sequence[str]) -> None:
    """Play the pointing game with the best model of finished runs, and keep some class maps.

    A class that an image truly holds is hit where the highest place of its class activation map
    lies in a box of the class. Of PASCAL VOC, MS COCO and digits the boxes are known. Into the
    folder of each run go pointing.json and maps.npz, which tables and figures are made of; runs on
    the same data keep the maps of the same images.
    """
    args = _parser().parse_args(argv)
    runs, failed = (args.run_dir, *args.more), []
    for run_dir in runs:
        try:
            explain(argparse.Namespace(**{**vars(args), "run_dir": run_dir}))
        except UserError as error:
            if len(runs) == 1:
                raise
            failed.append(run_dir)
            print(f"error: {printable(str(error))}", file=sys.stderr)
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs are not explained, for these reasons")


def explain(args: argparse.Namespace) -> None:
    """Do so for the run in `run_dir`, and print how the game went.

    Raises UserError where the run is not finished, or its data is gone, is another or has no boxes.
    """
    folder = Path(args.run_dir)
    epoch = best_epoch(folder)
    if not is_there(folder / BEST):
        raise UserError(f"{folder} holds a record without weights ({BEST}): train it first")
    _check_split(folder, args.split, args.overwrite)
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from failures import explained
    run = loading.load(args)
    config, data, split = run.config, run.data, run.data.splits[args.split]
    check_same_data(folder, data.fingerprint(), args.split)
    names = split.names.tolist()
    boxes = boxes_of(config.dataset, config.dataset_dir, names, data.classes)
    tried = pointing.is_tried(split.best_known, boxes)
    if not tried.any():
        raise UserError(f"no {args.split} image of {folder} has a box of a class that it holds")
    rows = choose_examples(tried, args.examples, args.seed)
    with explained(config.bsize, config.image_size, config.num_workers):
        cells, shape = _highest_cells(run, split)
        maps = _class_maps(run, split.take(rows))
    places = pointing.centre(cells, shape)
    tally = pointing.play(places, split.best_known, boxes)
    strict = pointing.play(places, split.best_known, boxes, border=False)
    counts = dict(zip(data.classes, zip(tally.hits.tolist(), tally.tries.tolist(), strict=True),
                      strict=True))  # fmt: skip
    found = Pointing(args.split, epoch, len(split), counts, int(strict.hits.sum()))
    rule = (
        f"{len(rows):,} images drawn at random (seed {args.seed}) from those of the {args.split} "
        "split with a box of a class that they hold"
    )
    write_maps(folder, _kept(run, found, rule, rows, tried[rows], maps, cells[rows]))
    write_pointing(folder, found)
    _say(found, args.per_class)
    print(f"wrote {POINTING} and {MAPS} in {printable(str(folder))}")


def _check_split(folder: Path, split: str, overwrite: bool) -> None:
    """Raise UserError where the record of another split would be lost."""
    try:
        known = read_pointing(folder)
    except UserError:  # it is damaged, or of other weights: of no use
        return
    if known and known.split != split and not overwrite:
        raise UserError(
            f"{folder / POINTING} is of the {known.split} split: give --overwrite to replace it"
        )


def _kept(
    run: Loaded,
    found: Pointing,
    rule: str,
    rows: np.ndarray,
    tried: np.ndarray,
    maps: np.ndarray,
    cells: np.ndarray,
) -> Maps:
    """What is kept of the images at `rows` [E]: the maps of the classes that are tried.

    Of these images, `tried` bool [E, K], `maps` [E, K, h, w], and their highest `cells` [E, K].
    """
    split, classes = run.data.splits[found.split], run.data.classes
    image, column = np.nonzero(tried)
    return Maps(
        split=found.split,
        epoch=found.epoch,
        rule=rule,
        names=tuple(split.names[rows].tolist()),
        image=image,
        column=column,
        classes=tuple(classes[place] for place in column),
        maps=maps[image, column],
        highest=cells[image, column],
    )


def choose_examples(tried: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The places of `number` images at most, drawn from those with a class that is tried, sorted.

    `tried`: bool [N, K]. The draw depends on this and on `seed` alone, never on a model.
    """
    candidates = np.flatnonzero(tried.any(axis=1))
    order = np.random.RandomState(seed).permutation(len(candidates))
    return np.sort(candidates[order[:number]])


def _highest_cells(run: Loaded, split: Split) -> tuple[np.ndarray, tuple[int, int]]:
    """The highest cell of each image's map of each class, int [N, K], and the maps' h and w.

    Of the maps themselves, those of all classes of a mini-batch alone are held at a time.
    """
    from torch import Tensor

    from evaluation import evaluate

    shape: tuple[int, int] = (1, 1)
    model = run.model.to(run.hardware.device).eval()

    def highest(images: Tensor) -> Tensor:
        nonlocal shape
        maps = model.class_maps(images)
        shape = maps.shape[-2], maps.shape[-1]
        return maps.flatten(2).argmax(dim=2)  # the first of equal ones

    cells = evaluate(highest, run.loader(split), run.hardware)
    return cells.numpy().astype(int), shape


def _class_maps(run: Loaded, split: Split) -> np.ndarray:
    """The maps of all classes of these few images, float32 [E, K, h, w]."""
    from evaluation import evaluate

    model = run.model.to(run.hardware.device).eval()
    return evaluate(model.class_maps, run.loader(split), run.hardware).numpy()


def _say(found: Pointing, per_class: bool) -> None:
    """Print how the game went, in percent."""
    width = max(len(printable(name)) for name in found.classes)
    for name, (hits, tries) in found.classes.items() if per_class else ():
        print(
            f"{printable(name):<{width}} {pointing.percent(hits, tries):7.3f} % of {tries:,} tries"
        )
    tally = found.tally
    print(
        f"{found.split.capitalize()} pointing game : {tally.total:.3f} % of {tally.tries.sum():,} "
        f"tries, mean over classes {tally.mean:.3f} %, on {found.num_images:,} images"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
