"""Figures of mAP against a setting: delta_rel, and the share of the training images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cli import UserError
from naming import written
from tools.choice import best_by_val
from tools.figure_parts import (
    FULL,
    GREY,
    MAX_BANDS,
    WIDTH,
    Series,
    best_of,
    check_same_data,
    handle,
    label_ends,
    legend_above,
    line_style,
    means_note,
    note_below,
    result,
    series_of,
    test_name,
    tidy,
)
from tools.finished import Run, warn
from tools.looks import BLACK, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

ACROSS = 3  # panels beside each other at most
DELTA_REL, SHARE = "delta_rel", "ss_frac_train"


class Point(NamedTuple):
    """The runs of a series at one value of a setting."""

    x: float
    runs: list[Run]

    def values(self, name: str | None = None) -> list[float]:
        """That number of each summary, or of the mAP that chose the epoch."""
        return [result(run, name or run.config.chosen_by) for run in self.runs]


def points_of(series: Series, setting: str) -> list[Point]:
    """The runs of a series by the value of a setting, in its order."""
    by_value: dict[float, list[Run]] = {}
    for run in series.runs:
        by_value.setdefault(getattr(run.config, setting), []).append(run)
    return [Point(x, by_value[x]) for x in sorted(by_value)]


def chosen_of(points: Sequence[Point]) -> Point | None:
    """The point of the highest validation mAP, as `tools.choice` says; test mAP has no say."""
    best, _ = best_by_val([point.runs for point in points])
    return None if best is None else points[best]


def draw_delta_rel(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """mAP against delta_rel, a panel a scheme, with the value that validation chooses.

    Runs that differ in anything else are panels of their own; of AN and of full labels, the
    settings that are best by validation are horizontal lines. Raises UserError for runs on
    different data, and where none has several values of delta_rel.
    """
    check_same_data(runs)
    every = series_of(runs, DELTA_REL)
    swept = {one.name: points_of(one, DELTA_REL) for one in every}
    series = [one for one in every if len(swept[one.name]) > 1]
    lines = [one for one in (best_of(every, "AN"), best_of(every, FULL)) if one]
    if not series:
        raise UserError(
            f"{runs[0].config.run_dir} and the runs beside it have one delta_rel each: train with "
            "several values, as scripts/sweep_delta_rel.sh does"
        )
    for one in every:
        if one not in series and one not in lines:
            warn(f"{one.name} has no other value of delta_rel: left out")
    across, down = min(ACROSS, len(series)), -(-len(series) // ACROSS)
    with drawing(path, max(6, WIDTH * across / ACROSS), 1 + 3.1 * down) as figure:
        figure.set_layout_engine("constrained")
        grid = figure.subplots(down, across, squeeze=False, sharey=True)
        for axes, one in zip(grid.flat, series, strict=False):
            _draw_sweep(axes, one, swept[one.name], lines)
        for axes in grid.flat[len(series) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("mAP (%)")
        _label_lines(grid, len(series), lines)
        legend_above(figure, _keys(bool(lines)))
        counts = [len(point.runs) for one in series for point in swept[one.name]]
        note_below(figure, means_note("Signs", counts, " a value", "bars"))


def _draw_sweep(
    axes: Axes, series: Series, points: Sequence[Point], lines: Sequence[Series]
) -> None:
    """Validation and test mAP of a series at its values of delta_rel."""
    xs = [point.x for point in points]
    color, marker, _ = series.look
    for name, style, fill in ((None, "--", "white"), ("test_map", "-", color)):
        values = [point.values(name) for point in points]
        mean = np.array([np.mean(own) for own in values])
        spread = np.array([[min(own), max(own)] for own in values]).T
        axes.errorbar(xs, mean, np.abs(spread - mean), color=color, linestyle=style, marker=marker,
                      markersize=5, markerfacecolor=fill, capsize=2.5, elinewidth=1)  # fmt: skip
    chosen, told = chosen_of(points), "no seed is common to all"
    if chosen:
        test = float(np.mean(chosen.values("test_map")))
        told = f"val chooses {written(chosen.x)}: test {test:.1f} %"
        axes.plot(chosen.x, test, marker="o", markersize=13, markerfacecolor="none", color=BLACK,
                  linestyle="", markeredgewidth=1.4, zorder=4)  # fmt: skip
    for one in lines:
        axes.axhline(_test(one), color=one.look.color, linewidth=1.2, linestyle=(0, (1, 1)))
    axes.set_title(f"{series.name}\n{told}", fontsize="medium", color=color, parse_math=False)
    axes.set_xlabel(f"delta_rel (% {'in' if series.permanent else 'more'} each epoch)")
    axes.set_xticks(xs, map(written, xs))
    axes.tick_params(labelleft=True)
    tidy(axes, whole=False)


def _test(series: Series) -> float:
    return float(np.mean([result(run, "test_map") for run in series.runs]))


def _label_lines(grid: Any, count: int, lines: Sequence[Series]) -> None:
    """Name the horizontal lines at the right of each row."""
    for first in range(0, count, grid.shape[1]):
        axes = grid.flat[min(first + grid.shape[1], count) - 1]
        right = axes.get_xlim()[1]
        ends = [(right, _test(one), f"{one.name}\n{_test(one):.1f}", one.look.color)
                for one in lines]  # fmt: skip
        label_ends(axes, ends, gap=0.15)


def _keys(with_lines: bool) -> list[Line2D]:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], color=GREY, marker="o", markersize=5, label="test"),
        Line2D([], [], color=GREY, marker="o", markersize=5, linestyle="--",
               markerfacecolor="white", label="validation"),
        Line2D([], [], color=BLACK, marker="o", markersize=11, linestyle="",
               markerfacecolor="none", label="chosen by validation"),
    ]  # fmt: skip
    if with_lines:
        keys.append(Line2D([], [], color=GREY, linestyle=(0, (1, 1)), label="test, no delta_rel"))
    return keys


def draw_train_share(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """Test mAP against the share of the training images (--ss_frac_train), a line a method.

    A method with one share is a single sign. Raises UserError for runs on different data, the share
    aside, and where there is one share alone.
    """
    check_same_data(runs, _share_of_train)
    series = series_of(runs, SHARE)
    points = {one.name: points_of(one, SHARE) for one in series}
    shares = sorted({point.x for every in points.values() for point in every})
    if len(shares) == 1:
        raise UserError(
            f"{runs[0].config.run_dir} and the runs beside it have one share of the training "
            f"images, {shares[0]:g}: train some with --ss_frac_train too"
        )
    with drawing(path, 7.5, 4.6) as figure:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        for one in series:
            _draw_shares(axes, one, points[one.name], len(series) <= MAX_BANDS)
        axes.set(xscale="log", ylabel=test_name(runs),
                 xlabel="share of the training images (%, logarithmic)")  # fmt: skip
        axes.set_xticks([100 * share for share in shares], [f"{100 * s:g}" for s in shares])
        axes.set_xticks([], minor=True)
        axes.grid(axis="y", color="0.92")
        tidy(axes, whole=False)
        legend_above(figure, [handle(one) for one in series])
        counts = [len(point.runs) for every in points.values() for point in every]
        spread = "bands" if len(series) <= MAX_BANDS else ""
        note_below(figure, means_note("Signs", counts, " a share", spread))


def _share_of_train(run: Run, name: str) -> float | None:
    """What the digest of that name depends on besides the data set."""
    return run.config.ss_frac_train if name.startswith("train ") else None


def _draw_shares(axes: Axes, series: Series, points: Sequence[Point], band: bool) -> None:
    xs = [100 * point.x for point in points]
    values = [point.values("test_map") for point in points]
    axes.plot(xs, [np.mean(own) for own in values], **line_style(series))
    if band:
        axes.fill_between(xs, [min(own) for own in values], [max(own) for own in values],
                          color=series.look.color, alpha=0.15, linewidth=0)  # fmt: skip
