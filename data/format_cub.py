"""CUB-200-2011, as released, to arrays: 312 binary attributes of every image.

Shapes: N images, K attributes, L = N * K lines of image_attribute_labels.txt.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from cli import UserError
from data.formatted import Formatted, Part, make_part, open_text, read_rows


def read_cub(folder: Path) -> Formatted:
    """The images of CUB by train_test_split.txt, in the order of images.txt, label = is_present.

    `folder` holds CUB_200_2011. How certain an annotator was is ignored. Raises
    FileNotFoundError or UserError, which names the bad file.
    """
    release = folder / "CUB_200_2011"
    images = _read_names(release / "images.txt")
    training = _read_split(release / "train_test_split.txt", images)
    attributes = _read_names(_attributes_path(folder))
    labels = _read_labels(
        release / "attributes" / "image_attribute_labels.txt", list(images), list(attributes)
    )
    names = np.array(list(images.values()))

    def part(chosen: np.ndarray) -> Part:
        return make_part(names[chosen], labels[chosen], release / "train_test_split.txt")

    return Formatted(part(training), part(~training), tuple(attributes.values()))


def _attributes_path(folder: Path) -> Path:
    """attributes.txt, which the official archive unpacks beside CUB_200_2011; some move it in."""
    beside = folder / "attributes.txt"
    inside = folder / "CUB_200_2011" / "attributes" / "attributes.txt"
    return inside if inside.exists() and not beside.exists() else beside


def _read_names(path: Path) -> dict[int, str]:
    """The name of every id, in the order of the file."""
    names: dict[int, str] = {}
    for line, (word, name, *_) in read_rows(path, columns=2):
        key = _identifier(path, line, word)
        if key in names:
            raise UserError(f"{path}, line {line}: the id {key} is listed twice")
        names[key] = name
    if not names:
        raise UserError(f"{path} is empty: it must be the official file")
    if len(set(names.values())) < len(names):
        raise UserError(f"{path} holds a name twice: it must be the official file")
    return names


def _read_split(path: Path, images: dict[int, str]) -> np.ndarray:
    """Whether each of `images` is a training image, bool [N]."""
    training: dict[int, bool] = {}
    for line, (word, flag, *_) in read_rows(path, columns=2):
        key = _identifier(path, line, word)
        if key not in images or key in training:
            raise UserError(f"{path}, line {line}: image {key} is unknown or listed twice")
        if flag not in ("0", "1"):
            raise UserError(f"{path}, line {line}: is_training_image {flag!r} must be 0 or 1")
        training[key] = flag == "1"
    if len(training) < len(images):
        missing = min(images.keys() - training.keys())
        raise UserError(f"{path} must list every image of images.txt, {missing} is missing")
    return np.array([training[key] for key in images])


def _identifier(path: Path, line: int, word: str) -> int:
    if not (word.isdecimal() and len(word) <= 9):
        raise UserError(f"{path}, line {line}: the id {word[:20]!r} must be a whole number")
    return int(word)


def _read_labels(path: Path, images: list[int], attributes: list[int]) -> np.ndarray:
    """is_present of every image and attribute, int8 [N, K]."""
    table = _read_table(path)
    image_id, attribute_id, present = table.T
    row, column = _positions(image_id, images), _positions(attribute_id, attributes)
    _refuse(path, table, row < 0, "the image must be in images.txt")
    _refuse(path, table, column < 0, "the attribute must be in attributes.txt")
    _refuse(path, table, (present != 0) & (present != 1), "is_present must be 0 or 1")
    labels = np.zeros((len(images), len(attributes)), dtype=np.int8)
    labels[row, column] = present
    _check_complete(path, table, row * len(attributes) + column, labels.size)
    return labels


def _read_table(path: Path) -> np.ndarray:
    """Image id, attribute id and is_present of every line, [L, 3].

    A few lines of the official file have extra columns, which `usecols` passes over.
    """
    try:
        with open_text(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file: the check that follows says it better
            return np.loadtxt(file, np.int64, comments=None, usecols=(0, 1, 2), ndmin=2)
    except (ValueError, OverflowError):
        raise UserError(_describe_bad_line(path)) from None


def _describe_bad_line(path: Path) -> str:
    """What is wrong with the first line that does not begin with three whole numbers."""
    for line, words in read_rows(path, columns=3):
        if not all(word.isdecimal() and len(word) <= 9 for word in words[:3]):
            return f"{path}, line {line}: {' '.join(words)[:60]!r} must begin with 3 whole numbers"
    return f"{path} cannot be read as columns of whole numbers: unpack it again"


def _positions(ids: np.ndarray, ordered: list[int]) -> np.ndarray:
    """Where each id [L] comes in `ordered`, -1 for an unknown one."""
    order = np.argsort(ordered)
    nearest = np.searchsorted(ordered, ids, sorter=order).clip(max=len(ordered) - 1)
    found = order[nearest]
    return np.where(np.array(ordered)[found] == ids, found, -1)


def _refuse(path: Path, table: np.ndarray, wrong: np.ndarray, rule: str) -> None:
    if wrong.any():
        line = int(wrong.argmax())
        words = " ".join(map(str, table[line]))
        raise UserError(f"{path}, line {line + 1}: {words!r} breaks a rule: {rule}")


def _check_complete(path: Path, table: np.ndarray, pair: np.ndarray, size: int) -> None:
    """Refuse a file in which a pair of image and attribute [L] occurs twice, or not at all."""
    counts = np.bincount(pair, minlength=size)
    if counts.max() > 1:
        second = np.flatnonzero(pair == counts.argmax())[1]
        again = np.arange(len(pair)) == second
        _refuse(path, table, again, "an image has each attribute once")
    if len(pair) < size:
        raise UserError(f"{path} must label every image and attribute: {len(pair):,} of {size:,}")
