"""Tables of the evidence beside mAP: the pointing game, OpenImages' groups, the highest losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cli import UserError
from folder import POINTING as RECORD
from record import is_number
from tools.explained import Pointing, read_pointing
from tools.finished import Found, Run, method_name, warn, with_explain
from tools.looks import KINDS
from tools.published import HIGHEST_LOSS, OPENIMAGES, OPENIMAGES_GROUPS, POINTING, SETS
from tools.report_tables import (
    Row,
    command_of,
    dataset_names,
    is_as_published,
    mean_and_std,
    rows_of,
    settings_of,
)
from tools.tables import Mean, Table


def pointing(runs: Sequence[Run]) -> Table:
    """How often the maximum of a class map lies in a box of the class, in percent, by method.

    Raises UserError where no run has a record of it.
    """
    rows = []
    played = _games(runs)
    for (row, games), named in zip(played, _named([row for row, _ in played]), strict=True):
        total, mean = zip(*((g.tally.total, g.tally.mean) for g in games.values()), strict=True)
        seeds = sorted(games)
        rows.append((
            *named, mean_and_std(total), mean_and_std(mean), _strict(games.values()),
            _paper(row.run), _joined(seeds),
            with_explain(command_of(row.run, seeds[0])),
        ))  # fmt: skip
    strict = "all, without borders"
    head = ("data set", "method", "setting", "all", "mean of classes", strict, "paper", "seeds",
            "command")  # fmt: skip
    return _without_empty(Table(head, rows), "data set", strict, "paper")


def groups(runs: Sequence[Run]) -> Table:
    """Test mAP of each group of classes, by method, as OpenImages has them.

    Raises UserError where no run has groups.
    """
    having = [run for run in runs if _groups_of(run)]
    if not having:
        raise UserError("no run has groups of classes, as those on openimages have")
    names = list(dict.fromkeys(name for run in having for name in _groups_of(run)))
    kept = rows_of(Found(having, []))
    rows, beside = [], set()
    for (dataset, method, told), row in zip(_named(kept), kept, strict=True):
        maps = [_mean_of_known([_groups_of(run).get(name) for run in row.runs]) for name in names]
        all_ = mean_and_std([run.summary["test_map"] for run in row.runs])
        seeds = sorted(run.config.seed for run in row.runs)
        rows.append((dataset, method, told, *maps, all_, _joined(seeds),
                     command_of(row.run, seeds[0])))  # fmt: skip
        known = _groups_in_paper(row.run)
        if known and method not in beside:
            beside.add(method)
            cells = (known.get(name, "") for name in (*names, "All"))
            rows.append((dataset, f"{method} (paper)", "", *cells, "", ""))
    head = ("data set", "method", "setting", *names, "All", "seeds", "command")
    return _without_empty(Table(head, rows), "data set", "setting")


def pointing_by_class(runs: Sequence[Run]) -> Table:
    """The same for each class, in percent of its tries; a column a method.

    Raises UserError where no run has a record of it.
    """
    played = _games(runs)
    columns = [
        {kind: _share([*games.values()], kind) for kind in next(iter(games.values())).classes}
        for _, games in played
    ]
    classes = dict.fromkeys(kind for found in columns for kind in found)
    rows = [(kind, *(found.get(kind, "") for found in columns)) for kind in classes]
    titles = (" ".join(filter(None, named)) for named in _named([row for row, _ in played]))
    return Table(("class", *titles), rows)


def highest_loss(runs: Sequence[Run], data_root: str | None = None) -> Table:
    """Table 1 of Kim et al.: share (%) of labels whose loss is highest in epoch 1, and later.

    Of the runs of AN with `--audit labels`, each setting on its own. Raises UserError where there
    is none.
    """
    from tools.histories import assume_negative, has_history, highest_loss_shares

    named = [row for row in rows_of(Found(list(runs), [])) if method_name(row.run.config) == "AN"]
    kept = [row for row in named if any(map(has_history, row.runs))]
    if not kept:
        assume_negative(runs)  # says what is missing
    rows = []
    for row, told in zip(kept, settings_of(kept), strict=True):
        first_run, *_ = having = assume_negative(row.runs)
        seeds = sorted(run.config.seed for run in having)
        command = f"{command_of(first_run, seeds[0])} --audit labels"
        for kind, found in highest_loss_shares(row.runs, data_root).items():
            first = Mean(found.first, found.first_std, found.seeds)
            later = Mean(found.later, found.later_std, found.seeds)
            paper = _highest_loss_in_paper(first_run, kind)
            rows.append((told, KINDS[kind].name, first, later, *paper, _joined(seeds), command))
    head = ("setting", "labels", "epoch 1", "later", "paper: epoch 1", "paper: later", "seeds",
            "command")  # fmt: skip
    return _without_empty(Table(head, rows), "setting", "paper: epoch 1", "paper: later")


def _games(runs: Sequence[Run]) -> list[tuple[Row, Mapping[int, Pointing]]]:
    """The rows of runs that played on test images, with their games by seed.

    Raises UserError where there is none.
    """
    found = [(row, _played(row.runs)) for row in rows_of(Found(list(runs), []))]
    played = [(row, games) for row, games in found if games]
    if not played:
        raise UserError("no run has a pointing.json: python -m tools.explain RUN writes it")
    return played


def _named(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Data set, method and setting of each row; no data set where all are on one."""
    sets = dataset_names([row.run.config.dataset for row in rows]) or [""] * len(rows)
    methods = [method_name(row.run.config) for row in rows]
    return list(zip(sets, methods, settings_of(rows), strict=True))


