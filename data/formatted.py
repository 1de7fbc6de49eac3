"""The formatted layout of a data set, its files on disk, and what all formatters share.

Shapes: N images of a part, K classes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cli import UserError, did_you_mean
from files import write_atomically

PARTS = ("train", "val")  # `val` is the official val set: the paper's test split
IMAGE_FOLDERS = {  # of the known sets, relative to the folder of the set
    "pascal": "VOCdevkit/VOC2012/JPEGImages",
    "coco": ".",
    "nuswide": "Flickr",
    "cub": "CUB_200_2011/images",
}
KNOWN = tuple(IMAGE_FOLDERS)


@dataclass(frozen=True)
class Part:
    """Image paths [N], relative to the image folder, and labels [N, K], int8 in {0, 1}."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Formatted:
    """The two parts of a data set and the names of its K classes."""

    train: Part
    val: Part
    classes: tuple[str, ...]


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


def array_path(folder: Path, part: str, kind: str) -> Path:
    """Where a part's `images`, `labels` or `labels_obs` lie in a formatted folder."""
    return folder / f"formatted_{part}_{kind}.npy"


def dataset_folder(dataset: str, data_root: str | Path) -> Path:
    """The folder of a known data set below `data_root`, or else the folder with that path."""
    folder = Path(data_root) / dataset if dataset in KNOWN else Path(dataset)
    if not folder.is_dir():
        hint = did_you_mean(dataset, KNOWN)
        raise UserError(
            f"there is no folder {folder}{hint} (a data set is one of {', '.join(KNOWN)} "
            "below --data_root, or the path of a folder)"
        )
    return folder


def load_array(path: Path) -> np.ndarray:
    """The array in a .npy file; a pickled one is refused, for it could run code."""
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: see data/README.md for how it is made") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no plain .npy array, make it again ({error})") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} holds several arrays, it must be one .npy array: make it again")
    return array


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one .npy file, whole or not at all."""
    write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))


def read_rows(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """The number, counted from 1, and the words of every line of a text file but empty ones.

    Raises UserError where a line has fewer than `columns` words. More are tolerated.
    """
    with path.open(encoding="utf-8") as file:
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
