"""What the columns of a user's CSV table are: the image, the split, labels or a class each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cli import UserError
from data.custom_images import Pictures, is_picture
from data.custom_listing import Classes
from data.custom_text import Record

_WHAT = ("image", "img", "picture", "photo", "file")
_SUFFIX = ("", "s", "_name", "name", "_file", "file", "_path", "path", " name", " path")
IMAGE = tuple(what + suffix for what in _WHAT for suffix in _SUFFIX)
IMAGE += ("path", "name", "image_id", "imageid", "img_id", "id")  # the first of all is taken
LABELS = ("labels", "label", "tags", "tag", "classes", "class", "categories", "category")
SPLIT = "split"
INDEX = ("", "unnamed: 0")  # as pandas calls the numbers of its rows, and reads them back

POSITIVE = frozenset(("1", "1.0", "true", "yes", "x"))
NEGATIVE = frozenset(("-1", "-1.0"))
ZERO = frozenset(("0", "0.0", "false", "no"))
NOTHING = frozenset(("", "nan", "na", "n/a", "null", "none", "?", "u"))


def value(cell: str) -> int | None:
    """What a cell of a class says, 1, -1 or 0; None for nothing. Raises ValueError."""
    word = cell.lower()
    for words, meaning in ((POSITIVE, 1), (NEGATIVE, -1), (ZERO, 0)):
        if word in words:
            return meaning
    if word in NOTHING:
        return None
    number = float(word.replace(",", "."))
    if number not in (1, -1, 0):
        raise ValueError(cell)
    return int(number)


class Header(NamedTuple):
    """The names of the columns, or else in which of them an image stands, and the lines below."""

    names: list[str]
    image: int
    rows: Sequence[Record]


@dataclass(frozen=True)
class Columns:
    """Where in a record each thing stands, counted from 0."""

    image: int
    width: int  # the cells that a record may have
    split: int | None = None
    labels: int | None = None  # where one cell has all labels; else
    classes: dict[int, str] = field(default_factory=dict)  # the class of each other column
    cautions: tuple[str, ...] = ()


def read_header(records: Sequence[Record], pictures: Pictures) -> Header:
    """The header of a table; `names` is empty where its first line is that of an image already."""
    first = records[0]
    cells = first.cells
    if first.fault:
        raise UserError(f"{first.place}, the header: {first.fault}")
    written = [place for place, cell in enumerate(cells[:2]) if is_picture(cell)]
    if written:
        return Header([], written[0], records)
    if not any(cell.lower() in (*IMAGE, *LABELS, SPLIT) for cell in cells):
        if cells[0] and cells[0] in pictures:
            return Header([], 0, records)
        if cells[0].isdigit() and len(cells) > 1 and cells[1] in pictures:
            return Header([], 1, records)
    return Header(cells, 0, records[1:])


def find_columns(path: Path, header: Header, pictures: Pictures, known: Classes) -> Columns:
    """The columns of a table, by their names if there are any, and else by what they hold.

    Raises UserError where that cannot be told.
    """
    names, _, rows = header
    if not names:
        return _without_names(path, header, known)
    width = max(place + 1 for place, name in enumerate(names) if name)
    free = dict(enumerate(names[:width]))
    image = _image_column(free, rows, pictures)
    cautions = []
    if names[image].lower() not in IMAGE:
        cautions.append(_taken_for_header(path, names, image))
    del free[image]
    split = next((place for place, name in free.items() if name.lower() == SPLIT), None)
    if split is not None:
        del free[split]
    _check_names(path, free)
    labels = _labels_column(path, free, rows, known)
    if labels is None:
        return Columns(image, width, split, None, free, tuple(cautions))
    del free[labels]
    if free:
        listed = ", ".join(map(repr, free.values()))
        cautions.append(f"{path}: columns passed over, beside {names[labels]!r}: {listed}")
    return Columns(image, width, split, labels, {}, tuple(cautions))


def _image_column(free: dict[int, str], rows: Sequence[Record], pictures: Pictures) -> int:
    """The column of the images: one named so, else the first; pandas' index is taken out."""

    def has_pictures(place: int) -> bool:
        return any(cell in pictures for cell in _cells(rows, place))

    places = {name.lower(): place for place, name in reversed(free.items())}
    named = [places[name] for name in IMAGE if name in places]
    may_be_index = free[0].lower() in INDEX and len(free) > 1 and _are_numbers(rows)
    if may_be_index and (named or has_pictures(1) or not has_pictures(0)):
        del free[0]
    if not named:
        return min(free)
    return named[0] if len(named) == 1 else next(filter(has_pictures, named), named[0])


