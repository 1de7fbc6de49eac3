"""A formatted folder, read and checked: class names, image names and labels of its parts.

Shapes: N images of a part, K classes. Labels are 1 positive, -1 negative and 0 not annotated
(int8), dense or sparse, whatever the files hold.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cli import UserError, did_you_mean
from data import class_names
from data.formatted import (
    ABOUT,
    DEV,
    IMAGE_FOLDERS,
    PARTS,
    array_path,
    check_whole,
    labels_path,
    load_labels,
)
from data.labels import Labels, is_sparse
from files import is_there, read_json

# What holds for a known set where its folder has no dataset.json.
DATASETS: dict[str, dict[str, Any]] = {
    "pascal": {"images": IMAGE_FOLDERS["pascal"], "classes": class_names.PASCAL},
    "coco": {"classes": class_names.COCO},
    "nuswide": {"images": IMAGE_FOLDERS["nuswide"]},
    "cub": {"images": IMAGE_FOLDERS["cub"]},
    "openimages": {"truth": "partial"},
}
TRUTHS = {"full": (0, 1), "partial": (-1, 0, 1), "none": ()}  # values of formatted_*_labels.npy


class Labelled(NamedTuple):
    """The names of a part's images and their labels, of which there is at least one kind."""

    names: np.ndarray  # str [N]
    truth: Labels | None
    observed: Labels | None

    @property
    def num_classes(self) -> int:
        """K."""
        labels = self.observed if self.truth is None else self.truth
        assert labels is not None, "_read_part reads one of them"
        return labels.shape[1]


class Folder(NamedTuple):
    """What a formatted folder says; `val` is the official val part, our test split."""

    classes: tuple[str, ...]
    images: Path
    train: Labelled
    val: Labelled
    dev: Labelled | None  # the images that choose the epoch; None: they are cut from train
    groups: Mapping[str, Sequence[int]]  # of columns

    @property
    def parts(self) -> dict[str, Labelled]:
        """The parts by name."""
        parts = {"train": self.train, "val": self.val}
        return parts if self.dev is None else {**parts, DEV: self.dev}


def read_folder(folder: Path, name: str) -> Folder:
    """What the official formatted_*.npy files in `folder`, and perhaps its dataset.json, say.

    `name` is a key of DATASETS, or anything else for a folder of the user's own. Raises UserError
    where files are missing, wrong, or disagree.
    """
    check_whole(folder)
    own = read_about(folder)
    about: dict[str, Any] = {"images": ".", "classes": None, "truth": "full", "groups": {}}
    about.update(DATASETS.get(name, {}))
    about.update(own)
    parts = {part: _read_part(folder, part, about["truth"]) for part in PARTS}
    kinds = [array_path(folder, DEV, "images"), labels_path(folder, DEV, "labels")]
    if any(map(is_there, kinds)):
        parts[DEV] = _read_part(folder, DEV, about["truth"])
    train = parts["train"]
    for part, labelled in parts.items():
        if labelled.num_classes != train.num_classes:
            raise UserError(
                f"{folder}: the train labels have {train.num_classes} columns, the {part} labels "
                f"{labelled.num_classes}: make both from the same class list"
            )
    classes = about["classes"]
    if classes is None:
        classes = [f"class {column}" for column in range(train.num_classes)]
    if len(classes) != train.num_classes:
        cure = "correct `classes` in" if "classes" in own else f"make {name} again, or name them in"
        raise UserError(
            f"{folder}: {len(classes)} class names for {train.num_classes} label columns: "
            f"{cure} {ABOUT}"
        )
    _check_groups(folder, about["groups"], train.num_classes)
    images = folder / about["images"]
    if not images.is_dir():
        raise UserError(
            f"the folder of the images, {images}, is missing: put it there (data/README.md), or "
            f"correct `images` in {ABOUT}"
        )
    return Folder(tuple(classes), images, train, parts["val"], parts.get(DEV), about["groups"])


def _check_groups(folder: Path, groups: Mapping[str, Sequence[int]], num_classes: int) -> None:
    highest = max((column for columns in groups.values() for column in columns), default=0)
    if highest >= num_classes:
        raise UserError(
            f"{folder / ABOUT}: groups names column {highest}, there are {num_classes}, counted "
            "from 0: correct it"
        )


