"""Labels without a table: a folder for each class, and COCO's json."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import stopping
from cli import UserError
from data.custom_images import Pictures, Unusable
from data.custom_lines import SPLITS
from data.custom_listing import Classes, Entry, Listing
from data.format_coco import without_outline
from files import read_file, read_json

_IDS = (int, str)


def read_folders(pictures: Pictures, classes: Classes) -> Listing:
    """Each picture's class is the folder below that of all pictures in which it lies.

    The same picture in two of them, byte for byte, is one image of both classes.
    """
    by_class: dict[str, list[str]] = defaultdict(list)
    outside = 0
    for name in pictures.names:
        top, slash, _ = name.partition("/")
        outside += not slash
        if slash:
            by_class[top].append(name)
    _check_folders(pictures, by_class)
    listing = Listing(pictures, classes, lines=len(by_class), unit="folders")
    columns: dict[str, int] = {}
    for top, names in sorted(by_class.items()):
        try:
            column = classes.column(top)
        except Unusable as error:
            listing.reject(f"folder {top!r}", f"{error}; {len(names):,} pictures")
        else:
            columns.update({} if column is None else dict.fromkeys(names, column))
    merged = 0
    for same in _copies(pictures.folder, list(columns)):
        merged += len(same) - 1
        positive = tuple(sorted({columns[name] for name in same}))
        listing.add(same[0], Entry(positive, (), "", f"folder {same[0].partition('/')[0]!r}"))
    for count, what in (
        (merged, "pictures that are copies of another, which has the classes of both"),
        (outside, "pictures outside the folders of the classes, passed over"),
        (len(pictures.others), "files that are no pictures, passed over"),
    ):
        if count:
            listing.notes.append(f"{what}: {count:,}")
    return listing


def _check_folders(pictures: Pictures, by_class: Mapping[str, Sequence[str]]) -> None:
    folder = pictures.folder
    if not by_class and pictures.names:
        raise UserError(
            f"{len(pictures.names):,} pictures lie in {folder} directly: each class needs a folder "
            "of its own there, or give --labels FILE"
        )
    if not by_class:
        raise UserError(
            f"{folder} has no folder with pictures: give --labels FILE, or a folder for each class"
        )
    if all(name.lower() in SPLITS for name in by_class):
        listed = ", ".join(sorted(by_class))
        raise UserError(
            f"{folder} has no folders of classes but of splits ({listed}): give the one to train "
            "on as --images, and the one to test on as --test_images"
        )


def _copies(folder: Path, names: Sequence[str]) -> Iterator[list[str]]:
    """The names of each picture, of which there are several where its bytes lie there again."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for name in names:
        by_size[(folder / name).stat().st_size].append(name)
    same: dict[tuple[int, str], list[str]] = defaultdict(list)
    for name in names:
        stopping.check()
        size = (folder / name).stat().st_size
        unique = len(by_size[size]) == 1
        content = "" if unique else hashlib.sha256(read_file(folder / name)).hexdigest()
        same[size, content].append(name)
    yield from same.values()


def read_coco(path: Path, pictures: Pictures, classes: Classes, keep_unlabelled: bool) -> Listing:
    """What a json file with COCO's lists says, crowds included.

    Images without an annotation are left out unless `keep_unlabelled`. Raises UserError where the
    file as a whole cannot be understood.
    """
    content = read_json(path, without_outline)
    tables: dict[str, list[Any]] = {}
    for name in ("images", "categories", "annotations"):
        tables[name] = content.get(name)  # type: ignore[assignment]
        if not isinstance(tables[name], list):
            raise UserError(f"{path} has no list of {name}: it is no COCO file of labels")
    listing = Listing(pictures, classes, lines=sum(map(len, tables.values())), unit="records")
    columns = _categories(tables["categories"], listing)
    files = _images(tables["images"], listing)
    positive = _annotations(tables["annotations"], files, columns, listing)
    bare = 0
    for key, (image, place) in files.items():
        if not image:
            continue
        if key in positive or keep_unlabelled:
            listing.add(image, Entry(tuple(sorted(positive.get(key, ()))), (), "", place))
        else:
            bare += 1
    if bare:
        listing.notes.append(f"images without annotation, left out (--keep_unlabelled): {bare:,}")
    return listing


def _categories(records: Sequence[Any], listing: Listing) -> dict[Any, int | None]:
    """The column of each category id; None where the category is rejected."""
    columns: dict[Any, int | None] = {}
    named: dict[str, Any] = {}
    for position, record in enumerate(records):
        place = f"categories[{position}]"
        try:
            key, name = _fields(record, ("id", _IDS), ("name", (str,)))
            if key in columns or name in named:
                raise Unusable(f"the id {key!r} or the name {name!r} is given twice")
            named[name], columns[key] = key, None
            columns[key] = listing.classes.column(name)
        except Unusable as error:
            listing.reject(place, error)
    return columns


def _images(records: Sequence[Any], listing: Listing) -> dict[Any, tuple[str, str]]:
    """The file and the place of each image id; no file where the image is rejected."""
    files: dict[Any, tuple[str, str]] = {}
    for position, record in enumerate(records):
        stopping.check()
        place = f"images[{position}]"
        try:
            key, name = _fields(record, ("id", _IDS), ("file_name", (str,)))
            if key in files:
                raise Unusable(f"the id {key!r} is given twice")
            files[key] = ("", place)
            files[key] = (listing.find(name), place)
        except Unusable as error:
            listing.reject(place, error)
    return files


def _annotations(
    records: Sequence[Any],
    files: Mapping[Any, tuple[str, str]],
    columns: Mapping[Any, int | None],
    listing: Listing,
) -> dict[Any, set[int]]:
    """The columns of each image id that is annotated."""
    positive: dict[Any, set[int]] = defaultdict(set)
    for position, record in enumerate(records):
        try:
            image, category = _fields(record, ("image_id", _IDS), ("category_id", _IDS))
            for kind, key, known in (("image", image, files), ("category", category, columns)):
                if key not in known:
                    raise Unusable(f"there is no {kind} of the id {key!r}")
            column = columns[category]
            if column is not None:
                positive[image].add(column)
        except Unusable as error:
            listing.reject(f"annotations[{position}]", error)
    return positive


def _fields(record: Any, *wanted: tuple[str, tuple[type, ...]]) -> list[Any]:
    """The values of these keys. Raises Unusable unless they are of these types."""
    found = [record.get(key) if isinstance(record, dict) else None for key, _ in wanted]
    for value, (_, kinds) in zip(found, wanted, strict=True):
        if not isinstance(value, kinds) or isinstance(value, bool):
            rule = " and ".join(f"{key} ({kinds[0].__name__})" for key, kinds in wanted)
            raise Unusable(f"it must have {rule}")
    return found