def _taken_for_header(path: Path, names: Sequence[str], image: int) -> str:
    shown = ", ".join(map(repr, names[:4])) + (", ..." if len(names) > 4 else "")
    return (
        f"{path}: the first line is taken for the header ({shown}), its column {image + 1} for "
        "the images: name that `image`"
    )


def _without_names(path: Path, header: Header, known: Classes) -> Columns:
    """The columns after that of the image: one of labels, or one for each of the known classes."""
    cells, image = header.rows[0].cells, header.image
    width = max((place + 1 for place, cell in enumerate(cells) if cell), default=0)
    width = max(width, image + 2)
    others = range(image + 1, width)
    labels = {image + 1: f"column {image + 2}"}
    if len(others) == 1 and _labels_column(path, labels, header.rows, known) is not None:
        return Columns(image, width, labels=image + 1)
    if known.fixed and len(known.names) >= len(others):
        others = range(image + 1, image + 1 + len(known.names))
        classes = dict(zip(others, known.names, strict=True))
        return Columns(image, others.stop, classes=classes)
    raise UserError(
        f"{path} has no header line (it begins with {cells[image]!r}), and {len(others)} columns "
        "beside the image: write one, or name as many classes with --classes FILE"
    )


def _check_names(path: Path, names: dict[int, str]) -> None:
    places: dict[str, int] = {}
    for place, name in names.items():
        if not name:
            raise UserError(f"{path}: column {place + 1} has no name in the header: name it")
        if name in places:
            raise UserError(
                f"{path}: the columns {places[name] + 1} and {place + 1} are both named {name!r}: "
                "rename one of them"
            )
        places[name] = place
    if not names:
        raise UserError(f"{path} has no column of labels: see data/README.md")


def _labels_column(
    path: Path, free: dict[int, str], records: Sequence[Record], known: Classes
) -> int | None:
    """The column in which a cell has all labels of its image, None where each class has its own.

    It is one named so, or the only one, if at least half of what it holds is no label value.
    """
    named = [place for place, name in free.items() if name.lower() in LABELS]
    place = named[0] if named else min(free)
    if not named and len(free) > 1:
        return None
    cells = [cell for cell in _cells(records, place) if cell]
    pieces = {piece.strip() for cell in cells for piece in re.split("[;|,]", cell)}
    if any(name in known for name in (*cells, *pieces)) or (named and not cells):
        return place
    strange = [cell for cell in cells if not _is_value(cell)]
    numbers = all(_is_number(piece) or _is_value(piece) for piece in pieces)
    if named and strange and numbers:
        raise UserError(
            f"{path}: the column {free[place]!r} holds numbers such as {strange[0]}: write names, "
            "or list these numbers with --classes FILE"
        )
    return place if not numbers and 2 * len(strange) >= len(cells) else None


def _cells(records: Sequence[Record], place: int) -> Iterator[str]:
    return (cells[place] for _, cells, _ in records if len(cells) > place)


def _are_numbers(records: Sequence[Record]) -> bool:
    cells = list(_cells(records, 0))
    return 2 * sum(cell.isdigit() for cell in cells) > len(cells)


def _is_value(cell: str) -> bool:
    try:
        value(cell)
    except ValueError:
        return False
    return True


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
