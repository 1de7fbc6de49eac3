"""The figure of a model's AP, class by class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.figure_parts import note_below
from tools.inspect_counts import shortened
from tools.looks import BLUE, VERMILION, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tools.measured import Measured

MOST = 120  # classes that are all shown; else half of them at either end
A_COLUMN = 40  # bars
ROW, WIDTH = 0.19, 5.0  # inches of a bar, of a column


def draw_ap(found: Measured, title: str, path: Path) -> None:
    """A bar a class, the highest AP first, and a line at the mAP; the kind is the path's ending.

    Classes of which no AP is known are left out. Raises UserError where it cannot be written.
    """
    known = np.flatnonzero(~np.isnan(found.ap))
    order = known[np.argsort(-found.ap[known], kind="stable")]
    is_cut = len(order) > MOST
    shown = np.concatenate([order[: MOST // 2], order[-MOST // 2 :]]) if is_cut else order
    columns = np.array_split(shown, max(1, -(-len(shown) // A_COLUMN)))
    rows = max(map(len, columns))
    size = (max(6.0, WIDTH * len(columns)), 1.5 + ROW * rows)
    with drawing(path, *size, kinds=(path.suffix[1:],)) as figure:
        figure.set_layout_engine("constrained")
        grid = figure.subplots(1, len(columns), squeeze=False)[0]
        for axes, own in zip(grid, columns, strict=True):
            _draw_bars(axes, found, own, rows)
        figure.suptitle(title, fontsize="medium", parse_math=False)
        note_below(figure, *_notes(found, len(known), is_cut))


def _draw_bars(axes: Axes, found: Measured, own: np.ndarray, rows: int) -> None:
    """The bars of these classes from the top down, with their numbers, and the mAP."""
    places = range(len(own))
    axes.barh(places, found.ap[own], color=BLUE, height=0.72)
    for place, value in zip(places, found.ap[own], strict=True):
        axes.annotate(f"{value:.1f}", (value, place), (2, 0), textcoords="offset points",
                      ha="left", va="center", fontsize=7, zorder=4,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # fmt: skip
    axes.axvline(found.mean, color=VERMILION, linewidth=1.3, linestyle="--", zorder=3)
    axes.annotate(f"mAP {found.mean:.1f}", (found.mean, 1), (0, 2), ha="center", va="bottom",
                  xycoords=("data", "axes fraction"), textcoords="offset points",
                  color=VERMILION, fontsize=8)  # fmt: skip
    names = [shortened(found.classes[k], 24) for k in own]
    axes.set_yticks(places, names, fontsize=8, parse_math=False)
    axes.set(xlim=(0, 109), ylim=(rows - 0.4, -0.6), xlabel="AP (%)", xticks=range(0, 101, 20))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _notes(found: Measured, known: int, is_cut: bool) -> list[str]:
    missing = len(found.classes) - known
    return [
        f"The {MOST // 2} highest and {MOST // 2} lowest of {known:,} classes." if is_cut else "",
        f"Classes without an annotated label, left out: {missing:,}." if missing else "",
    ]
