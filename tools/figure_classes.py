"""The figure of what each scheme selects, class by class and epoch by epoch.

Letters in shapes: T epochs, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tools.figure_parts import (
    Series,
    check_same_data,
    means_note,
    note_below,
    selecting,
)
from tools.finished import Run, warn
from tools.histories import (
    Kept,
    has_history,
    no_selections,
    read_histories,
    selection_by_class,
    so_far,
    with_history,
)
from tools.looks import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

MOST, AT_ENDS = 24, 12  # classes that are all shown; else so many at either end
LEAST_WHERE_WRITTEN = 12  # rows: the numbers of more would be too small
PRECISION, RECALL = "precision (%)", "recall (%)"


class Selection(NamedTuple):
    """What a scheme selects, in percent [T, K]: means over its seeds, NaN where unknown."""

    series: Series
    precision: np.ndarray
    recall: np.ndarray
    seeds: int
    data: Kept  # of one of them


def draw_selection_by_class(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """Precision (top) and recall (bottom) of what each scheme selects: classes by epochs.

    Classes are in the order of their true positives among the training images, the most frequent on
    top; of many, those at both ends. Raises UserError for runs on different data, and where none of
    a scheme that selects kept its labels.
    """
    check_same_data(runs)
    found = _selections(runs, data_root)
    classes, positives = found[0].data.data.classes, (found[0].data.truth == 1).sum(axis=0)
    order = np.argsort(-positives, kind="stable")
    is_cut = len(order) > MOST
    order = np.concatenate([order[:AT_ENDS], order[-AT_ENDS:]]) if is_cut else order
    height = 1.5 + 2 * (0.35 + max(1.2, 0.21 * len(order)))
    with drawing(path, max(6.0, 2.2 + 2.7 * len(found)), height) as figure:
        figure.set_layout_engine("constrained")
        grid = figure.subplots(2, len(found), squeeze=False, sharex="col", sharey=True)
        for column, one in zip(grid.T, found, strict=True):
            for axes, values in zip(column, (one.precision, one.recall), strict=True):
                image = _draw_cells(axes, values[:, order].T)
            column[0].set_title(one.series.name, color=one.series.look.color, parse_math=False)
            column[1].set_xlabel("epoch")
        for row, name in zip(grid, (PRECISION, RECALL), strict=True):
            row[0].set_ylabel(name)
            _name_rows(row[0], classes, positives, order)
            if is_cut:
                for axes in row:
                    axes.axhline(AT_ENDS - 0.5, color="white", linewidth=4)
        bar = figure.colorbar(image, ax=grid, fraction=0.03, pad=0.015)
        bar.set_label("%")
        note_below(figure, *_notes(found, is_cut, len(classes)))


def _selections(runs: Sequence[Run], data_root: str | None) -> list[Selection]:
    """What each scheme selects, of those that kept their labels."""
    series = selecting(runs)
    kept = [one for one in series if any(map(has_history, one.runs))]
    for one in series:
        if kept and one not in kept:
            warn(f"{one.name} kept no history of its labels (--audit labels): left out")
    return [_selection_of(one, data_root) for one in kept or series]


def _selection_of(series: Series, data_root: str | None) -> Selection:
    """What the runs of the series that kept their labels select; UserError where none did."""
    parts = []
    for kept in read_histories(with_history(series.runs), data_root):
        selected = kept.history.selected
        if selected is None:
            raise no_selections(series.runs[0])
        precision, recall = selection_by_class(selected, kept.truth, kept.human)
        if series.permanent:
            _, recall = selection_by_class(so_far(selected), kept.truth, kept.human)
        parts.append((precision, recall))
    precision, recall = (100 * mean_of_known(every) for every in zip(*parts, strict=True))
    return Selection(series, precision, recall, len(parts), kept)


def mean_of_known(tables: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of tables [T, K] where known in any, of the epochs that all have."""
    shortest = min(map(len, tables))
    stacked = np.stack([table[:shortest] for table in tables])
    known = (~np.isnan(stacked)).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    return np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)


def _draw_cells(axes: Axes, values: np.ndarray) -> AxesImage:
    """A cell a class and epoch, with its number where there is room; grey where unknown."""
    from matplotlib.ticker import MaxNLocator

    rows, epochs = values.shape
    axes.set_facecolor("0.93")
    image = axes.imshow(values, aspect="auto", cmap="cividis", vmin=0, vmax=100,
                        extent=(0.5, epochs + 0.5, rows - 0.5, -0.5),
                        interpolation="nearest")  # fmt: skip
    if rows <= LEAST_WHERE_WRITTEN and epochs <= 12:
        for row, epoch in np.argwhere(~np.isnan(values)):
            value = values[row, epoch]
            axes.text(epoch + 1, row, f"{value:.0f}", ha="center", va="center", fontsize=6.5,
                      color="black" if value > 55 else "white")  # fmt: skip
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    return image


def _name_rows(
    axes: Axes, classes: Sequence[str], positives: np.ndarray, order: np.ndarray
) -> None:
    from tools.inspect_counts import shortened

    names = [f"{shortened(classes[k], 22)} ({positives[k]:,})" for k in order]
    axes.set_yticks(range(len(order)), names, fontsize=8, parse_math=False)


def _notes(found: Sequence[Selection], is_cut: bool, count: int) -> list[str]:
    permanent = [one.series.name for one in found if one.series.permanent]
    return [
        "In brackets: true positives among the training images.",
        f"The {AT_ENDS} most and {AT_ENDS} least frequent of {count:,} classes." if is_cut else "",
        means_note("Numbers", (one.seeds for one in found), "", ""),
        "Precision: selected labels that are truly positive. Recall: false negatives that are "
        "selected in the epoch" + (f"; {permanent[0]}: corrected so far." if permanent else "."),
        "Grey: no such labels.",
    ]
