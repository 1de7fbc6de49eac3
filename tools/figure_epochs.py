"""Figures of what metrics.csv tells by epoch: memorization, its price, what is selected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.figure_parts import (
    GREY,
    MAX_BANDS,
    WIDTH,
    Series,
    best_of,
    by_epoch,
    check_same_data,
    draw_line,
    epochs_note,
    handle,
    label_ends,
    legend_above,
    legend_height,
    map_column,
    note_below,
    result,
    seeds_note,
    selecting,
    selects,
    series_of,
    test_name,
    tidy,
)
from tools.finished import Run, warn
from tools.looks import KINDS, Look, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


def draw_memorization(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """What memorization costs, and what the large-loss schemes find, by epoch.

    Left: validation mAP of every method. Middle: losses of each kind of labels under Assume
    Negative. Right: the share of the selected labels that are truly positive. A panel that these
    runs say nothing of is left out, with a warning. Raises UserError for runs on different data.
    """
    check_same_data(runs)
    series = series_of(runs)
    known = _known_losses(best_of(series, "AN"))
    if not known:
        warn("no run of AN whose losses are known: the panel of losses is left out")
    choosy = [one for one in series if selects(one)]
    if not choosy:
        warn("no run of a scheme that selects labels: the panel of selections is left out")
    count = 1 + bool(known) + bool(choosy)
    width = max(6, WIDTH * 1.1 * count / 3)
    height = 4.1 + legend_height([one.name for one in series], width)
    with drawing(path, width, height) as figure:
        figure.set_layout_engine("constrained")
        panels = iter(figure.subplots(1, count, squeeze=False)[0])
        _draw_maps(next(panels), runs, series, "Learning first, memorizing later")
        if known:
            _draw_losses(next(panels), known)
        if choosy:
            axes = next(panels)
            for one in choosy:
                values = 100 * by_epoch(one.runs, "selected_precision")
                draw_line(axes, one, _epochs(values), values, len(choosy) <= MAX_BANDS)
            axes.set(title="What the schemes select", ylabel="truly positive (%)", ylim=(0, 102))
            tidy(axes)
        legend_above(figure, [handle(one) for one in series])
        spread = "bands" if len(series) <= MAX_BANDS else "bands, where drawn,"
        note_below(figure, seeds_note(series, spread), epochs_note(series))


def _known_losses(an: Series | None) -> dict[str, np.ndarray]:
    """The losses [S, T] of the kinds of labels, as far as they are known."""
    losses = {} if an is None else {kind: by_epoch(an.runs, f"loss_{kind}") for kind in KINDS}
    return {kind: values for kind, values in losses.items() if not np.isnan(values).all()}


def _draw_losses(axes: Axes, losses: dict[str, np.ndarray]) -> None:
    """The mean loss of each kind, its name at the end of its line."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ends = []
    for kind, values in losses.items():
        name, color, linestyle = KINDS[kind]
        epochs, mean = _epochs(values), values.mean(axis=0)
        axes.plot(epochs, mean, color=color, linestyle=linestyle, linewidth=2.5)
        if len(values) > 1:
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color,
                              alpha=0.15, linewidth=0)  # fmt: skip
        ends.append((epochs[-1], mean[-1], name.replace(" ", "\n"), color))
    axes.set(title="Labels under AN", ylabel="mean loss (logarithmic)", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    tidy(axes)
    label_ends(axes, [end for end in ends if not np.isnan(end[1])], gap=0.15)


def _epochs(values: np.ndarray) -> np.ndarray:
    return np.arange(1, values.shape[1] + 1)


def _draw_maps(axes: Axes, runs: Sequence[Run], series: Sequence[Series], title: str) -> None:
    """Validation mAP of each series."""
    column, name = map_column(runs)
    for one in series:
        values = by_epoch(one.runs, column)
        draw_line(axes, one, _epochs(values), values, len(series) <= MAX_BANDS)
    axes.set(title=title, ylabel=name)
    tidy(axes)


def _bands_note(series: Sequence[Series]) -> str:
    return seeds_note(series, "bands" if len(series) <= MAX_BANDS else "")


def draw_selection(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """Precision (left) and recall (right) of what each scheme selects, by epoch.

    Raises UserError for runs on different data, and where none selects labels of known truth.
    """
    check_same_data(runs)
    series = selecting(runs)
    with drawing(path, WIDTH, 4.2) as figure:
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, column in ((left, "selected_precision"), (right, "selected_recall")):
            for one in series:
                values = 100 * by_epoch(one.runs, column)
                draw_line(axes, one, _epochs(values), values, len(series) <= MAX_BANDS)
            tidy(axes)
        left.set(title="Precision", ylabel="selected labels that are truly positive (%)",
                 ylim=(0, 102))  # fmt: skip
        right.set(title="Recall", ylabel="false negatives that are found (%)")
        right.tick_params(labelleft=True)
        legend_above(figure, [handle(one) for one in series])
        note_below(figure, _bands_note(series), epochs_note(series), recall_note(series))


def recall_note(series: Sequence[Series]) -> str:
    """Which labels count as found."""
    counted = [
        (any(not one.permanent for one in series), "those selected in the epoch"),
        (any(one.permanent for one in series), "for LL-Cp all that are corrected so far"),
    ]
    return f"Found: {', '.join(text for is_there, text in counted if is_there)}."


def draw_best_last(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """What memorization costs: mAP by epoch, and test mAP of the best epoch against the last.

    Left: validation mAP. Right: a row a method, from the last epoch to the best one by validation
    mAP. Raises UserError for runs on different data.
    """
    check_same_data(runs)
    series = series_of(runs)
    with drawing(path, WIDTH, max(3.6, 1.4 + 0.32 * len(series))) as figure:
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _draw_maps(left, runs, series, "By epoch")
        _draw_dumbbells(right, series)
        right.set(title="Best epoch by validation against the last", xlabel=test_name(runs))
        legend_above(figure, _signs())
        note_below(
            figure, _bands_note(series), epochs_note(series),
            "Right: large signs are means, dots single seeds; the number is the change of the mean "
            "from the best epoch to the last, in points.",
        )  # fmt: skip


def _draw_dumbbells(axes: Axes, series: Sequence[Series]) -> None:
    """A row a series: full sign at the best epoch, open one at the last, a dot a seed."""
    for row, one in enumerate(series):
        best, last = (
            np.array([result(run, name) for run in one.runs])
            for name in ("test_map", "test_map_last")
        )
        _draw_dumbbell(axes, row, one.look, best, last)
    names = [one.name for one in series]
    axes.set_yticks(range(len(series)), names, fontsize=9.5, parse_math=False)
    for tick, one in zip(axes.get_yticklabels(), series, strict=True):
        tick.set_color(one.look.color)
    axes.set_ylim(len(series) - 0.4, -0.6)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    tidy(axes, whole=False)
    axes.spines["left"].set_visible(False)


def _draw_dumbbell(axes: Axes, row: int, look: Look, best: np.ndarray, last: np.ndarray) -> None:
    """Test mAP of each seed and its mean, in the best epoch and in the last, and what is lost."""
    color, marker, _ = look
    axes.plot([last.mean(), best.mean()], [row, row], color=color, linewidth=2, zorder=1)
    for values, fill, place in ((last, "white", row + 0.2), (best, color, row - 0.2)):
        if len(values) > 1:
            axes.plot(values, [place] * len(values), linestyle="", marker="o", markersize=3,
                      color=color, markerfacecolor=fill, markeredgewidth=0.7)  # fmt: skip
        axes.plot(values.mean(), row, marker=marker, color=color, markerfacecolor=fill,
                  markersize=10 if marker == "*" else 7.5)  # fmt: skip
    lost = f"{round(last.mean() - best.mean(), 1) or 0:+.1f}".replace("-", "\N{MINUS SIGN}")
    axes.annotate(lost, (1, row), xycoords=("axes fraction", "data"), xytext=(4, 0), va="center",
                  textcoords="offset points", fontsize=9, color=color,
                  annotation_clip=False)  # fmt: skip


def _signs() -> list[Line2D]:
    """What full and open signs are, for the legend."""
    from matplotlib.lines import Line2D

    names = ((GREY, "best epoch (test mAP)"), ("white", "last epoch"))
    return [
        Line2D([], [], linestyle="", marker="o", color=GREY, markerfacecolor=fill, markersize=7,
               label=name)
        for fill, name in names
    ]  # fmt: skip
