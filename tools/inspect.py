"""Look at a data set before training on it: `python -m tools.inspect digits`.

What a run would see of it: its labels counted, its pictures, labels.csv, labels.png, examples.png.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cli
import stopping
from cli import UserError, printable
from config import FLAGS, Config, parse_args
from files import is_there, write_atomically
from recipes import RECIPES

if TYPE_CHECKING:
    from data.read import Folder
    from datasets import Data
    from tools.inspect_counts import Tally

SAMPLE = 2000  # pictures whose headers are read, unless all are asked for
_FROM_RUN = ("data_root", "val_frac", "split_seed", "num_workers")  # flags of main.py, as there


def load(words: Sequence[str]) -> tuple[Config, Data]:
    """The settings of a run with these flags, and its data.

    A run that trains or validates on other labels than usual will do: it has the same data. And one
    that `val_frac` leaves no val will do here. Raises UserError where there is none.
    """
    from data.read import read_folder
    from datasets import load_data

    config = parse_args(words)
    try:
        return config, load_data(config)
    except UserError as error:
        if config.dataset == "digits":
            raise
        reason = error
        folder = read_folder(config.dataset_dir, config.dataset)
        if folder.dev is None and not round(config.val_frac * len(folder.train.names)):
            return config, _without_val(folder, config)
        kinds = {"observed": folder.train.observed, "clean": folder.train.truth}
        there = [kind for kind, table in kinds.items() if table is not None]
        for train, val in itertools.product(there, there):
            other = dataclasses.replace(config, train_set_variant=train, val_set_variant=val)
            try:
                return other, load_data(other)
            except UserError as error:
                reason = error
        raise reason from None


def _without_val(folder: Folder, config: Config) -> Data:
    """The data of a folder of so few images that none is cut from train for val."""
    from data.observe import drawn
    from datasets import Data, Split
    from image_files import ImageFiles

    train, test = (
        Split(ImageFiles(folder.images, part.names, config.image_size), *part)
        for part in (folder.train, folder.val)
    )
    given = {
        name: part.observed
        for name, part in folder.parts.items()
        if part.observed is not None and part.observed is not part.truth
    }
    val, how = train.take(np.array([], int)), drawn(config.dataset_dir, given)
    return Data(folder.classes, train, val, test, groups=folder.groups, drawn=how)


def write(
    data: Data, tallies: Mapping[str, Tally], name: str, out: Path, examples: int, seed: int
) -> None:
    """Write labels.csv, labels.png and examples.png."""
    from tools.inspect_counts import labels_csv
    from tools.inspect_pictures import choose_examples, draw_examples, draw_labels

    table = labels_csv(data.classes, tallies).encode(errors="backslashreplace")
    write_atomically(out / "labels.csv", lambda file: file.write(table))
    train = tallies["train"]
    title = f"{name}: {len(data.train):,} training images, {len(data.classes):,} classes"
    draw_labels(train, data.classes, data.groups, title, out / "labels.png")
    chosen = choose_examples(train, examples, seed)
    rule = f"{len(chosen[0])} drawn at random (seed {seed})"
    if len(chosen[1]):
        rule += f", then the {len(chosen[1])} with most hidden positives"
    draw_examples(data.train, data.classes, chosen, (title, rule), out / "examples.png")


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.inspect", description=main.__doc__)
    known = FLAGS["dataset"].metadata
    parser.add_argument("dataset", type=known["parse"], metavar="DATASET|FOLDER",
                        help=known["help"])  # fmt: skip
    parser.add_argument("--out", type=FLAGS["data_root"].metadata["parse"], metavar="FOLDER",
                        help="where to write (./inspect/<name of the set>, of a folder with a "
                        "digest of its path)")  # fmt: skip
    for flag in _FROM_RUN:
        facts = FLAGS[flag].metadata
        parser.add_argument(f"--{flag}", type=facts["parse"], default=facts["default"],
                            metavar=facts["metavar"] or "N",
                            help=f"{facts['help']} (%(default)s)")  # fmt: skip
    parser.add_argument("--check_images", action="store_true",
                        help="decode every picture, name those that cannot be read")  # fmt: skip
    parser.add_argument("--examples", type=cli.number(int, 1, 200), default=24, metavar="N",
                        help="images on the sheet of examples (%(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=FLAGS["seed"].metadata["parse"], default=0, metavar="N",
                        help="of what is drawn at random (%(default)s)")  # fmt: skip
    return parser


def _folder(out: str | None, dataset: str) -> Path:
    """Where to write; for two folders of the same name not the same place.

    Raises UserError where a file is in the way.
    """
    name = dataset
    if name not in RECIPES:
        path = os.path.realpath(dataset)
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
        name = f"{Path(path).name[:60]}-{digest}"  # as in the names of runs
    folder = Path(out) if out else Path("inspect") / name
    for place in (folder, *folder.parents):
        if is_there(place) and not place.is_dir():
            raise UserError(f"--out: {place} is a file: give the path of a folder")
    return folder


def _warnings(data: Data) -> Iterable[str]:
    if len(data.val):
        return data.warnings()
    return ["val is empty: to train, give a larger --val_frac"]


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(line), flush=True)


def main(argv: Sequence[str]) -> None:
    """Show what a run would see of a data set: labels, classes, pictures, examples."""
    args = _parser().parse_args(argv)
    name = Path(os.path.abspath(args.dataset)).name
    out = _folder(args.out, args.dataset)
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from failures import explained
        from tools import inspect_text
        from tools.inspect_counts import tally
    config, data = load([f"--{flag}={getattr(args, flag)}" for flag in ("dataset", *_FROM_RUN)])
    tallies = {split: tally(found) for split, found in data.splits.items()}
    with explained(config.bsize, config.image_size, config.num_workers):
        write(data, tallies, name, out, args.examples, args.seed)  # whoever reads may stop early
        _say([name, *inspect_text.describe(data, tallies), ""])
        _say(inspect_text.look(data, None if args.check_images else SAMPLE, args.seed))
        if args.check_images:
            _say(inspect_text.check(data, config.num_workers))
        for line in _warnings(data):
            print(f"warning: {printable(line)}", file=sys.stderr)
    _say([f"wrote labels.csv, labels.png and examples.png in {out}"])


if __name__ == "__main__":
    sys.exit(cli.run(main))
