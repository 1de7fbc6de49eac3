"""MS COCO 2014, as released, to arrays: annotations/instances_{train,val}2014.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cli import UserError
from data.formatted import PARTS, Formatted, Part, make_part, open_text


def read_coco(folder: Path) -> Formatted:
    """The images of COCO 2014 that have an annotation, crowds included, by image id as a string.

    `folder` holds annotations/. The columns are in the order of the file's categories. Raises
    FileNotFoundError or UserError, which names the bad file.
    """
    paths = [folder / "annotations" / f"instances_{part}2014.json" for part in PARTS]
    (train, classes), (val, val_classes) = (
        _read_part(path, f"{part}2014") for path, part in zip(paths, PARTS, strict=True)
    )
    if classes != val_classes:
        raise UserError(f"{paths[1]} must have the categories of {paths[0].name}, in its order")
    return Formatted(train, val, classes)


def _read_part(path: Path, pictures: str) -> tuple[Part, tuple[str, ...]]:
    content = _load(path)
    files = _by_id(path, "image", _table(path, content, "images", {"id": int, "file_name": str}))
    names = _by_id(path, "category", _table(path, content, "categories", {"id": int, "name": str}))
    keys = {"image_id": int, "category_id": int}
    image_ids, category_ids = _columns(_table(path, content, "annotations", keys))
    _check_known(path, "image", image_ids, files)
    _check_known(path, "category", category_ids, names)

    ids = sorted(set(image_ids), key=str)
    labels = np.zeros((len(ids), len(names)), dtype=np.int8)
    labels[_positions(image_ids, ids), _positions(category_ids, names)] = 1
    images = [f"{pictures}/{files[image_id]}" for image_id in ids]
    return make_part(images, labels, path), tuple(names.values())


def _load(path: Path) -> dict:
    """The content of a json file, without the outlines: nine tenths of it, and unused here."""
    with open_text(path) as file:
        try:
            content = json.load(file, object_hook=without_outline)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no valid json, unpack it again ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold images, annotations and categories")
    return content


def without_outline(record: dict) -> dict:
    """A record of COCO without its `segmentation`."""
    record.pop("segmentation", None)
    return record


def _table(path: Path, content: dict, name: str, keys: Mapping[str, type]) -> list[tuple]:
    """The values of `keys`, checked to be of their type, of every record of one list."""
    records = content.get(name)
    if not isinstance(records, list):
        raise UserError(f"{path} has no list of {name}: it must be the official file")
    for position, record in enumerate(records):
        if not _has(record, keys):
            rule = " and ".join(f"{key} ({kind.__name__})" for key, kind in keys.items())
            raise UserError(f"{path}: {name}[{position}] must have {rule}")
    return [tuple(record[key] for key in keys) for record in records]


def _has(record: Any, keys: Mapping[str, type]) -> bool:
    return isinstance(record, dict) and all(
        isinstance(record.get(key), kind) for key, kind in keys.items()
    )


def _columns(pairs: list[tuple]) -> tuple[list[int], list[int]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _by_id(path: Path, kind: str, pairs: list[tuple]) -> dict[int, str]:
    """The text of every id, in the file's order. One given twice is refused."""
    texts: dict[int, str] = {}
    for key, text in pairs:
        if key in texts:
            raise UserError(f"{path} has the {kind} id {key} more than once")
        texts[key] = text
    if len(set(texts.values())) < len(texts):
        raise UserError(f"{path} gives two {kind} ids the same name: it must be the official file")
    return texts


def _check_known(path: Path, kind: str, ids: Iterable[int], known: Mapping[int, str]) -> None:
    for position, key in enumerate(ids):
        if key not in known:
            raise UserError(f"{path}: annotations[{position}] is of the unknown {kind} id {key}")


def _positions(ids: Iterable[int], ordered: Iterable[int]) -> list[int]:
    """Where each id comes in `ordered`."""
    position_of = {key: position for position, key in enumerate(ordered)}
    return [position_of[key] for key in ids]
