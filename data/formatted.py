"""The formatted layout of a data set, and what all formatters share.

Shapes: N images of a part, K classes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

import cli
from cli import UserError, did_you_mean
from data.arrays import load_array, load_sparse, npy, npz
from data.labels import Labels
from files import is_there, replace_together
from recipes import RECIPES

PARTS = ("train", "val")  # `val` is the official val set: the paper's test split
DEV = "dev"  # images that choose the epoch, where a set has its own: else they are cut from train
TITLES = {"train": "train", DEV: "val", "val": "test"}  # what a part is to a run
KINDS = ("images", "labels", "labels_obs")
ABOUT, RECORD = "dataset.json", "observed.json"
MARKER, DRAWING = ".half-written", ".half-drawn"  # there while files take their places
IMAGE_FOLDERS = {  # relative to the folder of a known set, where it is not that folder itself
    "pascal": "VOCdevkit/VOC2012/JPEGImages",
    "nuswide": "Flickr",
    "cub": "CUB_200_2011/images",
}
KNOWN = tuple(name for name in RECIPES if name != "digits")  # the sets that have a release


@dataclass(frozen=True)
class Part:
    """Image paths [N], relative to the image folder, and labels [N, K].

    Where all labels are known, int8 in {0, 1}; else in {-1, 0, 1}, 0 where not annotated.
    """

    images: np.ndarray
    labels: Labels


@dataclass(frozen=True)
class Formatted:
    """The parts of a data set and the names of its K classes."""

    train: Part
    val: Part
    classes: tuple[str, ...]
    dev: Part | None = None
    truth: str = "full"  # or "partial", "none": what the labels are
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)  # of columns
    source: str = ""  # what it was made from, for people

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by name."""
        parts = dict(zip(PARTS, (self.train, self.val), strict=True))
        return parts if self.dev is None else {**parts, DEV: self.dev}


def make_part(images: Sequence[str], labels: np.ndarray, source: Path) -> Part:
    """The part made of `images` [N] and `labels` [N, K], both read from `source`.

    Raises UserError, naming `source`, where there is no image or where one is there twice.
    """
    if not len(images):
        raise UserError(f"{source} leaves no labelled image: it must be the official, whole file")
    names, counts = np.unique(images, return_counts=True)
    if counts.max() > 1:
        raise UserError(f"{source} holds the image {names[counts.argmax()]!s} more than once")
    return Part(np.array(images, dtype=np.str_), labels.astype(np.int8))


def write_formatted(
    folder: Path,
    formatted: Formatted,
    images: str,
    observed: Mapping[str, Labels],
    record: str = "",
) -> None:
    """Write the arrays and dataset.json of a set: all of them, or none.

    `images`: the folder of the pictures, relative to `folder`; `observed`: what is drawn of the
    labels, by part; `record`: how, for observed.json. Files of earlier parts and labels that this
    set has not are removed. Raises UserError where they cannot be written.
    """
    files = {folder / ABOUT: _text(_about(folder, formatted, images))}
    if record:
        files[folder / RECORD] = _text(record)
    for name, part in formatted.parts.items():
        files[array_path(folder, name, "images")] = npy(part.images)
        known = {"labels_obs": observed.get(name)}
        if formatted.truth != "none":
            known["labels"] = part.labels
        for kind, labels in known.items():
            if labels is not None:
                files.update(labels_file(folder, name, kind, labels))
    kinds = (*KINDS, "uniform_labels_obs")
    stale = [path for path in _paths(folder, kinds) if path not in files]
    replace_together(files, [*stale, folder / DRAWING], folder / MARKER)


def _about(folder: Path, formatted: Formatted, images: str) -> str:
    groups = {name: list(map(int, columns)) for name, columns in formatted.groups.items()}
    about = {
        "name": folder.name,
        "classes": formatted.classes,
        "images": images,
        "truth": formatted.truth,
        **({"groups": groups} if groups else {}),
        **({"source": formatted.source} if formatted.source else {}),
    }
    return json.dumps(about, indent=2) + "\n"


def _text(content: str) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(content.encode())


def write_observed(folder: Path, observed: Mapping[str, Labels], record: str) -> None:
    """Write the observed labels of each part, and observed.json: all of them, or none."""
    files = {folder / RECORD: _text(record)}
    for part, labels in observed.items():
        files.update(labels_file(folder, part, "labels_obs", labels))
    stale = [path for path in _paths(folder, ("labels_obs",)) if path not in files]
    replace_together(files, stale, folder / DRAWING)


