"""The qualitative figure: images with their given labels, what is corrected by epoch, the truth.

Letters in shapes: N images, K classes, T epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cli import UserError
from tools.figure_parts import (
    GREY,
    WIDTH,
    Series,
    check_same_data,
    legend_above,
    note_below,
    series_of,
)
from tools.finished import Run, warn
from tools.histories import (
    Kept,
    has_history,
    no_selections,
    read_histories,
    so_far,
    with_history,
)
from tools.looks import BLACK, GREEN, KINDS, VERMILION, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CORRECT = ("LL-Ct", "LL-Cp")  # the schemes that correct labels
CASES = 3  # good ones of a scheme, and as many bad ones
NAMES = 7  # labels of an image at most
SIGNS = {  # marker, colour, what it says
    "given": ("s", KINDS["tp"].color, "given positive"),
    "right": ("o", GREEN, "corrected, truly positive"),
    "wrong": ("X", VERMILION, "corrected, truly negative"),
    "unknown": ("D", "0.6", "corrected, truth unknown"),
    "truth": ("s", BLACK, "truly positive"),
}
RULE = (
    "Good: of the images whose labels corrected in the last epoch are all truly positive, those "
    "with most of them. Bad: the images with most truly negative labels corrected there. Ties by "
    "the order of the images."
)


class Corrected(NamedTuple):
    """What a run of a scheme corrected."""

    series: Series
    run: Run
    kept: Kept
    by_epoch: np.ndarray  # bool [T, N, K]: the labels that were positive in that epoch's training


def choose_cases(last: np.ndarray, truth: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the images where correction went best and worst, at most `number` each, by RULE.

    `last`: what is corrected in the last epoch, bool [N, K]; `truth` [N, K].
    """
    total, right, wrong = ((last & those).sum(axis=1) for those in (True, truth == 1, truth == -1))
    places = []
    for count, allowed in ((right, (right > 0) & (right == total)), (wrong, wrong > 0)):
        order = np.argsort(-count, kind="stable")
        places.append(order[allowed[order]][:number])
    return places[0], places[1]


def draw_corrections(runs: Sequence[Run], path: Path, data_root: str | None = None) -> None:
    """Images with given labels, those corrected by epoch, and the truth: good and bad cases.

    Of LL-Ct and of LL-Cp, each the run of the lowest seed that kept its labels. Raises UserError
    for runs on different data, and where no such run did.
    """
    check_same_data(runs)
    found = _corrected(runs, data_root)
    down = CASES * len(found)
    with drawing(path, WIDTH, 1.3 + 1.5 * down) as figure:
        figure.set_layout_engine("constrained")
        grid = figure.subplots(down, 4, squeeze=False, width_ratios=(1, 2.4, 1, 2.4))
        for number, one in enumerate(found):
            good, bad = choose_cases(one.by_epoch[-1], one.kept.truth, CASES)
            for side, (word, places) in enumerate((("good", good), ("bad", bad))):
                part = grid[CASES * number : CASES * (number + 1), 2 * side : 2 * side + 2]
                _draw_cases(part, one, places)
                part[0, 1].set_title(f"{one.series.name}: {word}", color=one.series.look.color,
                                     fontweight="bold", parse_math=False)  # fmt: skip
        legend_above(figure, _keys(found))
        runs_shown = ", ".join(f"{one.series.name} seed {one.run.config.seed}" for one in found)
        note_below(figure, RULE, f"In each row of signs: what was given, then epochs, then the "
                   f"truth. LL-Cp's corrections stay. Runs: {runs_shown}.")  # fmt: skip


def _corrected(runs: Sequence[Run], data_root: str | None) -> list[Corrected]:
    """What each scheme that corrects did, in the run of the lowest seed that kept it."""
    series = [one for one in series_of(runs) if one.runs[0].config.mod_scheme in CORRECT]
    if not series:
        raise UserError(
            f"{runs[0].config.run_dir} and the runs beside it correct no labels: train one with "
            "--mod_scheme LL-Ct --audit labels"
        )
    kept = [one for one in series if any(map(has_history, one.runs))]
    first = {one.runs[0].config.mod_scheme: one for one in reversed(kept or series)}
    for one in series:
        if kept and one not in first.values():
            warn(f"{one.name} is left out: it kept no history, or another run of its scheme did")
    shown = [first[scheme] for scheme in CORRECT if scheme in first]
    chosen = [with_history(one.runs)[0] for one in shown]
    found = []
    for one, run, history in zip(shown, chosen, read_histories(chosen, data_root), strict=True):
        selected = history.history.selected
        if selected is None:
            raise no_selections(run)
        found.append(Corrected(one, run, history, so_far(selected) if one.permanent else selected))
    return found