def read_about(folder: Path) -> dict[str, Any]:
    """What dataset.json in a folder says, checked; nothing where there is no such file."""
    path = folder / ABOUT
    if not is_there(path):
        return {}
    about = read_json(path)
    rules = {
        "name": ("text", lambda v: isinstance(v, str)),
        "classes": ("a list of different names", _are_classes),
        "images": ("a sub-folder", lambda v: isinstance(v, str) and "\0" not in v),
        "truth": (" or ".join(TRUTHS), lambda v: isinstance(v, str) and v in TRUTHS),
        "groups": ("lists of different columns by name", _are_groups),
        "source": ("text", lambda v: isinstance(v, str)),
    }
    for key, value in about.items():
        if key not in rules:
            raise UserError(
                f"{path}: unknown key {key!r}{did_you_mean(key, rules)} "
                f"(known are {', '.join(rules)})"
            )
        expected, holds = rules[key]
        if not holds(value):
            shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}..."
            raise UserError(f"{path}: {key} is {shown}, not {expected}")
    return about


def _are_classes(value: Any) -> bool:
    is_list_of_text = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return is_list_of_text and len(set(value)) == len(value)


def _are_groups(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(columns, list)
        and columns
        and all(type(column) is int and column >= 0 for column in columns)
        and len(set(columns)) == len(columns)
        for columns in value.values()
    )


def _read_part(folder: Path, part: str, known: str) -> Labelled:
    """One part of a folder in which the truth is "full", "partial" or "none"."""
    names = _read_names(array_path(folder, part, "images"))
    truth = observed = None
    if known != "none":
        truth = _read_labels(labels_path(folder, part, "labels"), len(names), TRUTHS[known])
        truth = truth * 2 - 1 if known == "full" else truth
    kinds = ("labels_obs", "uniform_labels_obs")  # the latter in the newer files of SPML
    paths = [labels_path(folder, part, kind) for kind in kinds]
    path = next((path for path in paths if is_there(path)), paths[0])
    if is_there(path) or truth is None:
        observed = _read_labels(path, len(names), (-1, 0, 1))
    elif known == "partial":
        observed = truth  # what is known is what is seen
    if truth is not None and observed is not None and truth.shape != observed.shape:
        raise UserError(
            f"{path} has {observed.shape[1]} columns, the true labels {truth.shape[1]}: mend the "
            f"wrong one (python -m data.observe {shlex.quote(str(folder))} draws the former anew)"
        )
    return Labelled(names, truth, observed)


def _read_names(path: Path) -> np.ndarray:
    """The image names in a file, str [N]."""
    array = load_labels(path)
    _check_kind(path, array, "US", dimensions=1)
    try:
        names = array.astype(np.str_)
        empty = np.flatnonzero(names == "")
        bad = empty.tolist() or [row for row, name in enumerate(names.tolist()) if "\0" in name]
    except (ValueError, SystemError) as error:  # bytes beyond ASCII, numbers of no character
        raise UserError(f"{path} holds names that are no text or ASCII ({error})") from None
    if bad:
        name = str(names[bad[0]])
        raise UserError(f"{path}, row {bad[0]}: {name!r} names no image: give each its file's path")
    return names


def _read_labels(path: Path, num_images: int, values: tuple[int, ...]) -> Labels:
    table = load_labels(path)
    _check_kind(path, table, "iufb", dimensions=2)
    sparse = is_sparse(table)
    if table.shape[0] != num_images:
        raise UserError(
            f"{path} has {table.shape[0]} rows for {num_images} images: "
            "both must come from the same preparation"
        )
    if 0 in table.shape:
        raise UserError(f"{path} is empty, of shape {table.shape}: make it again")
    if sparse and values == TRUTHS["full"]:
        raise UserError(
            f'{path} is sparse, where 0 is not annotated: dataset.json must say "truth": "partial"'
        )
    _check_values(path, table, values)
    return table.astype(np.int8)


def _check_values(path: Path, table: Any, values: tuple[int, ...]) -> None:
    entries = table.data if path.suffix == ".npz" else table
    strange = ~_is_one_of(entries, values)
    if not strange.any():
        return
    partial = values == TRUTHS["full"] and _is_one_of(entries, TRUTHS["partial"]).all()
    hint = ', unless dataset.json says "truth": "partial"' if partial else ""
    if path.suffix == ".npz":
        place = int(np.flatnonzero(strange)[0])
        row = int(np.searchsorted(table.indptr, place, side="right")) - 1
        column, value = table.indices[place], table.data[place]
    else:
        row, column = np.argwhere(strange)[0]
        value = table[row, column]
    raise UserError(
        f"{path} holds {value} (row {row}, column {column}): a label is one of {values}{hint}"
    )


def _is_one_of(labels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """As np.isin, which in numpy 1.26 fails on unsigned numbers."""
    return np.logical_or.reduce([labels == value for value in values])


def _check_kind(path: Path, array: Labels, kinds: str, dimensions: int) -> None:
    """Raise UserError unless its dtype is of these kinds and it has so many dimensions."""
    if array.dtype.kind not in kinds or array.ndim != dimensions:
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}, where "
            f"{'names [N]' if dimensions == 1 else 'labels [N, K]'} belong"
        )
