"""Figures of finished runs, from their records: `python -m tools.figures results/digits`."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cli
from cli import UserError
from files import write_atomically
from record import RunRecord
from tools.finished import Run, group_by_method, method_name, read_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {  # Okabe and Ito's, which colour-blind people can tell apart
    "AN": "#D55E00",
    "LL-R": "#0072B2",
    "LL-Ct": "#E69F00",
    "LL-Cp": "#CC79A7",
    "full labels": "#009E73",
}
OTHERS = ("#56B4E9", "#000000", "#F0E442", "#999999")  # of methods that have none of their own
LABELS = {
    "loss_fn": ("false negatives", "#D55E00"),
    "loss_tn": ("true negatives", "#0072B2"),
}


def draw_memorization(runs: Sequence[Run], path: Path) -> None:
    """What memorization costs, and what the large-loss schemes find, by epoch.

    Left: validation mAP of every method. Middle: losses of the unobserved labels under Assume
    Negative. Right: the share of the selected labels that are truly positive. Lines
    are means over seeds, bands run from the lowest to the highest seed. Epochs that not every
    seed reached are left out. Raises UserError for runs on different data.
    """
    _check_same_data(runs)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    groups = group_by_method(runs)
    others = {method_name(group[0].config) for group in groups} - COLORS.keys()
    colors = {**COLORS, **dict(zip(sorted(others), itertools.cycle(OTHERS), strict=False))}
    for group in groups:
        name = method_name(group[0].config)
        _band(left, group, "val_map", name, colors[name])
        if name == "AN":
            for column, (label, color) in LABELS.items():
                _band(middle, group, column, label, color)
        elif name != "full labels":
            _band(right, group, "selected_precision", name, colors[name], scale=100)
    left.set(title="Learning first, memorizing later", ylabel="validation mAP (%)")
    middle.set(title="Unobserved labels under Assume Negative", ylabel="mean loss")
    right.set(title="What the schemes select", ylabel="truly positive (%)", ylim=(0, 102))
    for axes in (left, middle, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False, fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png", metadata={"Software": None})
    write_atomically(path, lambda file: file.write(picture.getvalue()))


def _check_same_data(runs: Sequence[Run]) -> None:
    """Raise UserError where not all runs were trained and measured on the same images and labels.

    Full labels are other labels than the observed ones, and may be drawn beside these.
    """
    first: dict[str, tuple[Any, Run]] = {}
    for run in runs:
        facts = {"data set": run.config.dataset, "what is recorded of the data": bool(run.data)}
        for name, value in {**facts, **run.used}.items():
            known, other = first.setdefault(name, (value, run))
            if known != value:
                raise UserError(
                    f"{other.config.run_dir} and {run.config.run_dir} differ in {name}: a figure "
                    "is of one data set and one draw of its labels, give a folder of such runs"
                )


def _band(
    axes: Axes, group: Sequence[Run], column: str, name: str, color: str, scale: float = 1
) -> None:
    """Draw the mean of a column over the runs of a group, in a band from lowest to highest."""
    tables = [
        [row[column] for row in RunRecord(run.config.run_dir).read_metrics()] for run in group
    ]
    shortest = min(map(len, tables))
    values = scale * np.array([table[:shortest] for table in tables])
    if np.isnan(values).all():
        return
    epochs = np.arange(1, shortest + 1)
    axes.plot(epochs, values.mean(axis=0), color=color, label=name, marker="o", markersize=3)
    axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15)


def main(argv: Sequence[str]) -> None:
    """Draw mAP, losses and selections by epoch, from the finished runs below a folder."""
    parser = cli.Parser(prog="python -m tools.figures", description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder that holds the runs")
    parser.add_argument("--out", type=Path, default=Path("imgs/memorization.png"),
                        metavar="FILE", help="(%(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    draw_memorization(read_runs(args.results), args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
