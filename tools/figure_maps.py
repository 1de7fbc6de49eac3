"""Figures of explanations: class maps over images, and the pointing game, method by method."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cli import UserError, printable
from tools.examples import Explained, Picture, methods_with_maps, names_of, read_pictures
from tools.explained import Maps, Pointing, read_pointing
from tools.figure_parts import note_below
from tools.finished import Run, group_by_method
from tools.looks import BLACK, BLUE, VERMILION, Look, look, save
from tools.pointing import centre, is_hit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 6  # images in a figure at most
SIDE, HEAD, FOOT, LABEL, LINE = 1.5, 0.5, 0.68, 1.2, 0.125  # inches
HIT, MISS = ("o", BLUE), ("X", VERMILION)  # marker and colour
COLORS = "viridis"  # perceptually uniform
OPACITY = 0.6


def draw_maps(runs: Sequence[Run], path: Path, data_root: str | None = None) -> list[Path]:
    """Class maps over example images: a row an image, a column a method; the paths of the figure.

    Of each method the run with the lowest seed that has maps is shown, or no column.
    A row is of one class of its image: the first one truly there in row 1, the second in row 2 and
    so on, from the first again past the last. Each map has colours from its own lowest to its own
    highest value; a marker says where that is, and whether the place lies in a box of the class.
    The images are read again, below `data_root` where that is given. Raises UserError where no run
    has maps, where they are not of the same images, or the data is not that of the runs.
    """
    methods = methods_with_maps(runs)
    shown = methods[0].maps
    count = min(ROWS, len(shown.names))
    pictures = read_pictures(methods, shown.names[:count], data_root)
    from matplotlib.figure import Figure

    across = 1 + len(methods)
    heights = [min(1.4, picture.size[1] / picture.size[0]) for picture in pictures]
    notes = _notes(shown, count, LABEL + across * SIDE)
    foot = FOOT + LINE * len(notes)
    width, height = LABEL + across * SIDE, HEAD + sum(heights) * SIDE + foot
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(
        count, across, squeeze=False, height_ratios=heights,
        gridspec_kw={"left": LABEL / width, "right": 1 - 0.1 / width, "top": 1 - HEAD / height,
                     "bottom": foot / height, "wspace": 0.06, "hspace": 0.06},
    )  # fmt: skip
    for row, (axes, picture) in enumerate(zip(grid, pictures, strict=True)):
        chosen = _class_of_row(shown, row)
        _draw_image(axes[0], picture, int(shown.column[chosen]))
        _write_label(axes[0], shown.classes[chosen], shown.names[row])
        for place, method in zip(axes[1:], methods, strict=True):
            _draw_map(place, picture, method.maps, chosen)
    for place, title in zip(grid[0], ["image", *map(_title, methods)], strict=True):
        place.set_title(title, fontsize="small", parse_math=False)
    _draw_key(figure, foot, notes)
    return save(figure, path)


def _title(method: Explained) -> str:
    """The method, and how often its maps point at the object, on all images."""
    if method.pointing is None or method.pointing.split != method.maps.split:
        return method.name
    return f"{method.name}\nhits {method.pointing.tally.total:.1f} % of all"


def _class_of_row(maps: Maps, row: int) -> int:
    """Which of the maps of the image of this row is shown: its classes take turns."""
    own = np.flatnonzero(maps.image == row)
    if not len(own):
        raise UserError(
            f"there is no map of {maps.names[row]!r}: run python -m tools.explain again"
        )
    return int(own[row % len(own)])


def _draw_image(axes: Axes, picture: Picture, column: int) -> None:
    """The image with the boxes of its row's class, and those of other classes dotted."""
    _show(axes, picture, picture.pixels)
    for other in picture.boxes:
        if other != column:
            _draw_boxes(axes, picture, other, ":")
    _draw_boxes(axes, picture, column, "-")


def _draw_map(axes: Axes, picture: Picture, maps: Maps, chosen: int) -> None:
    """The class map over the grey image, with the boxes of the class and the highest place."""
    _show(axes, picture, picture.pixels.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    _show(axes, picture, maps.maps[chosen].astype(float), cmap=COLORS, alpha=OPACITY,
          interpolation="bilinear")  # fmt: skip
    column = int(maps.column[chosen])
    _draw_boxes(axes, picture, column, "-")
    place = centre(maps.highest[chosen], maps.maps.shape[1:])
    hit = is_hit(place, picture.boxes.get(column, np.empty((0, 4))))
    marker, color = HIT if hit else MISS
    axes.plot(*(place * picture.size), marker=marker, color=color, markersize=9,
              markeredgecolor="white", markeredgewidth=1.2, clip_on=False)  # fmt: skip


def _show(axes: Axes, picture: Picture, pixels: np.ndarray, **how: Any) -> None:
    """Draw pixels, or the cells of a map, over the whole picture in its true shape."""
    width, height = picture.size
    small = max(picture.pixels.shape[:2]) < 64
    how.setdefault("interpolation", "nearest" if small else "antialiased")
    axes.imshow(pixels, extent=(0, width, height, 0), **how)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_boxes(axes: Axes, picture: Picture, column: int, line: str) -> None:
    """The boxes of a class, white on black, which is seen on every colour."""
    from matplotlib.patches import Rectangle

    for box in picture.boxes.get(column, ()):
        x0, y0, x1, y1 = box * (*picture.size, *picture.size)
        thin = 1.3 if line == "-" else 0.8
        for color, thickness, style in ((BLACK, 2 * thin, "-"), ("white", thin, line)):
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=color,
                                     linewidth=thickness, linestyle=style))  # fmt: skip


