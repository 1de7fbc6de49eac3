"""The report as one page: every table, curve and figure that the records of some runs allow."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cli import UserError, printable
from config import Config
from files import is_there, read_file, write_atomically
from record import RunRecord
from tools import figures
from tools.choice import choose
from tools.evidence_tables import groups, highest_loss, pointing, pointing_by_class
from tools.finished import Found, Run, method_name
from tools.report_curves import FINISHED, RunCurves
from tools.report_html import Picture, Section, page
from tools.report_tables import Row, command_of, lost_places, results, rows_of, table_of, unfinished
from tools.tables import Table
from tools.unfinished import DAMAGED


def write_page(
    found: Found,
    path: Path,
    pictures: Path | None = None,
    data_root: str | None = None,
    best: bool = False,
) -> None:
    """Write the page; what the records do not hold is left out.

    Its figures are those in the folder `pictures`, or else drawn from the runs as far as these are
    of one data set. With `best` its table of results has the chosen setting of each method alone.
    Raises UserError where that cannot be done.
    """
    runs = found.runs
    drawn_before = list(_found_in(pictures)) if pictures else []
    sections = [Section("Results", [results(found, best)])]
    if not best and choose([row.runs for row in rows_of(found) if row.runs]):
        said = "Of the settings of each method, the one with the highest validation mAP."
        chosen = [results(found, best=True)]
        sections.append(Section("Chosen by validation", chosen, text=[said]))
    if found.others:
        sections.append(Section("Runs without a full result", [unfinished(found.others)]))
    for title, make in (
        ("Groups of classes", lambda: [groups(runs)]),
        ("Epoch of the highest loss", lambda: [highest_loss(found.whole, data_root)]),
        ("Pointing game", lambda: [pointing(runs), pointing_by_class(runs)]),
    ):
        sections.extend(Section(title, tables) for tables in _if_possible(make, f"no {title}: "))
    drawn = drawn_before or list(_drawn(found.whole, data_root))
    if drawn:
        sections.append(Section("Figures", pictures=drawn))
    names = ", ".join(dict.fromkeys(run.config.dataset for run in runs))
    html = page(f"Runs on {names}" if runs else "Runs", sections, list(curves(found)))
    write_atomically(path, lambda file: file.write(html.encode()))


def curves(found: Found) -> Iterator[RunCurves]:
    """What the page shows of each run, finished or not, in the order of the table of results."""
    rows = rows_of(found)
    table, chosen = table_of(rows), _chosen(rows)
    for place, (row, values) in enumerate(zip(rows, table.rows, strict=True)):
        cells = dict(zip(table.head, values, strict=True))
        for one in _curves_of(row, cells):
            yield one._replace(is_chosen=place in chosen)


def _chosen(rows: Sequence[Row]) -> set[int]:
    """The place of one row for each method: the chosen one, of several experiments the first."""
    lost = lost_places(rows)
    best_first = sorted(range(len(rows)), key=lambda place: (not rows[place].runs, place in lost))
    chosen: dict[tuple[str, str], int] = {}
    for place in best_first:
        config = rows[place].run.config
        chosen.setdefault((config.dataset, method_name(config)), place)
    return {*chosen.values()}


def _curves_of(row: Row, cells: dict[str, str]) -> Iterator[RunCurves]:
    damaged = {lost.folder: lost.why for lost in row.lost if lost.status == DAMAGED}
    for run in sorted(row.runs, key=lambda run: run.config.seed):
        best, test = int(run.summary["best_epoch"]), run.summary["test_map"]
        why = damaged.get(run.config.run_dir, "")
        one = _curve(row, cells, run.config, FINISHED, why, best_epoch=best, test_map=test)
        yield one._replace(columns={}) if why else one
    for lost in row.lost:
        if lost.config and lost.status != DAMAGED:
            yield _curve(row, cells, lost.config, lost.status, why=lost.why)


def _curve(
    row: Row,
    cells: dict[str, str],
    config: Config,
    status: str,
    why: str = "",
    best_epoch: int | None = None,
    test_map: float | None = None,
) -> RunCurves:
    command = command_of(row.run, config.seed)
    return RunCurves(
        cells["method"], cells["setting"], cells.get("data set", ""), config.seed, status, command,
        best_epoch, _columns(config), cells.get("labels", ""), why, test_map,
    )  # fmt: skip


def _columns(config: Config) -> dict[str, list[float | None]]:
    """The columns of metrics.csv; none where there are no epochs yet."""
    try:
        rows = RunRecord(config.run_dir).read_metrics()
    except UserError:
        return {}
    return {name: [row[name] for row in rows] for name in rows[0]}


def _found_in(folder: Path) -> Iterator[Picture]:
    """The figures in a folder, in the order of their kinds. Raises UserError where it has none."""
    there = [name for name in figures.KINDS if is_there(folder / f"{name}.png")]
    if not there:
        raise UserError(f"--pictures: {folder} holds no figure of tools.figures")
    yield from (Picture(_title(name), read_file(folder / f"{name}.png")) for name in there)


def _title(name: str) -> str:
    return f"{name.replace('_', ' ')}: {figures.KINDS[name].about.removesuffix(' (*)')}"


def _drawn(runs: Sequence[Run], data_root: str | None) -> Iterator[Picture]:
    """Every figure that these runs allow; why the others are not there is said on stderr."""
    if not runs:
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in figures.KINDS.items():
            path = Path(folder) / name

            def draw(kind: figures.Kind = kind, path: Path = path) -> bytes:
                kind.draw(runs, path, data_root)
                return path.with_suffix(".png").read_bytes()

            yield from (Picture(_title(name), png) for png in _if_possible(draw, f"no {name}: "))


def _if_possible(make: Callable[[], list[Table] | bytes], said: str) -> Iterator:
    """What it makes, or nothing where the records do not hold what it needs."""
    try:
        yield make()
    except UserError as error:
        print(printable(f"note: {said}{error}"), file=sys.stderr)
