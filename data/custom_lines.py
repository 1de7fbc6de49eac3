"""A user's CSV table of labels, read line by line; each line that cannot be used is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import stopping
from cli import UserError, did_you_mean
from data.custom_columns import NOTHING, Columns, Header, find_columns, read_header, value
from data.custom_images import Pictures, Unusable
from data.custom_listing import Classes, Entry, Listing
from data.custom_names import some
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
    text, cautions = read_text(path, "a CSV table or a COCO .json")
    records = list(read_records(text))
    if not records:
        raise UserError(f"{path} is empty: give a table of images and labels")
    header = read_header(records, pictures)
    if not header.rows:
        raise UserError(f"{path} holds no line below its header: give a line for each image")
    columns = find_columns(path, header, pictures, classes)
    by_column = columns.labels is None
    listing = Listing(pictures, classes, lines=len(header.rows), by_column=by_column)
    listing.cautions += (*cautions, *columns.cautions)
    if by_column:
        read = _wide_reader(path, columns, header, zero, listing)
    else:
        read = _listed_reader(columns, classes)
    _read_rows(header.rows, columns, read, listing)
    if not (by_column or classes.fixed):
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
        positive = sorted(column for column in found if column is not None)
        return Entry(tuple(positive), (), "", row.place)

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
    named = columns.classes
    if not listing.classes.fixed:
        named = _that_hold_something(path, named, header.rows, listing)
    targets = _targets(path, named, listing.classes)
    absent = set(listing.classes.names).difference(columns.classes.values())
    if absent:
        listing.cautions.append(
            f"{path}: classes without a column, which it leaves out: {len(absent):,}, "
            f"{min(absent)!r} for one"
        )
    cells = {cell for row in header.rows for cell in _cells_of(row, targets)}
    meanings, listing.zero = _meanings(path, cells, zero)

    def read(row: Record) -> Entry:
        sides: dict[int | None, list[int]] = {1: [], -1: [], None: []}
        for (place, column), cell in zip(targets.items(), _cells_of(row, targets), strict=True):
            if cell not in meanings:
                name = columns.classes[place]
                raise Unusable(f"{cell!r} for {name!r} is none of 1, -1, 0 and an empty cell")
            sides[meanings[cell]].append(column)
        return Entry(tuple(sorted(sides[1])), tuple(sorted(sides[-1])), "", row.place)

    return read


def _that_hold_something(
    path: Path, named: Mapping[int, str], rows: Sequence[Record], listing: Listing
) -> dict[int, str]:
    """The classes by their columns, without those of which no line says anything."""
    blank = set(named)
    for row in rows:
        have = len(row.cells)
        blank = {p for p in blank if p >= have or row.cells[p].lower() in NOTHING}
        if not blank:
            break
    if len(blank) == len(named):
        raise UserError(f"{path}: no column of a class holds anything: see data/README.md")
    if blank:
        shown = some([named[place] for place in sorted(blank)])
        listing.cautions.append(
            f"{path}: columns that hold nothing, passed over: {shown} (--classes FILE keeps them)"
        )
    return {place: name for place, name in named.items() if place not in blank}


def _targets(path: Path, named: Mapping[int, str], classes: Classes) -> dict[int, int]:
    """Which column of the labels each column of the file is.

    Raises UserError for names that are not on the list of classes, unless these are ignored.
    """
    targets: dict[int, int] = {}
    faults = {}
    for place, name in named.items():
        try:
            column = classes.column(name)
        except Unusable as error:
            faults[name] = str(error)
        else:
            targets.update({} if column is None else {place: column})
    if faults:
        several = f"columns that are no class of {classes.origin}: {some(faults)}"
        fault = several if len(faults) > 1 else f"the column {next(iter(faults.values()))}"
        raise UserError(f"{path}: {fault} (correct the header, or give --other_classes ignore)")
    return targets


def _cells_of(row: Record, places: Iterable[int]) -> Iterator[str]:
    """The cells in these places, as far as the row has them."""
    return (row.cells[place] for place in places if place < len(row.cells))


def _meanings(
    path: Path, cells: Iterable[str], zero: str | None
) -> tuple[dict[str, int | None], str]:
    """What each cell that stands in the table says: 1, -1, or None for not annotated.

    Also what a 0 says, "negative" or "unobserved", and "" where there is none. Raises UserError
    where that cannot be known.
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
    said = {cell: nothing if meaning == 0 else meaning for cell, meaning in meanings.items()}
    return said, (zero or "unobserved") if 0 in there else ""


def _look_at_names(path: Path, listing: Listing) -> None:
    for name in listing.classes.names:
        if name.lower() in ("nan", "na", "n/a", "null", "none"):
            listing.cautions.append(
                f"{path}: {name!r} is taken for a class; if it means no label, leave the cell empty"
            )
