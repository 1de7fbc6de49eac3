"""The tables of a report, from the records of runs: results, and which runs have none.

Runs that differ in nothing but the seed are one row: mean and standard deviation over seeds. Runs
on other labels, drawn anew or of another set, are a row of their own.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from config import unusual
from naming import written
from recipes import OPTIONS
from tools.choice import best_alone, choose, losers
from tools.finished import (
    ALL,
    AS_ANNOTATED,
    NOT_RECORDED,
    PAPERS,
    Found,
    Run,
    group_by_method,
    labels_name,
    method_name,
    rank,
    setting,
)
from tools.published import LINEAR_EPOCHS, SETS, Published, published
from tools.tables import Mean, Table
from tools.unfinished import Unfinished, again

HEAD = (
    "method", "setting", "val mAP", "test mAP", "at the last epoch", "seeds", "command",
)  # fmt: skip
NOT_RUN = "not run"  # a cell for which there is no run
NO_TRUTH = "† no truth is known of the test images: what is not annotated counts as negative"
CHOSEN = "Bold: of the settings of a method, the one with the highest val mAP{}."
# settings in which a run may differ from the paper's and still stand beside it
_COMPARABLE = {
    "seed", "lr", "optimizer", "weight_decay", "boostlu", "train_set_variant",
    "linear_init", "linear_lr", *OPTIONS,
}  # fmt: skip
# said by the name of the method, by its setting, labels or seeds
_SAID = {
    "seed", "lr", "boostlu", "linear_init", "use_feats", "fpc", "rps", *OPTIONS,
}  # fmt: skip


class Row(NamedTuple):
    """A method at a setting: its finished runs, a seed each, and those without a full result."""

    runs: list[Run]
    lost: list[Unfinished]

    @property
    def run(self) -> Run:
        """A run of the row, finished or not."""
        if self.runs:
            return self.runs[0]
        config = self.lost[0].config
        assert config is not None, "of what is not a run there is no row"
        return Run(config, {}, {}, None)


def results(found: Found, best: bool = False) -> Table:
    """The table of results, a row a method and setting; `best`: with the chosen ones alone.

    It has the published numbers, the data set and the labels where the rows need them.
    """
    return table_of(rows_of(found, best))


def rows_of(found: Found, best: bool = False) -> list[Row]:
    """What is a row of the table of results, in its order."""
    rows = _with_lost(group_by_method(found.runs), found.others)
    if not best:
        return rows
    kept = [id(group) for group in best_alone([row.runs for row in rows if row.runs])]
    return [row for row in rows if not row.runs or id(row.runs) in kept]


def table_of(rows: Sequence[Row]) -> Table:
    """The table of these rows."""
    head, cells = list(HEAD), [list(_cells(row)) for row in rows]
    for place, told in enumerate(settings_of(rows)):
        cells[place][1] = told
    for title, place, column in (
        ("re-runs", 5, [_range(_published(row)) for row in rows]),
        ("paper", 5, [_number(_published(row).paper) for row in rows]),
        ("labels", 2, _labels_cells(rows)),
        ("data set", 0, dataset_names([row.run.config.dataset for row in rows])),
    ):
        if any(column):
            head.insert(place, title)
            for row, cell in zip(cells, column, strict=True):
                row.insert(place, cell)
    strong, said = _chosen(rows)
    notes = [NO_TRUTH] * any(_lacks_truth(row.runs) for row in rows) + said
    beside = {
        "test_labels": [_test_labels(row.runs) for row in rows],
        "chosen": _choice_cells(rows, strong),
    }
    return Table(
        tuple(head), [tuple(row) for row in cells], tuple(notes), strong=strong, beside=beside
    )


def unfinished(others: Sequence[Unfinished]) -> Table:
    """The runs that have no full result, and what is not a run."""
    rows = [(str(run.folder), run.status, run.why, again(run)) for run in others]
    return Table(("folder", "state", "why", "command"), rows)


def mean_and_std(values: Sequence[float], mark: str = "") -> str:
    """A cell for the values of several seeds; `mark`: what is written after it."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Mean(statistics.mean(values), std, len(values), mark)


