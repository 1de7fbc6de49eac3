"""Keep some of the labels of a data set, drawn at random once, and hide the rest.

On the command line: `python -m data.observe coco --num_pos 1 --num_neg 0 --seed 1200`.
N images, K classes; M labels are known, listed image by image.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cli
from cli import UserError
from data.arrays import load_array
from data.draw import Draw, add_draw_flags, check_drawable, draw_from
from data.formatted import (
    DEV,
    KNOWN,
    PARTS,
    RECORD,
    TITLES,
    add_data_root,
    array_path,
    check_whole,
    dataset_folder,
    labels_path,
    load_labels,
    write_observed,
)
from data.labels import Labels, count, digest, share_annotated
from data.read import DATASETS, read_about
from files import is_there, read_json

_SHOWN = 5  # images named at most


def observe_labels(labels: np.ndarray, num_pos: int, num_neg: int, seed: int) -> np.ndarray:
    """Observed labels [N, K]: 1 a kept positive, -1 a kept negative, 0 hidden; int8.

    The official draw, value for value: of each image in turn, `num_pos` positives and `num_neg`
    negatives, -1 for all of them. `labels` [N, K] in {0, 1}, else UserError.
    """
    return Draw(num_pos, num_neg, seed=seed)(labels)


def draw_parts(tables: Mapping[str, Labels], truth: str, draw: Draw) -> dict[str, Labels]:
    """The observed labels by part, each drawn with a random stream of its own.

    Raises UserError where no positive label of the training images is left.
    """
    observed = {part: draw(labels, truth) for part, labels in tables.items()}
    if not count(observed["train"], 1):
        raise UserError(
            f"{draw}: none of the {count(tables['train'], 1):,} positive train labels is left, "
            "there would be nothing to learn from: keep more"
        )
    return observed


def redraw(folder: Path, draw: Draw) -> dict[str, Labels]:
    """The observed labels of all parts of a formatted folder, drawn anew and written there.

    Nothing is written if one of them is bad.
    """
    check_whole(folder, drawing=True)
    truth = {"truth": "full", **DATASETS.get(folder.name, {}), **read_about(folder)}["truth"]
    if truth == "none":
        raise UserError(f"{folder}: dataset.json says truth none, there is nothing to draw from")
    parts = list(PARTS)
    if is_there(array_path(folder, DEV, "images")) or is_there(labels_path(folder, DEV, "labels")):
        parts.append(DEV)
    tables = {}
    for part in parts:
        path = labels_path(folder, part, "labels")
        tables[part] = load_labels(path)
        check_drawable(tables[part], truth, path)
    observed = draw_parts(tables, truth, draw)
    write_observed(folder, observed, record_of(draw, observed))
    return observed


def record_of(draw: Draw, observed: Mapping[str, Labels]) -> str:
    """What observed.json says: how these labels were drawn."""
    digests = {part: digest(labels) for part, labels in observed.items()}
    return json.dumps({"draw": draw.record(), "digests": digests}, indent=2) + "\n"


def read_record(folder: Path) -> dict[str, Any] | None:
    """How the labels were drawn, `Draw.record()`, or None where nobody wrote it down.

    Raises UserError for a file that does not say that. Whether these labels still lie there, only
    `drawn` knows.
    """
    content = _read_record(folder / RECORD)
    return content and content["draw"]


def drawn(folder: Path, observed: Mapping[str, Labels]) -> dict[str, Any] | None:
    """How these labels were drawn; None where it is not known, as after an exchange by hand."""
    content = _read_record(folder / RECORD)
    if content is None or content["digests"].keys() != observed.keys():
        return None
    is_whole = all(content["digests"][part] == digest(labels) for part, labels in observed.items())
    return content["draw"] if is_whole else None


def _read_record(path: Path) -> dict[str, Any] | None:
    if not is_there(path):
        return None
    content = read_json(path)
    try:
        draw, digests = content["draw"], content["digests"]
        holds = content.keys() == {"draw", "digests"} and Draw(**draw).record() == draw
        holds &= {str} == {type(found) for found in digests.values()}
    except (KeyError, TypeError, AttributeError, UserError):  # other keys, lists for objects
        holds = False
    if not holds:
        raise UserError(
            f"{path} does not say how labels were drawn: remove it, or draw anew with "
            f"python -m data.observe {shlex.quote(str(path.parent))}"
        )
    return content


def describe(observed: Labels) -> str:
    """How many labels of a part are observed, for people."""
    images, classes = observed.shape
    return (
        f"{images:,} images x {classes:,} classes, observed: {count(observed, 1):,} positive and "
        f"{count(observed, -1):,} negative labels, {100 * share_annotated(observed):.3g}% of all"
    )


def report(folder: Path, observed: Mapping[str, Labels]) -> Iterator[str]:
    """What is observed now, a line a part, and the images without any label."""
    for part, labels in observed.items():
        path = labels_path(folder, part, "labels_obs")
        yield f"{TITLES[part]} ({path}): {describe(labels)}"
        bare = np.flatnonzero((labels != 0).sum(axis=1) == 0)
        if len(bare):
            names = ", ".join(_image_names(folder, part, labels.shape[0], bare[:_SHOWN]))
            more = ", ..." if len(bare) > _SHOWN else ""
            yield f"  {len(bare):,} images without any label: {names}{more}"


def _image_names(folder: Path, part: str, images: int, rows: np.ndarray) -> list[str]:
    """The names of the images in these rows; their numbers where no file holds the names."""
    path = array_path(folder, part, "images")
    if is_there(path):
        names = load_array(path)
        if names.shape == (images,):
            return [str(name) for name in names[rows].astype(np.str_)]
    return [f"row {row}" for row in rows]


def main(argv: Sequence[str]) -> None:
    """Draw the observed labels of a formatted data set again."""
    parser = cli.Parser(prog="python -m data.observe", description=main.__doc__)
    parser.add_argument("dataset", help=f"{', '.join(KNOWN)}, or the path of a formatted folder")
    add_draw_flags(parser)
    add_data_root(parser)
    args = parser.parse_args(argv)
    if args.dataset == "digits":
        raise UserError("digits is composed in memory, it has no files to draw from")
    draw, folder = draw_from(args), dataset_folder(args.dataset, args.data_root)
    observed = redraw(folder, draw)
    print(draw)
    for line in report(folder, observed):
        print(cli.printable(line))
    if read_about(folder).get("truth") == "partial":
        again = "python -m data.observe {} --num_pos -1 --num_neg -1"
        print(f"labels that people gave are hidden now; {again.format(shlex.quote(args.dataset))} "
              "shows them again")  # fmt: skip


if __name__ == "__main__":
    sys.exit(cli.run(main))