def _write_label(axes: Axes, name: str, file: str) -> None:
    """The class of the row, and its image, at the left of it."""
    from tools.inspect_counts import shortened

    axes.text(-0.06, 0.54, shortened(name, 14), ha="right", va="bottom", fontsize=10,
              transform=axes.transAxes, parse_math=False)  # fmt: skip
    short = shortened(Path(file).stem, 20)
    axes.text(-0.06, 0.5, short, ha="right", va="top", fontsize=6, color="0.4",
              transform=axes.transAxes, parse_math=False)  # fmt: skip


def _notes(shown: Maps, count: int, width: float) -> list[str]:
    """What is to be known of the figure, in lines for so many inches."""
    some = f"the first {count} of " if count < len(shown.names) else ""
    text = (
        "Boxes: solid, of the class of the row; dotted, of other classes; the border of a box "
        "belongs to it. Of each method the run with the lowest seed that was explained. Images: "
        f"{some}{shown.rule}. Row 1 shows the first class of its "
        "image, row 2 the second, and so on in turn."
    )
    return textwrap.wrap(printable(text), int(width / 0.06))[:8]


def _draw_key(figure: Figure, foot: float, notes: Sequence[str]) -> None:
    """What the signs and colours mean, and the notes, in the lowest `foot` inches."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    signs = [
        Line2D([], [], linestyle="", marker=marker, color=color, markersize=8, label=text)
        for (marker, color), text in ((HIT, "highest place in a box: hit"),
                                      (MISS, "highest place outside: miss"))
    ]  # fmt: skip
    figure.legend(handles=signs, loc="center", bbox_to_anchor=(0.5, (foot - 0.2) / height),
                  ncols=2, frameon=False, fontsize=8, handletextpad=0.2)  # fmt: skip
    bar = figure.add_axes((0.5 - 0.6 / width, (foot - 0.47) / height, 1.2 / width, 0.1 / height))
    bar.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=COLORS)
    bar.set(xticks=[], yticks=[])
    for x, side, text in ((-0.05, "right", "lowest"), (1.05, "left", "highest value of a map")):
        bar.text(x, 0.4, text, ha=side, va="center", fontsize=8, transform=bar.transAxes)
    figure.text(0.5, (foot - 0.58) / height, "\n".join(notes), ha="center", va="top",
                fontsize=7, color="0.3", parse_math=False)  # fmt: skip


def draw_pointing(runs: Sequence[Run], path: Path) -> list[Path]:
    """The pointing game of each method, a dot a run, a bar at the mean; the figure's paths.

    Left: hits in percent of all tries. Right: the mean of the classes' percentages. Runs without a
    pointing.json are left out. Raises UserError where none has one, or they are of different data
    sets or splits.
    """
    played = _played(runs)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 1.5 + 0.45 * len(played)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, number in zip(panels, ("total", "mean"), strict=True):
        for row, (name, found) in enumerate(played.items()):
            values = [getattr(pointing.tally, number) for pointing in found]
            _draw_dots(axes, row, values, look(name.partition("\n")[0]))
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        axes.set(xlabel="hits (%)", ylim=(len(played) - 0.4, -0.7))
    panels[0].set_yticks(range(len(played)), [*played], fontsize=9, parse_math=False)
    panels[0].set_title("of all tries", fontsize="medium")
    panels[1].set_title("mean over classes", fontsize="medium")
    first = next(iter(played.values()))[0]
    title = f"Pointing game, {Path(runs[0].config.dataset).name}, {first.split} images"
    figure.suptitle(title, fontsize="medium", parse_math=False)
    counts = sorted({len(found) for found in played.values()})
    seeds = f"{' or '.join(map(str, counts))} seed{'s' * (counts[-1] > 1)}"
    note_below(figure, f"Signs: single runs, {seeds} of a method; bars and numbers: their means.")
    return save(figure, path)


def _played(runs: Sequence[Run]) -> dict[str, list[Pointing]]:
    """The pointing games of each method. Raises UserError as `draw_pointing`."""
    groups = group_by_method(runs)
    played: dict[str, list[Pointing]] = {}
    kinds: dict[tuple[str, str], Run] = {}
    for name, group in zip(names_of(groups), groups, strict=True):
        for run in group:
            found = read_pointing(run.config.run_dir)
            if found:
                played.setdefault(name, []).append(found)
                kinds.setdefault((run.config.dataset, found.split), run)
    if not played:
        raise UserError(
            f"{runs[0].config.run_dir} and the runs beside it have no pointing.json: make it with "
            "python -m tools.explain"
        )
    if len(kinds) > 1:
        first, other, *_ = (run.config.run_dir for run in kinds.values())
        raise UserError(
            f"the pointing games of {first} and {other} are of different data sets or splits: run "
            "python -m tools.explain on both with the same --split, or give runs on one data set"
        )
    return played


def _draw_dots(axes: Axes, row: int, values: Sequence[float], style: Look) -> None:
    """A dot for each value, and a bar with its number at their mean."""
    axes.plot(values, [row] * len(values), linestyle="", marker=style.marker, color=style.color,
              markersize=6, alpha=0.75)  # fmt: skip
    mean = statistics.mean(values)
    axes.plot([mean, mean], [row - 0.22, row + 0.22], color=style.color, linewidth=2)
    axes.annotate(f"{mean:.1f}", (mean, row - 0.22), (0, 1), textcoords="offset points",
                  ha="center", va="bottom", fontsize=7.5)  # fmt: skip
