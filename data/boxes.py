"""Where the objects of an image are: the boxes of PASCAL VOC, MS COCO and digits.

A box is x0, y0, x1, y1 in fractions of the width and height of its image, from the upper left
corner: an image that is resized, whatever becomes of its shape, has the same ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cli import UserError
from data import digits
from data.format_coco import without_outline
from data.formatted import PARTS, how_to_make
from files import is_there, read_file, read_json

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Boxes: TypeAlias = dict[int, np.ndarray]  # of an image: float [n, 4] by the column of their class
_Found: TypeAlias = Iterator[tuple[int, str, tuple[float, ...]]]  # place of the image, class, box

ANNOTATIONS = "VOCdevkit/VOC2012/Annotations"  # of PASCAL VOC, in the folder of the set
_CANVAS = re.compile(rf"({'|'.join(PARTS)}) canvas (\d{{1,6}})")  # what datasets.py calls them


def boxes_of(
    dataset: str, folder: Path, names: Sequence[str], classes: Sequence[str]
) -> list[Boxes]:
    """The boxes in each of the images of these names, difficult objects and crowds included.

    `folder` is that of the data set, `names` are those of its arrays, `classes` those of its label
    columns. A class without a box in an image is not in the image's dictionary, and what sticks out
    of an image is cut off. Raises UserError for a data set other than `pascal`, `coco` and
    `digits`, and where its annotations are missing, damaged, or of other images or classes.
    """
    if dataset not in _SOURCES:
        raise UserError(
            f"where the objects are is known of {', '.join(_SOURCES)} alone, not of {dataset}: "
            "give a run on one of these"
        )
    columns = {name: column for column, name in enumerate(classes)}
    lists: list[dict[int, list]] = [{} for _ in names]
    for place, name, box in _SOURCES[dataset](folder, names):
        if name not in columns:
            raise UserError(
                f"{folder}: the annotations hold boxes of {name!r}, which is no class of its "
                f"arrays: {how_to_make(dataset, folder.parent)} --overwrite"
            )
        lists[place].setdefault(columns[name], []).append(box)
    return [_as_arrays(found) for found in lists]


def _as_arrays(found: dict[int, list]) -> Boxes:
    """The boxes of an image, within it; those without an area, of which COCO has a few, left out.

    Columns are in their order.
    """
    arrays = {column: np.clip(np.array(found[column], float), 0, 1) for column in sorted(found)}
    whole = {
        column: boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)] for column, boxes in arrays.items()
    }
    return {column: boxes for column, boxes in whole.items() if len(boxes)}


def _digits(folder: Path, names: Sequence[str]) -> _Found:
    """The digits of the canvases called "train canvas 17"; `folder` does not matter."""
    composed: dict[str, digits.Canvases] = {}
    for place, name in enumerate(names):
        found = _CANVAS.fullmatch(name)
        part, number = (found[1], int(found[2])) if found else ("", 0)
        if found and part not in composed:
            composed[part] = digits.compose(part)
        if not found or number >= len(composed[part].boxes):
            raise UserError(f"digits has no image {name!r}: train the run again")
        canvases = composed[part]
        side = canvases.images.shape[-1]
        for column in np.flatnonzero(canvases.labels[number]):
            box = tuple((canvases.boxes[number, column] / side).tolist())
            yield place, digits.CLASSES[column], box


def _pascal(folder: Path, names: Sequence[str]) -> _Found:
    """The objects in the XML file of each image; pixels count from 1, the last one included."""
    for place, name in enumerate(names):
        path = folder / ANNOTATIONS / f"{PurePosixPath(name).stem}.xml"
        root = _read_xml(path)
        width, height = (_number(path, root, f"size/{side}") for side in ("width", "height"))
        if not (width > 0 and height > 0):
            raise _damaged(path, f"its size is {width:g} x {height:g}")
        for found in root.iterfind("object"):
            x0, y0, x1, y1 = (
                _number(path, found, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if not (x0 <= x1 and y0 <= y1):
                raise _damaged(path, f"a box ends at {x1:g}, {y1:g} before it begins")
            box = ((x0 - 1) / width, (y0 - 1) / height, x1 / width, y1 / height)
            yield place, _text(path, found, "name"), box


def _read_xml(path: Path) -> Element:
    """The root of an XML file. A file with a DOCTYPE, which may hold entities, is refused.

    Entities that are made of each other would fill the memory.
    """
    from xml.etree import ElementTree

    try:
        text = _present(path, read_file).decode()
        if "<!DOCTYPE" in text:
            raise _damaged(path, "it holds a DOCTYPE, which no annotation of VOC has")
        return ElementTree.fromstring(text)  # of text, what it says of its encoding is ignored
    except UnicodeDecodeError:
        raise _damaged(path, "it is no UTF-8 text") from None
    except ElementTree.ParseError as error:
        raise _damaged(path, f"it is no XML ({error})") from None


def _text(path: Path, element: Element, place: str) -> str:
    text = (element.findtext(place) or "").strip()
    if not text:
        raise _damaged(path, f"{element.tag} has no {place}")
    return text


def _number(path: Path, element: Element, place: str) -> float:
    text = _text(path, element, place)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _damaged(path, f"{place} is {text[:40]!r}, no number")
    return value


def _coco(folder: Path, names: Sequence[str]) -> _Found:
    """The annotations in instances_{train,val}2014.json, as far as they are of these images."""
    places: dict[str, dict[str, int]] = {}
    for place, name in enumerate(names):
        pictures, _, file = name.rpartition("/")
        places.setdefault(pictures, {})[file] = place
    unknown = places.keys() - {f"{part}2014" for part in PARTS}
    if unknown:
        raise UserError(
            f"{folder}: the folder {min(unknown)!r} of an image is neither train2014 nor val2014: "
            f"{how_to_make('coco', folder.parent)} --overwrite"
        )
    for pictures, of_file in places.items():
        yield from _coco_part(folder / "annotations" / f"instances_{pictures}.json", of_file)


def _coco_part(path: Path, places: dict[str, int]) -> _Found:
    """The annotations in one of the files, of the images with these file names."""
    content = _present(path, lambda path: read_json(path, without_outline))
    keys = {"id": _is_whole, "file_name": _is_text, "width": _is_size, "height": _is_size}
    images = {
        number: (file, width, height)
        for number, file, width, height in _records(path, content, "images", keys)
        if file in places
    }
    lost = places.keys() - {file for file, _, _ in images.values()}
    if lost:
        raise _damaged(path, f"it does not know the image {min(lost)!r}")
    names = dict(_records(path, content, "categories", {"id": _is_whole, "name": _is_text}))
    keys = {"image_id": _is_whole, "category_id": _is_whole, "bbox": _is_box}
    for image, category, (x, y, width, height) in _records(path, content, "annotations", keys):
        if category not in names:
            raise _damaged(path, f"an annotation is of the unknown category {category}")
        if image in images:
            file, across, down = images[image]
            box = (x / across, y / down, (x + width) / across, (y + height) / down)
            yield places[file], names[category], box


def _records(
    path: Path, content: dict[str, Any], name: str, keys: Mapping[str, Callable[[Any], bool]]
) -> Iterator[tuple]:
    """The values of `keys`, each as its rule wants it, of every record of one list."""
    records = content.get(name)
    if not isinstance(records, list):
        raise _damaged(path, f"it has no list of {name}")
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise _damaged(path, f"{name}[{number}] is no record")
        for key, holds in keys.items():
            if not holds(record.get(key)):
                raise _damaged(path, f"{name}[{number}] has the {key} {record.get(key)!r:.60}")
        yield tuple(record[key] for key in keys)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e9


def _is_size(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_box(value: Any) -> bool:
    """Whether it is x, y, width, height."""
    is_list = isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
    return is_list and min(value[2:]) >= 0


def _present(path: Path, read: Callable[[Path], Any]) -> Any:
    """What `read` makes of the file. Raises UserError, with what to do, where there is none."""
    if not is_there(path):
        raise UserError(
            f"{path} is missing: it is a part of the official release (data/README.md), put it back"
        )
    return read(path)


def _damaged(path: Path, fault: str) -> UserError:
    return UserError(f"{path}: {fault}: unpack the official file again")


_SOURCES: dict[str, Callable[[Path, Sequence[str]], _Found]] = {
    "pascal": _pascal,
    "coco": _coco,
    "digits": _digits,
}
