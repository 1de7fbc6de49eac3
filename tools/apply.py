"""Write decisions on suggested labels back: `python -m tools.apply DECISIONS... --out FOLDER`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cli
import words
from cli import UserError, printable
from files import check_writable, is_there
from tools import loading
from tools.decisions import Decisions, read_all, read_first

if TYPE_CHECKING:
    from data.labels import Labels
    from datasets import Data, Split
    from settings import Config

REJECTED = {"negative": -1, "ignore": 0}  # what becomes of a rejected label


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.apply", description=main.__doc__)
    parser.add_argument("decisions", type=Path, nargs="+",
                        help="what the page exported, or a suggestions.csv")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="a new folder")  # fmt: skip
    parser.add_argument("--rejected", type=cli.choice(*REJECTED), default="negative",
                        metavar="{negative,ignore}", help="rejected labels become -1, or stay "
                        "unobserved (%(default)s)")  # fmt: skip
    parser.add_argument("--accept_top", type=cli.number(int, 1), metavar="N",
                        help="accept the first N of a suggestions.csv, unseen")  # fmt: skip
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help="the run, if it has moved")
    parser.add_argument("--data_root", help="folder of the data sets, if it is no longer the run's")
    loading.add_dataset(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Make a formatted folder in which accepted suggestions are observed positive labels.

    Rejected ones become observed negatives. All else, the true labels and the images among them, is
    as in the run's data, of which nothing is changed; pictures are used where they lie, those of
    digits are written. main.py --dataset FOLDER trains on it.
    """
    args = _parser().parse_args(argv)
    from config import command

    found = _asked(args)
    _check_is_new(args.out)
    config, data = _data_of(found, args)
    observed = data.train.observed
    assert observed is not None, "decisions are on observed labels"
    values = [(found.accepted, 1), (found.rejected, REJECTED[args.rejected])]
    for pairs, value in values:
        places = _places(pairs, data)
        _check_unobserved(observed, places, pairs)
        observed = changed(observed, places, value)
    said = f"{len(found.accepted):,} labels accepted and {len(found.rejected):,} rejected"
    write_folder(args.out, config, data, observed, f"{config.dataset} with {said}")
    print(f"{said}, in {printable(str(args.out))}; to train on it as before:")
    folder = words.dataset(os.path.join(".", args.out))  # never the known set of that name
    again = dataclasses.replace(config, dataset=folder, fpc=None, rps=None)
    print(printable(f"{command(again)} --audit labels"))


def _asked(args: argparse.Namespace) -> Decisions:
    """The decisions of all files. Raises UserError where there is none, or they do not agree."""
    if args.accept_top is None:
        found = read_all(args.decisions, args.run)
    elif len(args.decisions) > 1:
        raise UserError(f"--accept_top takes one suggestions.csv, not {len(args.decisions)} files")
    else:
        found = read_first(args.decisions[0], args.accept_top)
        found = found if args.run is None else found._replace(run=args.run)
    if not (found.accepted or found.rejected):
        names = " and ".join(map(str, args.decisions))
        raise UserError(f"{names}: there is no decision: accept or reject some, export again")
    return found


def _check_is_new(out: Path) -> None:
    """Raise UserError unless the folder is still to be made, or empty, and can be written."""
    if is_there(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"--out {out} is there already: give a new folder, or remove it")
    check_writable(out, is_folder=True)


def _data_of(found: Decisions, args: argparse.Namespace) -> tuple[Config, Data]:
    """The settings of the run, and its data before val is cut from train, both as `args` say.

    Raises UserError where they are not what the decisions were made on.
    """
    from datasets import load_data, load_uncut
    from tools.suggestions import check_same_training, recorded_digests, settings_of

    if not is_there(found.run / "config.json"):
        raise UserError(f"{found.run} holds no run: say by --run where it is now")
    config = settings_of(found.run, args.data_root, args.dataset)
    config = dataclasses.replace(config, check_images=False, on_bad_image="stop")
    check_same_training(found.data, recorded_digests(found.run), f"the run {found.run}")
    cut = load_data(config)
    check_same_training(found.data, cut.fingerprint(), "the decisions")
    trained_on = set(cut.train.names.tolist())
    for image, _ in (*found.accepted, *found.rejected):
        if image not in trained_on:
            raise UserError(f"{image!r} is no training image of {found.run}: export them again")
    return config, load_uncut(config)