def _draw_cases(part: np.ndarray, found: Corrected, places: np.ndarray) -> None:
    """A row an image: the picture, and what became of its labels; axes [CASES, 2]."""
    from tools.inspect_counts import shortened
    from tools.inspect_pictures import _draw_picture

    split = found.kept.data.train
    for number, (picture, signs) in enumerate(part):
        if number >= len(places):
            picture.set_axis_off()
            signs.set_axis_off()
            if not number:
                signs.text(0.5, 0.5, "no such image", ha="center", color=GREY)
            continue
        place = int(places[number])
        _draw_picture(picture, split, place)
        picture.set_anchor("C")
        name = shortened(Path(str(split.names[place])).name, 20)
        picture.set_xlabel(name, fontsize=6.5, color=GREY, parse_math=False)
        _draw_labels(signs, found, place)


def labels_to_show(
    given: np.ndarray, corrected: np.ndarray, truth: np.ndarray, most: int
) -> np.ndarray:
    """Columns of the classes that matter for an image: given ones, other true ones, wrong ones.

    Where they are more than `most`, those that are neither given nor corrected in the last epoch
    are left out first. `given`, `truth` [K], `corrected` bool [T, K].
    """
    often, last = corrected.sum(axis=0), corrected[-1]
    kind = np.where(given == 1, 0, np.where(truth == 1, 1, 2))
    shown = np.flatnonzero((kind < 2) | (often > 0))
    urgency = np.where(given == 1, 0, np.where(last, 1, 2))
    shown = shown[np.lexsort((-often[shown], urgency[shown]))][:most]
    return shown[np.lexsort((shown, kind[shown]))]


def _draw_labels(axes: Axes, found: Corrected, place: int) -> None:
    """A row a label: given, corrected in each epoch, true."""
    from tools.inspect_counts import shortened

    corrected, truth = found.by_epoch[:, place], found.kept.truth[place]
    given, epochs = found.kept.human[place], len(corrected)
    every = labels_to_show(given, corrected, truth, len(truth))
    classes = labels_to_show(given, corrected, truth, NAMES)
    right = epochs + 1.5
    for row, k in enumerate(classes):
        axes.axhline(row, color="0.92", linewidth=0.8, zorder=0)
        kind = {1: "right", -1: "wrong"}.get(int(truth[k]), "unknown")
        _put(axes, "given", [-0.5] * int(given[k] == 1), row)
        _put(axes, kind, np.flatnonzero(corrected[:, k]) + 1, row)
        _put(axes, "truth", [right] * int(truth[k] == 1), row)
    for x in (0.25, epochs + 0.75):
        axes.axvline(x, color="0.75", linewidth=0.8)
    names = [shortened(found.kept.data.classes[k], 14) for k in classes]
    if len(every) > NAMES:
        names.append(f"+{len(every) - NAMES} more")
    axes.set_yticks(range(len(names)), names, fontsize=8.5, parse_math=False)
    step = max(1, -(-epochs // 6))
    ticks = list(range(1, epochs + 1, step)) if epochs > 1 else [1]
    axes.set_xticks([-0.5, *ticks, right], ["given", *map(str, ticks), "truth"], fontsize=8)
    axes.set(xlim=(-1.4, right + 0.9), ylim=(max(len(names), 4) - 0.4, -0.6))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _put(axes: Axes, kind: str, xs: Any, row: int) -> None:
    marker, color, _ = SIGNS[kind]
    axes.plot(xs, [row] * len(xs), linestyle="", marker=marker, color=color, markersize=5.5)


def _keys(found: Sequence[Corrected]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    shown = set(SIGNS)
    if not any((one.by_epoch & (one.kept.truth == 0)).any() for one in found):
        shown.discard("unknown")
    return [
        Line2D([], [], linestyle="", marker=marker, color=color, markersize=6.5, label=text)
        for name, (marker, color, text) in SIGNS.items()
        if name in shown
    ]
