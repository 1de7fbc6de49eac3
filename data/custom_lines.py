"""A user's CSV table of labels, read line by line; each line that cannot be used is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import stopping
from cli import UserError, did_you_mean
from data.custom_columns import Columns, Header, find_columns, read_header, value
from data.custom_images import Pictures, Unusable
from data.custom_listing import Classes, Entry, Listing
from data.custom_text import Record, read_records, read_text

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "dev": "val", "test": "test", "testing": "test",
}  # fmt: skip


def read_csv(path: Path, pictures: Pictures, classes: Classes, zero: str | None) -> Listing:
    """What a CSV table says: a cell of labels an image, or a column a class.

    `zero`: "negative" or "unobserved", what a 0 is in the latter; None where nobody said so.
    Raises UserError where the table as a whole cannot be understood.
    """
    text, cautions = read_text(path)
    records = list(read_records(text))
    if not records:
        raise UserError(f"{path} is empty: give a table of images and labels")
    header = read_header(records, pictures)
    columns = find_columns(path, header, pictures, classes)
    listing = Listing(pictures, classes, lines=len(header.rows))
    listing.cautions += (*cautions, *columns.cautions)
    if columns.labels is None:
        read = _wide_reader(path, columns, header, zero, listing)
    else:
        read = _listed_reader(columns, classes)
    _read_rows(header.rows, columns, read, listing)
    if columns.labels is not None and not classes.fixed:
        listing.sort_classes()
    _look_at_names(path, listing)
    return listing


def _read_rows(
    rows: Sequence[Record],
    columns: Columns,
    read: Callable[[Record], Entry],
    listing: Listing,
) -> None:
    for row in rows:
        stopping.check()
        try:
            _check_cells(row, columns)
            image = listing.find(row.cells[columns.image])
            listing.add(image, read(row)._replace(split=_split(row, columns)))
        except Unusable as error:
            listing.reject(row.place, error)


def _check_cells(row: Record, columns: Columns) -> None:
    if row.fault:
        raise Unusable(row.fault)
    have = len(row.cells)
    while have > columns.width and not row.cells[have - 1]:
        have -= 1
    if have > columns.width:
        listed = columns.labels is not None
        hint = ": put labels with a comma between them in quotes" if listed else ""
        raise Unusable(f"cells: {have}, where {columns.width} belong{hint}")
    if len(row.cells) <= columns.image or (columns.labels is None and have < columns.width):
        raise Unusable(f"cells: {have}, where {columns.width} belong")


def _split(row: Record, columns: Columns) -> str:
    if columns.split is None:
        return ""
    word = row.cells[columns.split] if len(row.cells) > columns.split else ""
    if word.lower() not in SPLITS:
        rule = f"{word!r} is no split{did_you_mean(word, SPLITS)} (train, val or test)"
        raise Unusable(rule if word else "the cell of its split is empty")
    return SPLITS[word.lower()]


def _listed_reader(columns: Columns, classes: Classes) -> Callable[[Record], Entry]:
    """Reads the positive labels out of the one cell that has them."""
    place = columns.labels
    assert place is not None, "the layout has such a cell"

    def read(row: Record) -> Entry:
        cell = row.cells[place] if len(row.cells) > place else ""
        found = {classes.column(name) for name in _names(cell, classes)}
        return Entry(tuple(sorted(found)), (), "", row.place)

    return read


def _names(cell: str, classes: Classes) -> list[str]:
    """The labels in a cell, parted by ; | or a comma, unless a class is known that has that."""
    pieces = [cell] if cell in classes and classes.fixed else re.split("[;|]", cell)
    names: list[str] = []
    for piece in map(str.strip, pieces):
        names.extend([piece] if classes.fixed and piece in classes else piece.split(","))
    return [name.strip() for name in names if name.strip()]


def _wide_reader(
    path: Path, columns: Columns, header: Header, zero: str | None, listing: Listing
) -> Callable[[Record], Entry]:
    """Reads the label of each class out of a cell of its own."""
    targets: dict[int, int] = {}
    for place, name in columns.classes.items():
        try:
            targets[place] = listing.classes.column(name)
        except Unusable as error:
            listing.reject(f"the header, column {place + 1}", error)
    absent = set(listing.classes.names).difference(columns.classes.values())
    if absent:
        listing.cautions.append(
            f"{path}: classes without a column, which it leaves out: {len(absent):,}, "
            f"{min(absent)!r} for one"
        )
    cells = {cell for row in header.rows for cell in _cells_of(row, targets)}
    meanings = _meanings(path, cells, zero)

    def read(row: Record) -> Entry:
        sides: dict[int | None, list[int]] = {1: [], -1: [], None: []}
        for (place, column), cell in zip(targets.items(), _cells_of(row, targets), strict=True):
            if cell not in meanings:
                name = columns.classes[place]
                raise Unusable(f"{cell!r} for {name!r} is none of 1, -1, 0 and an empty cell")
            sides[meanings[cell]].append(column)
        return Entry(tuple(sorted(sides[1])), tuple(sorted(sides[-1])), "", row.place)

    return read


def _cells_of(row: Record, places: Iterable[int]) -> Iterator[str]:
    """The cells in these places, as far as the row has them."""
    return (row.cells[place] for place in places if place < len(row.cells))


def _meanings(path: Path, cells: Iterable[str], zero: str | None) -> dict[str, int | None]:
    """What each cell that stands in the table says: 1, -1, or None for not annotated.

    Raises UserError where it cannot be known what a 0 says.
    """
    meanings: dict[str, int | None] = {}
    for cell in cells:
        try:
            meanings[cell] = value(cell)
        except ValueError:
            continue  # named with its line
    there = set(meanings.values())
    if zero is None and 0 in there and -1 not in there:
        raise UserError(
            f"{path} holds 1 and 0 and no -1: give --zero negative if 0 says that the class is "
            "absent, or --zero unobserved if nobody looked"
        )
    nothing = -1 if zero == "negative" else None
    return {cell: nothing if meaning == 0 else meaning for cell, meaning in meanings.items()}


def _look_at_names(path: Path, listing: Listing) -> None:
    for name in listing.classes.names:
        if name.lower() in ("nan", "na", "n/a", "null", "none"):
            listing.cautions.append(
                f"{path}: {name!r} is taken for a class; if it means no label, leave the cell empty"
            )
