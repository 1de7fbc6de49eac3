"""The curves of runs, epoch by epoch, as the report's page draws them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cli import printable
from tools.looks import bare, look

FINISHED = "finished"  # the status of a run that has a result


class RunCurves(NamedTuple):
    """What the report shows of a run, finished or not."""

    method: str
    setting: str
    dataset: str
    seed: int
    status: str  # FINISHED, or what else became of it
    command: str
    best_epoch: int | None  # from 1
    columns: Mapping[str, Sequence[float | None]]  # of metrics.csv, None or NaN where unknown
    labels: str = ""  # which labels it was given, where that needs saying
    why: str = ""  # how far it came and what stopped it
    test_map: float | None = None  # percent
    is_chosen: bool = True  # whether its setting is the one that is shown of its method at first

    @property
    def epochs(self) -> int:
        """How many epochs have a value."""
        return max(map(len, self.columns.values()), default=0)

    def value(self, column: str, epoch: int | None) -> float | None:
        """The column's value at an epoch, None where unknown."""
        values = self.columns.get(column, ())
        if epoch is None or not 1 <= epoch <= len(values):
            return None
        return _known(values[epoch - 1])


class Column(NamedTuple):
    """How a column of metrics.csv is called on the page."""

    title: str
    unit: str = ""
    scale: float = 1  # from the file's unit to this one


COLUMNS = {
    "val_map": Column("validation mAP", "%"),
    "val_map_observed": Column("validation mAP on observed labels", "%"),
    "train_loss": Column("training loss"),
    "loss_tp": Column("loss of true positives"),
    "loss_tn": Column("loss of true negatives"),
    "loss_fn": Column("loss of false negatives"),
    "selected": Column("labels selected"),
    "selected_precision": Column("selected labels that are truly positive", "%", 100),
    "selected_recall": Column("false negatives that are selected", "%", 100),
    "rate": Column("share of labels that the scheme selects", "%", 100),
    "images_per_s": Column("images per second"),
}
_DASHES = {"-": "", "--": "7 4", ":": "2 3", "-.": "8 3 2 3"}  # matplotlib's, for SVG
_METHODS_AT_FIRST = 12  # of more, those that are another with something beside it come on demand


def chart_json(runs: Sequence[RunCurves]) -> str:
    """Columns, and a group for the runs that differ in the seed alone, for a script element.

    A group's first line is its mean, where it has one. No "<" is in the text.
    """
    shown = [name for name in COLUMNS if any(_has(run, name) for run in runs)]
    chart = {
        "columns": [{"name": name, **COLUMNS[name]._asdict()} for name in shown],
        "groups": [_group(group, shown) for group in _groups(runs)],
        "hidden": _hidden_at_first(runs),
    }
    return json.dumps(chart, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _hidden_at_first(runs: Sequence[RunCurves]) -> list[str]:
    """Of many methods those that are another one with something beside it."""
    methods = dict.fromkeys(run.method for run in runs if run.epochs)
    if len(methods) <= _METHODS_AT_FIRST:
        return []
    beside = (name for name in methods if bare(name) != name and bare(name) in methods)
    return [printable(name) for name in beside]


def mean(lines: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The mean at each epoch that all lines reach, None where one of them is unknown."""
    shortest = min(map(len, lines), default=0)
    return [_mean([line[epoch] for line in lines]) for epoch in range(shortest)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(math.fsum(known) / len(known)) if len(known) == len(values) else None


def _groups(runs: Sequence[RunCurves]) -> list[list[RunCurves]]:
    groups: dict[tuple, list[RunCurves]] = {}
    for run in runs:
        if run.epochs:
            key = run.dataset, run.method, run.setting, run.labels
            groups.setdefault(key, []).append(run)
    return list(groups.values())


def _group(runs: Sequence[RunCurves], columns: Sequence[str]) -> dict[str, Any]:
    first = runs[0]
    color, _, dash = look(first.method)
    lines = [_line(run, columns) for run in runs]
    finished = [place for place, run in enumerate(runs) if run.status == FINISHED]
    if len(finished) > 1:
        seeds = ", ".join(str(runs[place].seed) for place in finished)
        values = {
            name: mean([lines[place]["values"][name] for place in finished]) for name in columns
        }
        lines.insert(0, {"name": f"mean of seeds {seeds}", "best": None, "values": values})
    return {
        "dataset": printable(first.dataset),
        "method": printable(first.method),
        "setting": printable(", ".join(filter(None, [first.setting, first.labels]))),
        "color": color,
        "dash": _DASHES[dash] if isinstance(dash, str) else " ".join(map(str, dash[1])),
        "isChosen": first.is_chosen,
        "hasMean": len(finished) > 1,
        "lines": lines,
    }


def _line(run: RunCurves, columns: Sequence[str]) -> dict[str, Any]:
    state = "" if run.status == FINISHED else f", {printable(run.status)}"
    values = {name: _scaled(run.columns.get(name, ()), COLUMNS[name].scale) for name in columns}
    return {"name": f"seed {run.seed}{state}", "best": run.best_epoch, "values": values}


def _has(run: RunCurves, column: str) -> bool:
    return any(_known(value) is not None for value in run.columns.get(column, ()))


def _scaled(values: Sequence[float | None], scale: float) -> list[float | None]:
    known = map(_known, values)
    return [None if value is None else _rounded(scale * value) for value in known]


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _rounded(value: float) -> float:
    """The value to six digits, as metrics.csv has it."""
    return float(f"{value:.6g}")
