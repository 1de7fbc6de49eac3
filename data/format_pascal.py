"""PASCAL VOC 2012, as released, to arrays.

ImageSets/Main/<class>_<part>.txt lists every image of the part with 1 (the class is there), -1
(it is not) or 0 (difficult objects only, which the official code counts as negative).

Shapes: N images of a part, K = 20 classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from cli import UserError
from data.class_names import PASCAL
from data.formatted import PARTS, Formatted, Part, make_part, read_rows

Difficult = Literal["negative", "ignore"]


def read_pascal(folder: Path, difficult: Difficult = "negative") -> Formatted:
    """The images of VOC 2012 sorted by name, without those that hold no positive class.

    `folder` holds VOCdevkit. `difficult`: what a class is of which an image has difficult objects
    alone: negative, as in the official code, or not annotated; the labels are then in {-1, 0, 1},
    and evaluation passes over it. Raises FileNotFoundError or UserError, which names the bad file.
    """
    lists = folder / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    train, val = (_read_part(lists, part, difficult) for part in PARTS)
    both = set(train.images) & set(val.images)
    if both:
        raise UserError(f"{lists} has {min(both)} in train and in val: the parts must not overlap")
    if difficult == "negative":
        return Formatted(train, val, PASCAL)
    source = "PASCAL VOC 2012, difficult objects not annotated"
    return Formatted(train, val, PASCAL, truth="partial", source=source)


def _read_part(lists: Path, part: str, difficult: Difficult) -> Part:
    paths = [lists / f"{name}_{part}.txt" for name in PASCAL]
    flags = [_read_list(path) for path in paths]
    for path, listed in zip(paths, flags, strict=True):
        _check_same_images(path, listed, paths[0], flags[0])
    names = sorted(flags[0])
    columns = [np.array([int(listed[name]) for name in names], np.int8) for listed in flags]
    table = np.stack(columns, axis=1)
    labelled = (table == 1).any(axis=1)
    images = [f"{name}.jpg" for name, has_label in zip(names, labelled, strict=True) if has_label]
    labels = table[labelled] if difficult == "ignore" else table[labelled] == 1
    return make_part(images, labels, paths[0])


def _read_list(path: Path) -> dict[str, str]:
    """The flag of every image in one class's list."""
    flags: dict[str, str] = {}
    for line, (name, flag, *_) in read_rows(path, columns=2):
        if flag not in ("-1", "0", "1"):
            raise UserError(f"{path}, line {line}: {flag!r} must be 1, 0 or -1")
        if name in flags:
            raise UserError(f"{path}, line {line}: the image {name} is listed twice")
        flags[name] = flag
    return flags


def _check_same_images(path: Path, listed: dict, first: Path, expected: dict) -> None:
    different = listed.keys() ^ expected.keys()
    if different:
        raise UserError(
            f"{path} and {first.name} must list the same images, {min(different)} is in only one"
        )
