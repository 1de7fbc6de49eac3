"""A table of text, and how it is written: Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from cli import printable


class Table(NamedTuple):
    """Cells of plain text under their titles."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()  # below the table
    code: frozenset[str] = frozenset({"command"})  # titles of the columns that hold commands
    strong: frozenset[int] = frozenset()  # places of the rows that stand out


def markdown(table: Table) -> str:
    """The table for a Markdown page."""
    rows = [tuple(map(_escaped, table.head)), tuple("---" for _ in table.head)]
    for place, row in enumerate(table.rows):
        cells = [
            _code(cell) if title in table.code else _escaped(cell)
            for title, cell in zip(table.head, row, strict=True)
        ]
        if place in table.strong:
            cells[0] = f"**{cells[0]}**"
        rows.append(tuple(cells))
    text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return text + "".join(f"\n{note}\n" for note in table.notes)


def latex(table: Table) -> str:
    """The table for a LaTeX page with the package booktabs, without its commands."""
    kept = [place for place, title in enumerate(table.head) if title not in table.code]
    lines = [
        f"\\begin{{tabular}}{{{'l' * len(kept)}}}",
        "\\toprule",
        _latex_row([table.head[place] for place in kept]),
        "\\midrule",
    ]
    for number, row in enumerate(table.rows):
        cells = [row[place] for place in kept]
        lines.append(_latex_row(cells, strong=number in table.strong))
    lines += ["\\bottomrule", "\\end{tabular}", *(f"% {printable(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """The table as CSV, its notes left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([printable(cell) for cell in row] for row in (table.head, *table.rows))
    return text.getvalue()


def _escaped(text: str) -> str:
    """The text for a cell of a table: what came from files must not end or break it.

    Nor be a tag, or the comment that ends the place of the table in its page.
    """
    return _in_a_cell(text).replace("<", "&lt;")


def _in_a_cell(text: str) -> str:
    return printable(text).replace("|", "\\|")


def _code(text: str) -> str:
    """The text as code, which Markdown shows as it is, in a fence longer than any within."""
    if not text:
        return ""
    shown = _in_a_cell(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}{shown}{fence}" if fence == "`" else f"{fence} {shown} {fence}"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "†": r"$\dagger$",
    "[": "{[}", "*": "{*}",  # at the start of a row they would belong to the end of that before
}  # fmt: skip


def _latex_row(cells: Sequence[str], strong: bool = False) -> str:
    escaped = ["".join(_LATEX.get(letter, letter) for letter in printable(cell)) for cell in cells]
    if strong:
        escaped = [f"\\textbf{{{cell}}}" for cell in escaped]
    return " & ".join(escaped) + r" \\"