def _played(group: Sequence[Run]) -> Mapping[int, Pointing]:
    """The pointing games of these runs on test images, by seed."""
    found = {run.config.seed: read_pointing(Path(run.config.run_dir)) for run in group}
    for run in group:
        game = found[run.config.seed]
        if game and game.split != "test":
            warn(f"{run.config.run_dir / RECORD} is of the {game.split} split: left out")
    return {seed: game for seed, game in found.items() if game and game.split == "test"}


def _strict(games: Iterable[Pointing]) -> str:
    """Hits in percent were the border of a box no part of it, where all records tell."""
    totals = [game.strict_total for game in games]
    known = [total for total in totals if total is not None]
    return mean_and_std(known) if len(known) == len(totals) else ""


def _share(games: Sequence[Pointing], kind: str) -> str:
    """The hits of a class over seeds, nothing where it was never tried."""
    tried = [game.classes[kind] for game in games if game.classes.get(kind, (0, 0))[1]]
    return mean_and_std([100 * hits / tries for hits, tries in tried]) if tried else ""


def _paper(run: Run) -> str:
    known = POINTING.get(method_name(run.config))
    column = list(SETS).index(run.config.dataset) if run.config.dataset in SETS else 2
    return f"{known[column]:.1f}" if known and column < 2 and is_as_published(run) else ""


def _highest_loss_in_paper(run: Run, kind: str) -> tuple[str, str]:
    known = HIGHEST_LOSS.get(run.config.dataset, {}).get(kind)
    if known is None or method_name(run.config) != "AN" or not is_as_published(run):
        return "", ""
    return f"{known[0]:.1f}", f"{known[1]:.1f}"


def _groups_of(run: Run) -> dict[str, float | None]:
    """The test mAP of each group of classes, None where it is unknown; nothing without groups."""
    found = run.summary.get("test_map_groups")
    groups = found if isinstance(found, dict) else {}
    return {name: value if is_number(value) else None for name, value in groups.items()}


def _groups_in_paper(run: Run) -> dict[str, str]:
    """The paper's cells by the title of their column, where they may stand beneath the run."""
    known = OPENIMAGES.get(method_name(run.config))
    same = run.config.dataset == "openimages" and (*_groups_of(run), "All") == OPENIMAGES_GROUPS
    if known is None or not same or not is_as_published(run):
        return {}
    return {name: f"{value:.1f}" for name, value in zip(OPENIMAGES_GROUPS, known, strict=True)}


def _mean_of_known(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return mean_and_std(known) if known else ""


def _joined(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _without_empty(table: Table, *titles: str) -> Table:
    """The table without those of these columns of which all cells are empty."""
    empty = {
        place
        for place, title in enumerate(table.head)
        if title in titles and not any(row[place] for row in table.rows)
    }
    head, *rows = (
        tuple(cell for place, cell in enumerate(row) if place not in empty)
        for row in (table.head, *table.rows)
    )
    return table._replace(head=head, rows=rows)
