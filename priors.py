"""Class priors: the share of images that a class is thought to be in, from a CSV file.

`python -m tools.prior RUN` writes them, `--prior FILE` of main.py reads them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli import UserError, did_you_mean
from files import read_file, write_atomically

HEADER = ("class", "prior")
_SURROGATES = "surrogatepass"  # which class names in a JSON file may hold


def read_prior(path: Path, classes: Sequence[str]) -> tuple[float, ...]:
    """The prior of each of the classes, in [0, 1], in their order, whatever that of the rows.

    Raises UserError where the file does not hold one prior of every class, and no others.
    """
    known, priors, lines = set(classes), dict[str, float](), dict[str, int]()
    for line, name, cell in _rows(path, _read_text(path)):
        if name not in known:
            close = did_you_mean(name, classes)
            raise UserError(f"{path}, line {line}: the data set has no class {name!r}{close}")
        if name in priors:
            raise UserError(
                f"{path}: the lines {lines[name]} and {line} are both of the class {name!r}: "
                "remove one of them"
            )
        priors[name], lines[name] = _share(cell, f"{path}, line {line}: {name!r}"), line
    missing = [name for name in classes if name not in priors]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UserError(f"{path} has no line of the class {missing[0]!r}{more}: add it")
    return tuple(priors[name] for name in classes)


def write_prior(path: Path, classes: Sequence[str], values: Sequence[float]) -> None:
    """Write the file that `read_prior` reads the same values from, whole or not at all.

    Raises UserError where it cannot be written.
    """
    text = io.StringIO()
    text.write(",".join(HEADER) + "\n")
    all_quoted = any("\r" in name for name in classes)  # which csv leaves bare beside ends of \n
    table = csv.writer(
        text,
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if all_quoted else csv.QUOTE_MINIMAL,
    )
    table.writerows((name, float(value)) for name, value in zip(classes, values, strict=True))
    content = text.getvalue().encode("utf-8", _SURROGATES)
    write_atomically(path, lambda file: file.write(content))


def _read_text(path: Path) -> str:
    try:
        text = read_file(path).decode("utf-8-sig", _SURROGATES)
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8 text: save it as such") from None
    if not text.strip():
        raise UserError(f"{path} is empty: python -m tools.prior RUN_DIR writes such a file")
    return text


def _rows(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """The line, the class and the cell of the prior of each row; empty lines are left out."""
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(table)
        if tuple(cell.strip() for cell in header) != HEADER:
            found = ",".join(header)[:80]
            raise UserError(f"{path} must begin with the line {','.join(HEADER)}, not {found!r}")
        for row in table:
            if row and len(row) != len(HEADER):
                raise UserError(
                    f"{path}, line {table.line_num} has {len(row)} cells: give a class and its "
                    'prior, a name with commas in quotes ("a, b",0.5)'
                )
            if row:
                yield table.line_num, row[0], row[1]
    except csv.Error as error:
        raise UserError(f"{path}, line {table.line_num} is no CSV: {error}") from None


def _share(cell: str, place: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UserError(f"{place} has the prior {cell!r}: give a number from 0 to 1")
    return value
