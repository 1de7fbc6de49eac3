"""Figures of single labels under Assume Negative, from the runs that kept them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.figure_parts import GREY, WIDTH, check_same_data, note_below, tidy
from tools.finished import Run
from tools.histories import (
    Shares,
    assume_negative,
    highest_loss_by_epoch,
    in_two,
    kinds,
    read_run_history,
)
from tools.looks import KINDS, drawing
from tools.published import HIGHEST_LOSS, SETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SINGLES, SEED = 25, 0  # labels of each kind, and the seed that they are drawn with


def draw_single_labels(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """The loss of single labels under Assume Negative by epoch, and the mean of their kind.

    Of the run with the lowest seed that kept its labels. Raises UserError for runs on different
    data, and where none of AN did.
    """
    check_same_data(runs)
    run = assume_negative(runs)[0]
    kept = read_run_history(run, data_root)
    rng = np.random.default_rng(SEED)
    with drawing(path, WIDTH, 4.0) as figure:
        figure.set_layout_engine("constrained")
        panels = figure.subplots(1, 3)
        for axes, (kind, labels) in zip(panels, kinds(kept.truth, kept.human).items(), strict=True):
            places = np.flatnonzero(labels)
            drawn = rng.choice(places, min(SINGLES, len(places)), replace=False)
            losses = kept.history.loss.reshape(len(kept.history.loss), -1)
            _draw_singles(axes, kind, losses[:, drawn], losses[:, places])
        panels[0].set_ylabel("Assume Negative loss")
        note_below(
            figure,
            f"Thin: {SINGLES} single labels of each kind, drawn at random (seed {SEED}) from all "
            f"labels of the training images. Thick: the mean of all labels of the kind. One run: "
            f"{_method(run)}, seed {run.config.seed}. Each panel has its own scale.",
        )


def _draw_singles(axes: Axes, kind: str, singles: np.ndarray, every: np.ndarray) -> None:
    """Losses [T, ...] of single labels of a kind, and the mean over all of it."""
    from matplotlib import patheffects

    name, color, _ = KINDS[kind]
    epochs = np.arange(1, len(singles) + 1)
    axes.plot(epochs, singles, color=color, linewidth=0.7, alpha=0.45)
    if every.shape[1]:
        outlined = [patheffects.withStroke(linewidth=5.5, foreground="white")]
        axes.plot(epochs, every.mean(axis=1), color=color, linewidth=3.2, path_effects=outlined)
    axes.set_title(f"{name} ({every.shape[1]:,})", color=color)
    axes.set_ylim(0, None)
    tidy(axes)


def draw_highest_loss(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """In which epoch the loss of a label under Assume Negative is highest, kind by kind.

    Beside it, what the paper's table 1 says of VOC and COCO. Raises UserError for runs on different
    data, and where none of AN kept its labels.
    """
    check_same_data(runs)
    found = highest_loss_by_epoch(runs, data_root)
    with drawing(path, WIDTH * 1.1, 4.0) as figure:
        figure.set_layout_engine("constrained")
        *panels, table = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
        for axes, (kind, shares) in zip(panels, found.items(), strict=True):
            _draw_distribution(axes, kind, shares)
        top = 1.3 * max(axes.get_ylim()[1] for axes in panels)  # room for what is written there
        for axes in panels:
            axes.set_ylim(0, top)
            axes.set_xlabel("epoch of the highest loss")
        panels[0].set_ylabel("labels (%)")
        _draw_beside(table, {kind: in_two(shares) for kind, shares in found.items()})
        seeds, here = len(found["tp"]), _method(assume_negative(runs)[0])
        bars = "bars are means, dots single seeds, ± is their deviation"
        note_below(
            figure,
            f"Here: {here}, {seeds} seeds; {bars}." if seeds > 1 else f"Here: {here}, one seed.",
            "VOC, COCO: table 1 of Kim et al. (2022), as printed.",
        )


def _draw_distribution(axes: Axes, kind: str, shares: np.ndarray) -> None:
    """The share of labels by epoch, and by when half of them are past their highest loss."""
    name, color, _ = KINDS[kind]
    epochs = np.arange(1, shares.shape[1] + 1)
    mean = shares.mean(axis=0)
    axes.bar(epochs, mean, 0.8, color=color, alpha=0.75)
    if len(shares) > 1:
        for own in shares:
            axes.plot(epochs, own, linestyle="", marker="o", markersize=2.2, color="black")
    axes.set_title(name, color=color)
    if not np.isnan(mean).any():
        half = int(epochs[np.cumsum(mean) >= 50][0])
        found = in_two(shares)
        first, later = _share(found.first, found.first_std), _share(found.later, found.later_std)
        lines = f"epoch 1: {first}\nlater: {later}\nhalf by epoch {half}"
        axes.text(0.98, 0.98, lines, ha="right", va="top", fontsize=9.5, transform=axes.transAxes)
    tidy(axes)


def _share(mean: float, std: float | None) -> str:
    return f"{mean:.1f} %" if std is None else f"{mean:.1f} ± {std:.1f} %"


def _draw_beside(axes: Axes, ours: dict[str, Shares]) -> None:
    """A bar a kind for these runs, VOC and COCO: highest in epoch 1, and later."""
    rows = []
    for kind, shares in ours.items():
        rows.append((kind, "here", shares.first, shares.later))
        for dataset, printed in HIGHEST_LOSS.items():
            rows.append((kind, SETS[dataset], *printed[kind]))
    places = [row + 0.6 * (row // 3) for row in range(len(rows))]
    for place, (kind, _, first, later) in zip(places, rows, strict=True):
        if np.isnan(first):
            axes.text(1.5, place, "no such labels", va="center", fontsize=9, color=GREY)
        else:
            _draw_parts(axes, place, KINDS[kind].color, first, later)
    axes.set_yticks(places, [name for _, name, _, _ in rows], fontsize=9)
    axes.set(xlim=(0, 100), ylim=(places[-1] + 0.6, -0.6), xlabel="labels (%)")
    axes.set_title("highest in epoch 1 (full) or later (pale)", fontsize=10)
    axes.tick_params(axis="y", length=0)
    tidy(axes, whole=False)
    axes.spines["left"].set_visible(False)
    for place, kind in zip(places[1::3], ours, strict=True):
        axes.annotate(kind.upper(), (1, place), xycoords=("axes fraction", "data"), xytext=(5, 0),
                      textcoords="offset points", va="center", color=KINDS[kind].color,
                      fontweight="bold", annotation_clip=False)  # fmt: skip


def _draw_parts(axes: Axes, place: float, color: str, first: float, later: float) -> None:
    """A bar of two parts with their numbers."""
    axes.barh(place, first, 0.8, color=color, alpha=0.85)
    axes.barh(place, later, 0.8, left=first, color=color, alpha=0.25)
    inside = first > 12  # else its number stands beside it
    axes.text(1.5 if inside else first + 1.5, place, f"{first:.1f}", va="center", fontsize=9,
              color="white" if inside else "black")  # fmt: skip
    if later > 8:
        axes.text(first + later - 1.5, place, f"{later:.1f}", ha="right", va="center", fontsize=9)


def _method(run: Run) -> str:
    """AN, and what it started from: what is learned in epoch 1 depends on that."""
    return f"AN from {'pretrained weights' if run.config.use_pretrained else 'scratch'}"
