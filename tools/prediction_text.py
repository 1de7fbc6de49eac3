"""Predictions as text: a table for people, CSV and JSON Lines for programs.

Letters in shapes: N images, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np

from cli import printable
from tools.inspect_counts import width
from tools.predicted import Predictions
from tools.tables import Table, comma_separated


def table(found: Predictions, chosen: np.ndarray) -> str:
    """A line an image: its name, and the `chosen` classes, bool [N, K], best first."""
    names = [printable(str(path)) for path in found.images]
    longest = max(map(width, ["image", *names]))
    lines = [("image", "predicted")]
    for name, (_, best) in zip(names, _best(found, chosen), strict=True):
        shown = (f"{printable(title)} {value:.3f}" for title, value in best.items())
        lines.append((name, ", ".join(shown) or "none"))
    return "".join(f"{name}{' ' * (longest - width(name))}  {text}\n" for name, text in lines)


def csv(found: Predictions, chosen: np.ndarray) -> str:
    """A row an image: its name, the `chosen` classes separated by `; `, the score of each class."""
    rows = [
        (str(path), "; ".join(best), *map(_exact, scores))
        for (path, best), scores in zip(_best(found, chosen), found.scores, strict=True)
    ]
    return comma_separated(Table(("image", "predicted", *found.classes), rows))


def jsonl(found: Predictions, chosen: np.ndarray) -> str:
    """An object an image: `image`, `predicted`: scores of the `chosen` classes, `scores` of all."""
    lines = [
        json.dumps({
            "image": path,
            "predicted": {name: float(_exact(value)) for name, value in best.items()},
            "scores": dict(zip(found.classes, map(float, map(_exact, scores)), strict=True)),
        })
        for (path, best), scores in zip(_best(found, chosen), found.scores, strict=True)
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


WRITERS: dict[str, Callable[[Predictions, np.ndarray], str]] = {
    "table": table, "csv": csv, "jsonl": jsonl,
}  # fmt: skip


def _best(found: Predictions, chosen: np.ndarray) -> Iterator[tuple[str, dict[str, np.float32]]]:
    """Each image with the scores of its chosen classes by name, best first."""
    for path, scores, own in zip(found.images, found.scores, chosen, strict=True):
        places = [k for k in np.argsort(-scores, kind="stable") if own[k]]
        yield str(path), {found.classes[k]: scores[k] for k in places}


def _exact(value: np.float32) -> str:
    """As many digits as tell every two float32 apart."""
    return f"{value:.9g}"
