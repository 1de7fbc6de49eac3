"""Tables of the evidence beside mAP: the pointing game, OpenImages' groups, the highest losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cli import UserError
from tools.explained import Pointing, read_pointing
from tools.finished import Run, group_by_method, method_name, setting
from tools.looks import KINDS
from tools.published import HIGHEST_LOSS, OPENIMAGES, OPENIMAGES_GROUPS, POINTING, SETS
from tools.report_tables import command_of, is_as_published, mean_and_std, with_std
from tools.tables import Table


def pointing(runs: Sequence[Run]) -> Table:
    """How often the maximum of a class map lies in a box of the class, in percent, by method.

    Raises UserError where no run has a record of it.
    """
    rows = []
    for group in group_by_method(runs):
        played = _played(group)
        if played:
            config = group[0].config
            total, mean = zip(
                *((p.tally.total, p.tally.mean) for p in played.values()), strict=True
            )
            seeds = sorted(played)
            where = config.run_dir.parent / "RUN"
            rows.append((
                method_name(config), setting(config), mean_and_std(total), mean_and_std(mean),
                _paper(group[0]), _joined(seeds),
                f"python -m tools.explain {where}",
            ))  # fmt: skip
    if not rows:
        raise UserError("no run has a pointing.json: python -m tools.explain RUN writes it")
    head = ("method", "setting", "all", "mean of classes", "paper", "seeds", "command")
    return _without_empty(Table(head, rows), "paper")


def groups(runs: Sequence[Run]) -> Table:
    """Test mAP of each group of classes, by method, as OpenImages has them.

    Raises UserError where no run has groups.
    """
    having = [group for group in group_by_method(runs) if "test_map_groups" in group[0].summary]
    if not having:
        raise UserError("no run has groups of classes, as those on openimages have")
    names = list(having[0][0].summary["test_map_groups"])
    rows = []
    for group in having:
        maps = [
            [run.summary["test_map_groups"].get(name) for run in group if name in names]
            for name in names
        ]
        cells = [mean_and_std([v for v in values if v is not None]) for values in maps]
        all_ = mean_and_std([run.summary["test_map"] for run in group])
        seeds = sorted(run.config.seed for run in group)
        rows.append((method_name(group[0].config), *cells, all_, _joined(seeds),
                     command_of(group[0], seeds[0])))  # fmt: skip
        known = OPENIMAGES.get(rows[-1][0])
        if known and is_as_published(group[0]) and (*names, "All") == OPENIMAGES_GROUPS:
            rows.append((f"{rows[-1][0]} (paper)", *(f"{value:.1f}" for value in known), "", ""))
    return Table(("method", *names, "All", "seeds", "command"), rows)


def highest_loss(runs: Sequence[Run], data_root: str | None = None) -> Table:
    """Table 1 of Kim et al.: share (%) of labels whose loss is highest in epoch 1, and later.

    Of the runs of AN with `--audit labels`. Raises UserError where there is none.
    """
    from tools.histories import assume_negative, highest_loss_shares

    kept = assume_negative(runs)
    seeds = sorted(run.config.seed for run in kept)
    command = f"{command_of(kept[0], seeds[0])} --audit labels"
    rows = []
    for kind, found in highest_loss_shares(runs, data_root).items():
        first = with_std(found.first, found.first_std)
        later = with_std(found.later, found.later_std)
        paper = _highest_loss_in_paper(kept[0], kind)
        rows.append((KINDS[kind][0], first, later, *paper, _joined(seeds), command))
    head = ("labels", "epoch 1", "later", "paper: epoch 1", "paper: later", "seeds", "command")
    return _without_empty(_without_empty(Table(head, rows), head[3]), head[4])


def _played(group: Sequence[Run]) -> Mapping[int, Pointing]:
    """The pointing games of these runs on test images, by seed."""
    found = {run.config.seed: read_pointing(Path(run.config.run_dir)) for run in group}
    return {seed: game for seed, game in found.items() if game and game.split == "test"}


def _paper(run: Run) -> str:
    known = POINTING.get(method_name(run.config))
    column = list(SETS).index(run.config.dataset) if run.config.dataset in SETS else 2
    return f"{known[column]:.1f}" if known and column < 2 and is_as_published(run) else ""


def _highest_loss_in_paper(run: Run, kind: str) -> tuple[str, str]:
    known = HIGHEST_LOSS.get(run.config.dataset, {}).get(kind)
    if known is None or method_name(run.config) != "AN" or not is_as_published(run):
        return "", ""
    return f"{known[0]:.1f}", f"{known[1]:.1f}"


def _joined(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _without_empty(table: Table, title: str) -> Table:
    """The table without that column, where all of its cells are empty."""
    place = table.head.index(title)
    if any(row[place] for row in table.rows):
        return table
    head, *rows = ((*row[:place], *row[place + 1 :]) for row in (table.head, *table.rows))
    return table._replace(head=head, rows=rows)
