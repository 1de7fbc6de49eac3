"""A user's CSV file as records of cells: encodings, delimiters and quotes as people leave them.

The csv module is not used: after one stray quote it takes the rest of the file for one cell.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import stopping
from cli import UserError
from files import read_file

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls
_NO_TEXT = bytes(range(9))  # NUL and other signs that no text in an 8-bit encoding has
_CELL_OF_LINES = 20  # the most lines that a quoted cell may have


class Record(NamedTuple):
    """A line of cells, blanks around them removed, or why it is none."""

    place: str
    cells: list[str]
    fault: str = ""


class _Unclosed(ValueError):
    """A quote is opened and not closed."""


def read_text(path: Path, wanted: str) -> tuple[str, list[str]]:
    """The text in a file, and warnings: UTF-8 or UTF-16, else cp1252.

    Raises UserError, which says what is `wanted`, for anything else.
    """
    content = read_file(path)
    if content.startswith(_WORKBOOKS):
        raise UserError(f"{path} is a workbook or an archive, no text: save it as CSV (UTF-8)")
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return _decode(path, content[len(mark) :], encoding), []
    if b"\0" in content[:2]:
        return _decode_unmarked(path, content, wanted), []
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError as error:
        if len(content.translate(None, _NO_TEXT)) < len(content):
            raise UserError(f"{path} is no text: give {wanted}") from None
        line = content.count(b"\n", 0, error.start) + 1
        caution = f"{path} is no UTF-8 (line {line}), taken for cp1252: check names with accents"
        return _decode(path, content, "cp1252"), [caution]


def _decode_unmarked(path: Path, content: bytes, wanted: str) -> str:
    """UTF-16, as the NUL in the first two bytes tells; the text itself has none then."""
    try:
        text = content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError(f"{path} is no text: give {wanted}")
    return text


def _decode(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no {encoding} text ({error.reason}): save it as UTF-8"
        ) from None


def read_lines(text: str) -> list[str]:
    """The lines of a text, however they end."""
    return re.split("\r\n|\r|\n", text)


def read_records(text: str) -> Iterator[Record]:
    """The records of a CSV text, its header first if it has one; empty lines are left out."""
    lines = read_lines(text)
    hint = re.fullmatch(r'"?sep=(.)"?', lines[0].strip("\ufeff "))  # a first line for Excel
    delimiter = hint[1] if hint else _delimiter(lines)
    position, width = (1 if hint else 0), 0
    while position < len(lines):
        stopping.check()
        record, count = _record(lines, position, delimiter, width)
        position += count
        if any(record.cells) or record.fault:
            width = width or len(record.cells)
            yield record


def _delimiter(lines: Sequence[str]) -> str:
    """What parts the cells of the first line that has such a sign: a tab, else what comes first."""
    for line in lines:
        bare = re.sub(r'"[^"]*("|$)', "", line)
        signs = [sign for sign in bare if sign in ",;\t"]
        if signs:
            return "\t" if "\t" in signs else signs[0]
    return ","


def _record(lines: Sequence[str], start: int, delimiter: str, width: int) -> tuple[Record, int]:
    """The record that begins in a line, and how many lines it has.

    A quoted cell may have several; but they must then be a record of `width` cells.
    """
    first = f"line {start + 1}"
    if "\0" in lines[start]:
        return Record(first, [], "it holds a NUL character"), 1
    for count in range(1, _CELL_OF_LINES + 1):
        if start + count > len(lines):
            break
        try:
            cells = _split("\n".join(lines[start : start + count]), delimiter)
        except _Unclosed:
            continue
        except ValueError as error:
            if count == 1:
                return Record(first, [], str(error)), 1
            break
        if count == 1:
            return Record(first, cells), 1
        if width in (0, len(cells)):
            return Record(f"lines {start + 1}-{start + count}", cells), count
        break
    return Record(first, [], "a quote is not closed"), 1


def _split(text: str, delimiter: str) -> list[str]:
    """The cells of a record. Raises _Unclosed, or ValueError for text after a closing quote."""
    if '"' not in text:
        return [cell.strip() for cell in text.split(delimiter)]
    sign = re.escape(delimiter)
    blank = rf"[^\S{sign}]*"
    quoted = re.compile(rf'{blank}"([^"]*(?:""[^"]*)*)"{blank}(?={sign}|\Z)')
    plain = re.compile(rf"[^{sign}]*")
    cells, position = [], 0
    while position <= len(text):
        match = quoted.match(text, position)
        if match:
            cell = match[1].replace('""', '"')
        else:
            match = plain.match(text, position)
            assert match, "it matches nothing, too"
            cell = match[0]
            if cell.lstrip().startswith('"'):
                _refuse(text[position:].lstrip())
        cells.append(cell.strip())
        position = match.end() + 1
    return cells


def _refuse(text: str) -> None:
    if re.match(r'"[^"]*(?:""[^"]*)*"', text):
        raise ValueError("text stands after a closing quote")
    raise _Unclosed("a quote is not closed")
