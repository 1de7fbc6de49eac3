"""The report as one HTML page that needs nothing else: no network, no file beside it.

Tables can be sorted, commands copied, pictures enlarged, and the curves of all runs compared. What
is on the page came from files: every text is escaped, and the page's own policy lets no script run
but its own and nothing be loaded.
"""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cli import printable
from tools.pages import filled, read
from tools.report_curves import FINISHED, RunCurves, chart_json
from tools.tables import Table

PAGE = "report_page"  # the folder of its parts, beside this file
MISSING = frozenset(
    {"", "not run", "-", "\u2013", "\u2014"}
)  # cells that are sorted last, as in page.js
LONG, SHORT = 60, 24  # letters: a cell of more has lines, a column of fewer may stay in view
AT_FIRST = 250  # rows of a table that are shown before all are asked for
_NUMBER = re.compile(
    r"[-+\u2212]?\d+(,\d{3})*(\.\d+)?(e[-+]?\d+)?(( ± |\u2013)\d+(\.\d+)?)?( ?%)?( †)?",
    re.IGNORECASE,
)
_RUNS = ("method", "setting", "data set", "labels", "seed", "status", "epochs", "best epoch",
         "val mAP", "test mAP", "command")  # fmt: skip


class Picture(NamedTuple):
    """A picture, and what is written below it."""

    title: str
    png: bytes


class Section(NamedTuple):
    """A part of the page: its title, what is said first, its tables and pictures."""

    title: str
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    text: Sequence[str] = ()  # paragraphs


def page(title: str, sections: Sequence[Section], runs: Sequence[RunCurves]) -> str:
    """The page: these sections, the curves of the runs, and a table of the runs with commands.

    All texts are plain text. The same content gives the same page.
    """
    script = "".join(read(PAGE, f"{name}.js") for name in ("page", "chart", "choosing"))
    style = read(PAGE, "chart.css") + read(PAGE, "style.css")
    parts = _parts(sections, runs)
    filling = {
        "title": _text(title),
        "counts": _text(counts(runs)),
        "contents": "".join(
            f'<li><a href="#{name}">{_text(at)}</a></li>\n' for name, at, _ in parts
        ),
        "sections": "".join(_section(*part) for part in parts),
        "runs": chart_json(runs),
    }
    return filled(read(PAGE, "page.html"), script, style, "data:", filling)


def counts(runs: Sequence[RunCurves]) -> str:
    """How many of the runs are finished, and what became of the others."""
    number = Counter(run.status for run in runs)
    finished = number.pop(FINISHED, 0)
    said = f"{finished:,} finished run{'s' * (finished != 1)}"
    others = ", ".join(f"{count:,} {status}" for status, count in sorted(number.items()))
    return f"{said}, {number.total():,} without a result: {others}" if others else said


def runs_table(runs: Sequence[RunCurves]) -> Table:
    """A row a run with its command; a column that would be empty is left out."""
    rows = list(map(_run_row, runs))
    kept = [place for place in range(len(_RUNS)) if any(row[place] for row in rows)]
    head = tuple(_RUNS[place] for place in kept)
    return Table(head, [tuple(row[place] for place in kept) for row in rows])


def _run_row(run: RunCurves) -> tuple[str, ...]:
    best = run.best_epoch
    return (
        run.method,
        run.setting,
        run.dataset,
        run.labels,
        str(run.seed),
        ": ".join(filter(None, [run.status, run.why])),
        str(run.epochs or ""),
        "" if best is None else str(best),
        _in_percent(run.value("val_map", best)),
        _in_percent(run.test_map),
        run.command,
    )


def _in_percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _parts(sections: Sequence[Section], runs: Sequence[RunCurves]) -> list[tuple[str, str, str]]:
    """Name for links, title and content of every part of the page."""
    parts = [
        (f"part-{number}", section.title, _content(f"part-{number}", section))
        for number, section in enumerate(sections, start=1)
    ]
    if any(run.epochs for run in runs):
        parts.append(("curves", "Curves", read(PAGE, "chart.html")))
    if runs:
        content = _content("runs", Section("Runs", [runs_table(runs)]))
        parts.append(("runs", "Runs and their commands", content))
    return parts


def _section(name: str, title: str, content: str) -> str:
    heading = f'<h2 id="{name}-title">{_text(title)}</h2>'
    return f'<section id="{name}">\n{heading}\n{content}</section>\n\n'


def _content(name: str, section: Section) -> str:
    said = "".join(f"<p>{_text(text)}</p>\n" for text in section.text)
    tables = "".join("".join(_table(name, table)) for table in section.tables)
    return said + tables + _pictures(section.pictures)


def _table(name: str, table: Table) -> Iterator[str]:
    """The table in a box of its own, named as the heading of its section, and its notes."""
    kinds = [_kind(table, place) for place in range(len(table.head))]
    yield f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}-title">\n'
    stays = all(len(row[0]) <= SHORT for row in table.rows)
    yield '<table class="named">' if stays else "<table>"
    yield "\n<thead><tr>"
    for title, kind in zip(table.head, kinds, strict=True):
        yield f'<th scope="col"{kind}><button type="button">{_text(title)}</button></th>'
    yield "</tr></thead>\n<tbody>\n"
    for place, row in enumerate(table.rows):
        strong = ' class="strong"' if place in table.strong else ""
        yield f"<tr{strong}{' hidden' if place >= AT_FIRST else ''}>"
        for at, (text, kind) in enumerate(zip(row, kinds, strict=True)):
            yield _cell(text, kind, is_strong=bool(strong) and at == table.naming)
        yield "</tr>\n"
    yield "</tbody>\n</table>\n</div>\n"
    if len(table.rows) > AT_FIRST:
        yield f'<p class="note more">{AT_FIRST} of {len(table.rows):,} rows are shown. '
        yield '<button type="button" class="plain">Show all</button></p>\n'
    yield from (f'<p class="note">{_text(note)}</p>\n' for note in table.notes)


def _kind(table: Table, place: int) -> str:
    """The class of a column's cells, as an attribute: commands, numbers or text."""
    if table.head[place] in table.code:
        return ' class="command"'
    cells = {row[place] for row in table.rows} - MISSING
    return ' class="number"' if cells and all(map(_NUMBER.fullmatch, cells)) else ""


def _cell(text: str, kind: str, is_strong: bool = False) -> str:
    shown = f"<b>{_text(text)}</b>" if is_strong else _text(text)
    if "command" in kind and text:
        shown = f'<button type="button" class="copy">Copy</button><code>{shown}</code>'
    elif len(text) > LONG:
        kind = ' class="long"'
    return f"<td{kind}>{shown}</td>"


def _pictures(pictures: Iterable[Picture]) -> str:
    return "".join(
        f'<figure><button type="button" class="enlarge">{_image(picture)}</button>'
        f"<figcaption>{_text(picture.title)}</figcaption></figure>\n"
        for picture in pictures
    )


def _image(picture: Picture) -> str:
    """The picture with its size, so that the page need not move when it has been decoded."""
    width, height = (int.from_bytes(picture.png[at : at + 4], "big") for at in (16, 20))
    data = base64.b64encode(picture.png).decode()
    size = f'width="{width}" height="{height}"'
    return f'<img {size} alt="{_text(picture.title)}" src="data:image/png;base64,{data}">'


def _text(text: str) -> str:
    """The text as HTML shows it, in one line; for a quoted attribute too."""
    return html.escape(printable(text))
