"""A formatted folder, read and checked: class names, image names and labels of both parts.

Shapes: N images of a part, K classes. Labels are 1 positive, -1 negative and 0 not annotated
(int8), whatever the files hold.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cli import UserError, did_you_mean
from data import class_names
from data.formatted import IMAGE_FOLDERS, PARTS, array_path, load_array
from files import is_there, read_json

# What holds for a known set where its folder has no dataset.json.
DATASETS: dict[str, dict[str, Any]] = {
    "pascal": {"images": IMAGE_FOLDERS["pascal"], "classes": class_names.PASCAL},
    "coco": {"images": IMAGE_FOLDERS["coco"], "classes": class_names.COCO},
    "nuswide": {"images": IMAGE_FOLDERS["nuswide"]},
    "cub": {"images": IMAGE_FOLDERS["cub"]},
}
TRUTHS = {"full": (0, 1), "partial": (-1, 0, 1), "none": ()}  # values of formatted_*_labels.npy


class Labelled(NamedTuple):
    """The names of a part's images and their labels, of which there is at least one kind."""

    names: np.ndarray  # str [N]
    truth: np.ndarray | None  # int8 [N, K]
    observed: np.ndarray | None  # int8 [N, K]

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


def read_folder(folder: Path, name: str) -> Folder:
    """What the official formatted_*.npy files in `folder`, and perhaps its dataset.json, say.

    `name` is a key of DATASETS, or anything else for a folder of the user's own. Raises UserError
    where files are missing, wrong, or disagree.
    """
    about = {"images": ".", "classes": None, "truth": "full", **DATASETS.get(name, {})}
    own = _read_about(folder / "dataset.json")
    about.update(own)
    train, val = (_read_part(folder, part, about["truth"]) for part in PARTS)
    if train.num_classes != val.num_classes:
        raise UserError(
            f"{folder}: the train labels have {train.num_classes} columns, the val labels "
            f"{val.num_classes}: make both from the same class list"
        )
    classes = about["classes"]
    if classes is None:
        classes = [f"class {column}" for column in range(train.num_classes)]
    if len(classes) != train.num_classes:
        cure = "correct `classes` in" if "classes" in own else f"make {name} again, or name them in"
        raise UserError(
            f"{folder}: {len(classes)} class names for {train.num_classes} label columns: "
            f"{cure} dataset.json"
        )
    images = folder / about["images"]
    if not images.is_dir():
        raise UserError(
            f"the folder of the images, {images}, is missing: put it there (data/README.md), or "
            "correct `images` in dataset.json"
        )
    return Folder(tuple(classes), images, train, val)


def _read_about(path: Path) -> dict[str, Any]:
    """What dataset.json says, checked; nothing where there is no such file."""
    if not is_there(path):
        return {}
    about = read_json(path)
    rules = {
        "name": ("text", lambda v: isinstance(v, str)),
        "classes": ("a list of different names", _are_classes),
        "images": ("a sub-folder", lambda v: isinstance(v, str) and "\0" not in v),
        "truth": (" or ".join(TRUTHS), lambda v: isinstance(v, str) and v in TRUTHS),
    }
    for key, value in about.items():
        if key not in rules:
            raise UserError(
                f"{path}: unknown key {key!r}{did_you_mean(key, rules)} "
                f"(known are {', '.join(rules)})"
            )
        expected, holds = rules[key]
        if not holds(value):
            raise UserError(f"{path}: {key} is {value!r}, not {expected}")
    return about


def _are_classes(value: Any) -> bool:
    is_list_of_text = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return is_list_of_text and len(set(value)) == len(value)


def _read_part(folder: Path, part: str, known: str) -> Labelled:
    """One part of a folder in which the truth is "full", "partial" or "none"."""
    names = _read_names(array_path(folder, part, "images"))
    truth = observed = None
    if known != "none":
        truth = _read_labels(array_path(folder, part, "labels"), len(names), TRUTHS[known])
        truth = truth * 2 - 1 if known == "full" else truth
    kinds = ("labels_obs", "uniform_labels_obs")  # the latter in the newer files of SPML
    paths = [array_path(folder, part, kind) for kind in kinds]
    path = next((path for path in paths if is_there(path)), paths[0])
    if is_there(path) or truth is None:
        observed = _read_labels(path, len(names), (-1, 0, 1))
    if truth is not None and observed is not None and truth.shape != observed.shape:
        raise UserError(
            f"{path} has {observed.shape[1]} columns, the true labels {truth.shape[1]}: mend the "
            f"wrong one (python -m data.observe {shlex.quote(str(folder))} draws the former anew)"
        )
    return Labelled(names, truth, observed)


def _read_names(path: Path) -> np.ndarray:
    """The image names in a file, str [N]."""
    array = _read(path, "US", dimensions=1)
    try:
        names = array.astype(str).tolist()
    except (ValueError, SystemError) as error:  # bytes beyond ASCII, numbers of no character
        raise UserError(f"{path} holds names that are no text or ASCII ({error})") from None
    for row, name in enumerate(names):
        if not name or "\0" in name:
            raise UserError(
                f"{path}, row {row}: {name!r} names no image: give each its file's path"
            )
    return np.array(names, dtype=str)


def _read_labels(path: Path, num_images: int, values: tuple[int, ...]) -> np.ndarray:
    labels = _read(path, "iufb", dimensions=2)
    if len(labels) != num_images:
        raise UserError(
            f"{path} has {len(labels)} rows for {num_images} images: "
            "both must come from the same preparation"
        )
    if not labels.size:
        raise UserError(f"{path} is empty, of shape {labels.shape}: make it again")
    strange = ~_is_one_of(labels, values)
    if strange.any():
        partial = values == TRUTHS["full"] and _is_one_of(labels, TRUTHS["partial"]).all()
        hint = ', unless dataset.json says "truth": "partial"' if partial else ""
        row, column = np.argwhere(strange)[0]
        raise UserError(
            f"{path} holds {labels[row, column]} (row {row}, column {column}): a label is one of "
            f"{values}{hint}"
        )
    return labels.astype(np.int8)


def _is_one_of(labels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """As np.isin, which in numpy 1.26 fails on unsigned numbers."""
    return np.logical_or.reduce([labels == value for value in values])


def _read(path: Path, kinds: str, dimensions: int) -> np.ndarray:
    """The array in a file, if its dtype is of these kinds and it has so many dimensions."""
    array = load_array(path)
    if array.dtype.kind not in kinds or array.ndim != dimensions:
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}, where "
            f"{'names [N]' if dimensions == 1 else 'labels [N, K]'} belong"
        )
    return array