def maps_by_method(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The test mAP of each row of a method, by the name of the method."""
    maps: dict[str, list[str]] = {}
    for group in group_by_method(runs):
        maps.setdefault(method_name(group[0].config), []).append(_maps(group)[1])
    return maps


def command_of(run: Run, seed: int) -> str:
    """The command line that trains it with this seed."""
    return f"{run.kind[0]} --seed {seed}"


def _is_unsaid(name: str, value: Any, scheme: str) -> bool:
    """Whether neither the method's name nor its options tell of a setting."""
    if name == "train_set_variant":  # of AN it is said: full labels
        return scheme != "AN"
    return name not in _SAID and (name, value) != ("num_epochs", 0)


def is_as_published(run: Run) -> bool:
    """Whether it was trained as in the paper, so that its result may stand beside that."""
    config = run.config
    labels = (AS_ANNOTATED,) if config.dataset == "openimages" else (PAPERS, ALL)
    return (
        {name for name, _ in unusual(config)} <= _COMPARABLE
        and (config.dataset in SETS or config.dataset == "openimages")
        and labels_name(run) in (*labels, NOT_RECORDED)
        and config.linear_init in (0, LINEAR_EPOCHS)
        and (config.train_set_variant == "observed" or config.mod_scheme == "AN")
    )


def _with_lost(groups: Iterable[list[Run]], others: Iterable[Unfinished]) -> list[Row]:
    """The rows of these groups, and of what has no finished seed, in the order of methods."""
    rows = {group[0].kind: Row(group, []) for group in groups}
    by_settings = {kind[0]: row for kind, row in rows.items()}
    for other in others:
        if other.config is not None:
            by_settings.setdefault(other.settings, Row([], [])).lost.append(other)
    lost = [row for row in by_settings.values() if not row.runs]
    return sorted([*rows.values(), *lost], key=lambda row: rank(row.run))


def _cells(row: Row) -> tuple[str, ...]:
    config = row.run.config
    seeds = sorted(run.config.seed for run in row.runs)
    first = seeds[0] if seeds else min(run.config.seed for run in row.lost if run.config)
    maps = _maps(row.runs) if row.runs else [NOT_RUN] * 3
    return (
        method_name(config), setting(config), *maps, _seeds(seeds, row.lost),
        command_of(row.run, first),
    )  # fmt: skip


def _seeds(seeds: Sequence[int], lost: Sequence[Unfinished]) -> str:
    """The finished seeds, then those without a full result, with what became of them."""
    by_status: dict[str, list[int]] = {}
    for run in lost:
        if run.config:
            by_status.setdefault(run.status, []).append(run.config.seed)
    parts = [", ".join(map(str, seeds))] if seeds else []
    parts += [f"{', '.join(map(str, sorted(n)))} {status}" for status, n in by_status.items()]
    return "; ".join(parts)


def _maps(group: Sequence[Run]) -> list[str]:
    """The mAPs of a row: of val, of test, and of test at the last epoch."""
    names = (group[0].config.chosen_by, "test_map", "test_map_last")
    val, *test = ([run.summary[name] for run in group] for name in names)
    mark = " †" if _lacks_truth(group) else ""
    return [mean_and_std(val), *(mean_and_std(values, mark) for values in test)]


def _chosen(rows: Sequence[Row]) -> tuple[frozenset[int], list[str]]:
    """The places of the rows that are chosen by val mAP, and what is to be said of that."""
    places = [place for place, row in enumerate(rows) if row.runs]
    choices = choose([rows[place].runs for place in places])
    strong = frozenset(places[choice.best] for choice in choices if choice.best is not None)
    notes = []
    by = {choice.seeds for choice in choices if choice.best is not None}
    if by:
        seeds = ", ".join(map(str, next(iter(by))))
        shared = len(by) == 1
        notes.append(CHOSEN.format(f" (seeds {seeds})" if shared else " over the seeds of all"))
    for choice in choices:
        if choice.best is None:
            name = method_name(rows[places[choice.places[0]]].run.config)
            notes.append(f"{name}: no seed is common to all of its settings, so none is chosen.")
    return strong, notes


def lost_places(rows: Sequence[Row]) -> set[int]:
    """The places of the rows that val mAP does not choose; a row without runs is none of them."""
    finished = [place for place, row in enumerate(rows) if row.runs]
    return {finished[place] for place in losers([rows[place].runs for place in finished])}


def _choice_cells(rows: Sequence[Row], strong: frozenset[int]) -> list[str]:
    """Of each row whether val mAP chooses it, nothing where there is no choice."""
    cells = {**dict.fromkeys(lost_places(rows), "no"), **dict.fromkeys(strong, "yes")}
    return [cells.get(place, "") for place in range(len(rows))]


def settings_of(rows: Sequence[Row]) -> list[str]:
    """The options of each row, and what else differs from the recipe and between the rows."""
    return [
        "; ".join(filter(None, [setting(row.run.config), more]))
        for row, more in zip(rows, _varying(rows), strict=True)
    ]


def _varying(rows: Sequence[Row]) -> list[str]:
    """What else differs from the recipe, as far as the rows differ in it, for each row."""
    found = [
        {n: v for n, v in unusual(row.run.config) if _is_unsaid(n, v, row.run.config.mod_scheme)}
        for row in rows
    ]
    names = dict.fromkeys(name for settings in found for name in settings)
    varying = [name for name in names if len({repr(s.get(name)) for s in found}) > 1]
    return [
        "; ".join(f"{name} {written(settings[name])}" for name in varying if name in settings)
        for settings in found
    ]


def _published(row: Row) -> Published:
    """What is published of the row's method, where it was trained as it was there."""
    config = row.run.config
    known = published(config.dataset, method_name(config))
    return known if is_as_published(row.run) else Published(None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _range(known: Published) -> str:
    return "-".join(map(_number, known.reruns)) if known.reruns else ""


def _labels_cells(rows: Sequence[Row]) -> list[str]:
    """The labels of each row; nothing where all are the paper's and tell no rows apart.

    Rows of the same name and settings are told apart by the digests in which they differ.
    """
    names = [(labels_name(row.run), row.run.kind[0]) for row in rows]
    are_usual = {name for name, _ in names} <= {PAPERS, ALL, NOT_RECORDED}
    if are_usual and len({settings for _, settings in names}) == len(names):
        return []
    alike: dict[tuple, list[Mapping[str, Any]]] = {}
    for name, row in zip(names, rows, strict=True):
        alike.setdefault(name, []).append(row.run.used)
    return [
        ", ".join([name[0], *_apart(row.run.used, alike[name])])
        for name, row in zip(names, rows, strict=True)
    ]


def _apart(used: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """The digests, in short, that are not the same in all of these."""
    differ = [name for name in used if any(other.get(name) != used[name] for other in others)]
    return [f"{name} {str(used[name])[:6]}" for name in differ]


def dataset_names(sets: Sequence[str]) -> list[str]:
    """The cells for these data sets, folders of the same last name by their path; none for one."""
    short = Counter(Path(found).name for found in {*sets})
    if len({*sets}) <= 1:
        return []
    return [found if short[Path(found).name] > 1 else Path(found).name for found in sets]


def _test_labels(group: Sequence[Run]) -> str:
    """By which labels the test counts: truth, or observed ones."""
    return ("observed" if _lacks_truth(group) else "truth") if group else ""


def _lacks_truth(group: Sequence[Run]) -> bool:
    return any(run.summary.get("test_labels") == "observed" for run in group)