def _paths(folder: Path, kinds: Sequence[str]) -> list[Path]:
    """Where files of these kinds, and observed.json, may lie."""
    dense = [array_path(folder, part, kind) for part in (*PARTS, DEV) for kind in kinds]
    return [*dense, *(path.with_suffix(".npz") for path in dense), folder / RECORD]


def labels_file(
    folder: Path, part: str, kind: str, labels: Labels
) -> dict[Path, Callable[[BinaryIO], object]]:
    """The file of a part's `labels` or `labels_obs`, .npz if sparse, and what writes it."""
    path = array_path(folder, part, kind)
    if isinstance(labels, np.ndarray):
        return {path: npy(labels)}
    return {path.with_suffix(".npz"): npz(labels)}


def check_whole(folder: Path, drawing: bool = False) -> None:
    """Raise UserError where the files of a folder were being replaced when that was stopped.

    `drawing` anew mends observed labels that were.
    """
    how = "prepare it again"
    if folder.name in KNOWN:
        how = f"{how_to_make(folder.name, folder.parent)} --overwrite"
    if is_there(folder / MARKER):
        raise UserError(f"{folder} is half written, its making was stopped: {how}")
    if is_there(folder / DRAWING) and not drawing:
        raise UserError(
            f"{folder} is half drawn, that was stopped: python -m data.observe mends it"
        )


def array_path(folder: Path, part: str, kind: str) -> Path:
    """Where a part's `images`, `labels` or `labels_obs` lie in a formatted folder."""
    return folder / f"formatted_{part}_{kind}.npy"


def dataset_folder(dataset: str, data_root: str | Path) -> Path:
    """The folder of a known data set below `data_root`, or else the folder with that path."""
    folder = Path(data_root) / dataset if dataset in KNOWN else Path(dataset)
    if is_there(folder) and folder.is_dir():
        return folder
    if dataset in KNOWN:
        raise UserError(f"there is no folder {folder}: {how_to_make(dataset, folder.parent)}")
    raise UserError(
        f"there is no folder {folder}{did_you_mean(dataset, KNOWN)} (a data set is one of "
        f"{', '.join(KNOWN)} below --data_root, or the path of a folder)"
    )


def how_to_make(dataset: str, data_root: Path) -> str:
    """What to type, or else to do, to get the formatted files of a known data set."""
    return f"make it with python -m data.prepare {dataset}{data_root_flag(data_root)}"


def add_data_root(parser: cli.Parser) -> None:
    """The flag for the folder of the known sets."""
    help = "the folder that holds the data sets (%(default)s)"
    parser.add_argument("--data_root", type=Path, metavar="FOLDER", default=Path("data"), help=help)


def data_root_flag(data_root: Path) -> str:
    """` --data_root FOLDER`, quoted for a shell, or nothing where it is the default."""
    return "" if data_root == Path("data") else f" --data_root {shlex.quote(str(data_root))}"


def labels_path(folder: Path, part: str, kind: str) -> Path:
    """Where a part's `labels` or `labels_obs` lie: the .npz file of a sparse table, or the .npy.

    Raises UserError where there are both.
    """
    dense = array_path(folder, part, kind)
    sparse = dense.with_suffix(".npz")
    if not is_there(sparse):
        return dense
    if is_there(dense):
        raise UserError(f"{dense} and {sparse.name} hold the same labels: remove one of them")
    return sparse


def check_there(path: Path) -> None:
    """Raise UserError, which says how it is made, where a file of a set is missing."""
    if not is_there(path):
        known = path.parent.name in KNOWN
        hint = how_to_make(path.parent.name, path.parent.parent) if known else ""
        raise UserError(f"{path} is missing: {hint or 'data/README.md says how it is made'}")


def load_labels(path: Path) -> Labels:
    """The array in a .npy file, or the table in a .npz file, as it stands there.

    Raises UserError, which says how it is made where it is missing, for anything else.
    """
    check_there(path)
    return load_sparse(path) if path.suffix == ".npz" else load_array(path)


def open_text(path: Path) -> TextIO:
    """A text file, open. Raises UserError for a pipe or the like, which may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is no regular file: unpack it again")
    return path.open(encoding="utf-8")


def read_rows(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """The number, counted from 1, and the words of every line of a text file but empty ones.

    Raises UserError where a line has fewer than `columns` words. More are tolerated.
    """
    with open_text(path) as file:
        try:
            for line, text in enumerate(file, start=1):
                words = text.split()
                if 0 < len(words) < columns:
                    raise UserError(
                        f"{path}, line {line}: {text.strip()!r} must have {columns} columns"
                    )
                if words:
                    yield line, words
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not a text file: {error.reason}") from None
