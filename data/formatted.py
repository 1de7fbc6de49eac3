"""The formatted layout of a data set, its files on disk, and what all formatters share.

Shapes: N images of a part, K classes.
"""

from __future__ import annotations

import math
import shlex
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from cli import UserError, did_you_mean
from files import is_there, write_atomically

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
    where = data_root_flag(data_root)
    if dataset == "nuswide":
        return (
            f"put the formatted_*.npy files of SPML in {data_root / dataset} (data/README.md says "
            f"where to get them), then run python -m data.observe nuswide{where}"
        )
    return f"make it with python -m data.prepare {dataset}{where}"


def data_root_flag(data_root: Path) -> str:
    """` --data_root FOLDER`, quoted for a shell, or nothing where it is the default."""
    return "" if data_root == Path("data") else f" --data_root {shlex.quote(str(data_root))}"


def load_array(path: Path) -> np.ndarray:
    """The array in a .npy file. Raises UserError for any other file, and for a pickled array.

    A pickle could run code: it is recognized by the header alone. So is a header that asks for
    more than the file holds.
    """
    if not is_there(path):
        known = path.parent.name in KNOWN
        hint = how_to_make(path.parent.name, path.parent.parent) if known else ""
        raise UserError(f"{path} is missing: {hint or 'data/README.md says how it is made'}")
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        with path.open("rb") as file:
            return _read_npy(file, path.stat().st_size)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is no plain .npy array: {error}; make it again") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: use a smaller number type") from None


def _read_npy(file: BinaryIO, size: int) -> np.ndarray:
    """The array in an open file of `size` bytes. Raises ValueError, in words of ours."""
    shape, in_columns, dtype = _read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which could run code")
    count = math.prod(shape)
    claimed, held = count * dtype.itemsize, size - file.tell()
    if claimed != held or min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(f"its header speaks of {claimed:,} bytes of data, it holds {held:,}")
    array = np.fromfile(file, dtype, count)
    return array.reshape(shape, order="F" if in_columns else "C")


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored column by column, dtype. Raises ValueError, in words of ours."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files of Python 2, which it reads all the same
            return readers[np.lib.format.read_magic(file)](file)
    except Exception:  # numpy parses Python text there, which fails in many ways
        raise ValueError("it does not begin with a header of numpy.save") from None


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one .npy file, whole or not at all."""
    write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))


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