def _places(pairs: Sequence[tuple[str, str]], data: Data) -> list[tuple[int, int]]:
    """Row, of the whole training part, and column of each decision; UserError where there is none.

    Nor may the label be observed, or an image's name stand for two.
    """
    names = data.train.names.tolist()
    rows = {name: row for row, name in enumerate(names)}
    twice = {name for row, name in enumerate(names) if rows[name] != row}
    columns = {name: column for column, name in enumerate(data.classes)}
    for image, label in pairs:
        if label not in columns:
            raise UserError(f"{label!r} is no class of this data: export the decisions again")
        if image in twice:
            raise UserError(f"{image!r} names more than one training image: rename one of them")
    return [(rows[image], columns[label]) for image, label in pairs]


def _check_unobserved(
    observed: Labels, places: Sequence[tuple[int, int]], pairs: Sequence[tuple[str, str]]
) -> None:
    """Raise UserError where one of the labels at these places is observed; `pairs`: its names."""
    for (row, column), (image, label) in zip(places, pairs, strict=True):
        if observed[row, column]:
            raise UserError(
                f"{label!r} of {image!r} is observed already: these decisions are in the data, "
                "or were made on other labels"
            )


def changed(observed: Labels, places: Sequence[tuple[int, int]], value: int) -> Labels:
    """The labels [N, K] with this value at these places (row, column), which are unobserved.

    `observed` is left as it is.
    """
    if not places:
        return observed
    from data.labels import is_sparse, sparse_labels

    row, column = np.array(places).T
    if is_sparse(observed):
        old = observed.tocoo()  # type: ignore[union-attr]
        values = np.append(old.data, np.full(len(row), value))
        rows, columns = np.append(old.coords[0], row), np.append(old.coords[1], column)
        return sparse_labels(rows, columns, values, observed.shape)
    labels = observed.copy()
    labels[row, column] = value
    return labels


def write_folder(out: Path, config: Config, data: Data, observed: Labels, source: str) -> None:
    """Write the formatted folder of this data, which is not cut, with other `observed` labels.

    Raises UserError where it cannot be written.
    """
    from data.formatted import DEV, Formatted, Part, write_formatted
    from image_files import ImageFiles

    splits = {"train": data.train, "val": data.test, **({DEV: data.val} if data.own_val else {})}
    truth = _kind_of_truth(config)
    parts = {
        name: Part(_names(out, name, split), _in_file(split, truth))
        for name, split in splits.items()
    }
    known = {name: split.observed for name, split in splits.items()
             if split.observed is not None and split.observed is not split.truth}  # fmt: skip
    images = data.train.images
    folder = str(images.folder.resolve()) if isinstance(images, ImageFiles) else "."
    formatted = Formatted(
        parts["train"], parts["val"], data.classes, parts.get(DEV), truth, data.groups, source
    )
    write_formatted(out, formatted, folder, {**known, "train": observed})


def _kind_of_truth(config: Config) -> str:
    """ "full", "partial" or "none", as the run's data has it."""
    from data.read import DATASETS, read_about

    if config.dataset == "digits":
        return "full"
    usual = DATASETS.get(config.dataset, {}).get("truth", "full")
    return read_about(config.dataset_dir).get("truth", usual)


def _in_file(split: Split, truth: str) -> Labels:
    """The labels as formatted_*_labels.npy has them; where there is no truth, what is observed."""
    if split.truth is None:
        assert split.observed is not None, "a split has at least one kind of labels"
        return split.observed
    return (split.truth == 1).astype(np.int8) if truth == "full" else split.truth


def _names(out: Path, part: str, split: Split) -> np.ndarray:
    """The names of the images, [N]; those that lie in memory are written as PNG files."""
    from loaders import Array

    if not isinstance(split.images, Array):
        return split.names
    from PIL import Image

    from tools.suggest_page import written

    names = [f"images/{part}/{row:05}.png" for row in range(len(split))]
    pixels, _ = split.images.__getitems__(range(len(split)))
    for name, image in zip(names, pixels, strict=True):
        with written(out / name) as file:
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
    return np.array(names)


if __name__ == "__main__":
    sys.exit(cli.run(main))
