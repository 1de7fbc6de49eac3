"""What is measured of a run on a split, and how it is told: as text, CSV and JSON.

Letters in shapes: N images, K classes. All but thresholds and counts is in percent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cli import printable
from data.labels import Labels
from instrumentation import mean_average_precision, mean_of_known
from tools.inspect_counts import width
from tools.metrics import Counts, Overall, by_class, count, decide, overall, probabilities
from tools.tables import Table, comma_separated


class Rule(NamedTuple):
    """A way to decide which classes are predicted, as `metrics.decide` takes it."""

    title: str
    thresholds: np.ndarray | float  # one for all classes, or [K]
    top_k: int | None = None


class Measured(NamedTuple):
    """AP of the ranking, and what each rule predicts."""

    classes: Sequence[str]
    mean: float
    ap: np.ndarray  # [K]
    groups: dict[str, float]  # mAP by group
    rules: dict[str, Rule]
    counts: dict[str, Counts]  # by the names of the rules


def rules_of(threshold: float, top_k: int, from_val: np.ndarray | None) -> dict[str, Rule]:
    """The rules by their names in files; `from_val`: thresholds [K] chosen on val, or None."""
    bases: dict[str, tuple[str, np.ndarray | float]] = {"fixed": (f"at {threshold:g}", threshold)}
    if from_val is not None:
        bases["val"] = ("chosen on val", from_val)
    rules = {}
    for name, (title, thresholds) in bases.items():
        rules[name] = Rule(title, thresholds)
        rules[f"{name}_top_k"] = Rule(f"{title}, top {top_k}", thresholds, top_k)
    return {**rules, "top_k": Rule(f"top {top_k} always", 0.0, top_k)}


def measure(
    logits: np.ndarray,
    labels: Labels,
    classes: Sequence[str],
    groups: Mapping[str, Sequence[int]],
    rules: dict[str, Rule],
) -> Measured:
    """All of it, of `logits` and `labels` [N, K]; `groups` are columns by name."""
    mean, ap = mean_average_precision(logits, labels)
    of_groups = {name: mean_of_known(ap[list(columns)]) for name, columns in groups.items()}
    scores = probabilities(logits) if rules else logits
    counts = {
        name: count(decide(scores, rule.thresholds, rule.top_k), labels)
        for name, rule in rules.items()
    }
    return Measured(classes, mean, ap, of_groups, rules, counts)


def text_of_classes(found: Measured) -> str:
    """A line a class: its AP, and with rules what those without a top k make of it."""
    head, columns = ["AP"], [found.ap]
    for name in ("fixed", "val"):
        if name in found.rules:
            rule = found.rules[name]
            head += [f"P {rule.title}", "R", "F1"]
            columns += by_class(found.counts[name])
    names = [printable(name) for name in found.classes]
    rows = [[f"{value:7.3f}" for value in row] for row in zip(*columns, strict=True)]
    return _aligned(["class", *head] if found.rules else [], names, rows)


def text_of_rules(found: Measured) -> str:
    """A line a rule with the six overall numbers."""
    titles = [rule.title for rule in found.rules.values()]
    rows = [[f"{value:7.3f}" for value in overall(own)] for own in found.counts.values()]
    return _aligned(["", *Overall._fields], titles, rows)


def _aligned(head: Sequence[str], names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    first = max(map(width, names))
    cells = [head[1:], *rows] if head else rows
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "".join(
        f"{name}{' ' * (first - width(name))} "
        + " ".join(cell.rjust(size) for cell, size in zip(row, wide, strict=True))
        + "\n"
        for name, row in zip([*head[:1], *names], cells, strict=True)
    )


def rows_of_classes(found: Measured) -> list[dict[str, Any]]:
    """Of each class its name, its numbers of labels, AP, and what each rule makes of it.

    None is what cannot be measured: the AP of a class without annotated entries.
    """
    any_counts = next(iter(found.counts.values()))
    columns: dict[str, Sequence[Any]] = {
        "class": found.classes,
        "annotated": any_counts.annotated.tolist(),
        "positives": any_counts.positives.tolist(),
        "ap": found.ap.tolist(),
    }
    for name, rule in found.rules.items():
        if rule.top_k is None:
            thresholds = np.broadcast_to(np.float32(rule.thresholds), len(found.classes))
            columns[f"{name}_threshold"] = [float(f"{value:.9g}") for value in thresholds]
        for kind, values in by_class(found.counts[name])._asdict().items():
            columns[f"{name}_{kind}"] = values.tolist()
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, map(_or_none, row), strict=True)) for row in rows]


def csv_of(found: Measured) -> str:
    """A row a class below the titles; a cell is empty where nothing can be measured."""
    rows = rows_of_classes(found)
    cells = [tuple("" if cell is None else str(cell) for cell in row.values()) for row in rows]
    return comma_separated(Table(tuple(rows[0]), cells))


def json_of(found: Measured, facts: Mapping[str, Any]) -> str:
    """Everything, after the `facts`: `map`, `map_groups`, `overall` by rule, `classes`."""
    numbers = {
        name: {kind: _or_none(value) for kind, value in overall(own)._asdict().items()}
        for name, own in found.counts.items()
    }
    groups = {name: _or_none(value) for name, value in found.groups.items()}
    content = {
        **facts,
        "map": _or_none(found.mean),
        **({"map_groups": groups} if groups else {}),
        "overall": numbers,
        "classes": rows_of_classes(found),
    }
    return json.dumps(content, indent=2) + "\n"


def _or_none(value: Any) -> Any:
    """The value, or None for NaN, which JSON has not."""
    return None if isinstance(value, float) and math.isnan(value) else value
