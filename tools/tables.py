"""A table of text, and how it is written: Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from cli import printable

_IN_CSV = {"val mAP": "val_map", "test mAP": "test_map", "at the last epoch": "test_map_last"}


class Mean(str):
    """A cell for a mean over so many seeds, which keeps its numbers for CSV."""

    mean: float
    std: float | None  # None where there is one seed
    seeds: int

    def __new__(cls, mean: float, std: float | None, seeds: int, mark: str = "") -> Mean:
        """The cell "92.4 ± 0.6"; `mark`: what is written after it."""
        spread = "" if std is None else f" ± {std:.1f}"
        cell = super().__new__(cls, f"{mean:.1f}{spread}{mark}")
        cell.mean, cell.std, cell.seeds = mean, std, seeds
        return cell


class Table(NamedTuple):
    """Cells of plain text under their titles."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()  # below the table
    code: frozenset[str] = frozenset({"command"})  # titles of the columns that hold commands
    strong: frozenset[int] = frozenset()  # places of the rows that stand out
    beside: Mapping[str, Sequence[str]] = MappingProxyType({})  # columns that CSV alone has

    @property
    def naming(self) -> int:
        """The place of the column that names a row."""
        return self.head.index("method") if "method" in self.head else 0


def markdown(table: Table) -> str:
    """The table for a Markdown page."""
    rows = [tuple(map(_escaped, table.head)), tuple("---" for _ in table.head)]
    for place, row in enumerate(table.rows):
        cells = [
            _code(cell) if title in table.code else _escaped(cell)
            for title, cell in zip(table.head, row, strict=True)
        ]
        if place in table.strong:
            cells[table.naming] = f"**{cells[table.naming]}**"
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
    """The table as CSV, for programs: numbers have columns of their own, notes are left out.

    A mean over seeds is two columns, its deviation being empty where there is one seed; `n` is the
    number of seeds.
    """
    columns = [*_columns(table), *table.beside.items()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([printable(title) for title, _ in columns])
    rows = zip(*(cells for _, cells in columns), strict=True)
    writer.writerows([printable(cell) for cell in row] for row in rows)
    return text.getvalue()


def _columns(table: Table) -> Iterator[tuple[str, Sequence[str]]]:
    """Title and cells of each column, means split, with the number of seeds where there are any."""
    for place, title in enumerate(table.head):
        cells = [row[place] for row in table.rows]
        if any(isinstance(cell, Mean) for cell in cells):
            name = _IN_CSV.get(title, re.sub(r"[, ]+", "_", title))
            yield f"{name}_mean", [_mean(cell) for cell in cells]
            yield f"{name}_std", [_std(cell) for cell in cells]
        else:
            yield title, cells
    seeds = [[cell.seeds for cell in row if isinstance(cell, Mean)] for row in table.rows]
    if any(seeds):
        yield "n", [str(max(known, default=0)) for known in seeds]


def _mean(cell: str) -> str:
    """The number of the cell; nothing where it says that there is none."""
    if isinstance(cell, Mean):
        return f"{cell.mean:.6g}"
    return cell if re.fullmatch(r"\d+(\.\d+)?", cell) else ""


def _std(cell: str) -> str:
    return f"{cell.std:.6g}" if isinstance(cell, Mean) and cell.std is not None else ""


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
