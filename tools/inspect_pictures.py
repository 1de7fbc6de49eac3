"""The figures of a data set: positives by class and by image, and a sheet of examples.

N images of a split, K classes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import stopping
from cli import printable
from data.labels import to_dense
from datasets import Split
from image_files import BadImage, ImageFiles, read_image
from tools.inspect_counts import Counts, Tally, read_header, shared_start, shortened
from tools.looks import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart
TRUE, OBSERVED, GIVEN, REFUSED, HIDDEN = "#56B4E9", "#0072B2", "#00795A", "#0072B2", "#C04E00"
GREY = "0.45"
GROUPS = ("#009E73", "#E69F00", "#CC79A7", "#000000", "#D55E00")
MAX_BARS = 81  # classes, NUS-WIDE's; more are a curve
BARS_ASIDE = 21  # classes; the bars of more take two columns
SIDE = 256  # pixels to a side of an example, at most
TILE, GAP, LINE, HEAD = (1.9, 1.5), 0.12, 0.135, 0.75  # inches
NAMES = 6  # to a tile
KEYS = (  # of the colours of names, and their width in inches
    ("+given positive", GIVEN, 1.1),
    ("(truly positive, not given)", HIDDEN, 1.65),
    ("-given negative", REFUSED, 1.1),
)


class Series(NamedTuple):
    """Positives of a kind, to be drawn."""

    name: str
    counts: Counts
    color: str


def series_of(found: Tally) -> list[Series]:
    """What is known of the positives, the truth first."""
    both = []
    if found.true is not None:
        both.append(Series("truly positive", found.true, TRUE))
    if found.positive is not None:
        both.append(Series("observed positive", found.positive, OBSERVED))
    return both


def draw_labels(
    found: Tally,
    classes: Sequence[str],
    groups: Mapping[str, Sequence[int]],
    title: str,
    path: Path,
) -> None:
    """labels.png: positives by class, as bars or by rank, and positives by image.

    Where the bars are many, they stand in two columns above the histogram of the images.
    """
    series = series_of(found)
    order = np.argsort(-series[0].counts.by_class, kind="stable")
    are_many = BARS_ASIDE < len(classes) <= MAX_BARS
    parts = np.array_split(order, 2) if are_many else [order]
    height = max(2.9, 0.17 * len(parts[0])) if len(classes) <= MAX_BARS else 3.3
    with drawing(path, 11.5, height + (4.5 if are_many else 1.3), ("png",)) as figure:
        figure.set_layout_engine("constrained")
        if are_many:
            grid = figure.add_gridspec(2, 2, height_ratios=(height, 2.5))
            by_class = [figure.add_subplot(grid[0, place]) for place in range(2)]
            by_image = figure.add_subplot(grid[1, :])
        else:
            *by_class, by_image = figure.subplots(1, 2, width_ratios=(1.5, 1))
        if len(classes) > MAX_BARS:
            _draw_ranks(by_class[0], series, groups)
        else:
            for axes, part in zip(by_class, parts, strict=True):
                _draw_bars(axes, series, classes, part)
        if are_many:
            rest = f"The same, classes {len(parts[0]) + 1} to {len(classes)}, on their own scale"
            by_class[1].set_title(rest)
        _draw_histogram(by_image, series)
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(*by_image.get_legend_handles_labels(), ncols=2, frameon=False,
                      loc="outside lower center", fontsize="small")  # fmt: skip
        figure.suptitle(shortened(title, 110), fontsize="medium", parse_math=False)


def _draw_bars(
    axes: Axes, series: Sequence[Series], classes: Sequence[str], order: np.ndarray
) -> None:
    """A bar each for these classes, the first on top; what is observed lies within what is true."""
    for place, (name, counts, color) in enumerate(series):
        axes.barh(np.arange(len(order)), counts.by_class[order], 0.8 - 0.4 * place,
                  color=color, label=name)  # fmt: skip
    names = [shortened(classes[column], 30) for column in order]
    axes.set_yticks(np.arange(len(order)), names, fontsize=8, parse_math=False)
    axes.set(xlabel="training images", ylim=(len(order) - 0.4, -0.6), title="Positives of a class")
    axes.tick_params(axis="y", length=0)
    _count_whole(axes, "x")


def _draw_ranks(axes: Axes, series: Sequence[Series], groups: Mapping[str, Sequence[int]]) -> None:
    """A dot a class, by how many classes have more; the groups in colours of their own."""
    counts = series[0].counts.by_class
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), int)
    rank[order] = np.arange(1, len(order) + 1)
    for _, others, color in series[1:]:
        axes.scatter(rank, others.by_class, s=9, color=color, alpha=0.5, linewidths=0)
    axes.plot(rank[order], counts[order], color=series[0].color, linewidth=2)
    if 0 < len(groups) <= len(GROUPS):
        for (name, columns), color in zip(groups.items(), GROUPS, strict=False):
            label = f"{shortened(name, 20)}: {len(columns):,} classes"
            axes.scatter(rank[columns], counts[columns], s=18, color=color, linewidths=0,
                         label=label, zorder=3)  # fmt: skip
        legend = axes.legend(frameon=False, fontsize="small", loc="lower left")
        for text in legend.get_texts():
            text.set_parse_math(False)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1, linscale=0.5, subs=range(2, 10))  # 0 is on it
    axes.set(xlabel="rank of the class", ylabel="training images", ylim=(-0.1, 1.6 * counts.max()),
             title="Positives of a class")  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")


def _draw_histogram(axes: Axes, series: Sequence[Series]) -> None:
    """How many images have so many positives; as many to a bar as make 40 bars at most."""
    most = max(int(counts.by_image.max()) for _, counts, _ in series)
    step = -(-(most + 1) // 40)
    edges = np.arange(0, most + 1 + step, step)
    for place, (name, counts, color) in enumerate(series):
        heights, _ = np.histogram(counts.by_image, edges)
        each = 0.86 * step / len(series)
        left = edges[:-1] - 0.43 * step + (place + 0.5) * each + (step - 1) / 2
        axes.bar(left, heights, each, color=color, label=name)
    unit = "" if step == 1 else f" (bars of {step})"
    axes.set(xlabel=f"positives of an image{unit}", ylabel="training images",
             title="Positives of an image")  # fmt: skip
    _count_whole(axes, "y")
    _count_whole(axes, "x")


def _count_whole(axes: Axes, which: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_major_formatter("{x:,.0f}")


def choose_examples(found: Tally, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places drawn at random, and places of those with most hidden positives, most first.

    Half each, or all at random where no positive is hidden.
    """
    num_images = found.size[0]
    number = min(number, num_images)
    most = np.array([], int)
    if found.hidden is not None:
        hidden = found.hidden.by_image
        most = np.argsort(-hidden, kind="stable")[: number // 2]
        most = most[hidden[most] > 0]
    others = np.delete(np.arange(num_images), most)
    drawn = np.random.default_rng(seed).choice(others, number - len(most), replace=False)
    return drawn, most


def draw_examples(
    split: Split,
    classes: Sequence[str],
    chosen: tuple[np.ndarray, np.ndarray],
    titles: tuple[str, str],
    path: Path,
) -> None:
    """examples.png: a sheet of the chosen images with their labels.

    `titles`: what set it is, and by what rule they were chosen.
    """
    places = np.concatenate(chosen)
    files = split.names[places].tolist()
    start = shared_start(files)
    if start:
        titles = (titles[0], f"{titles[1]}; names after {start}")
    labels = [_labels_of(split, place, classes) for place in places]
    across = min(6, len(places))
    down = -(-len(places) // across)
    cell = TILE[0] + GAP, TILE[1] + GAP + (max(map(len, labels)) + 1.5) * LINE
    width, height = max(across * cell[0] + GAP, 7), HEAD + down * cell[1]
    with drawing(path, width, height, ("png",)) as figure:
        used = {color for names in labels for _, color in names}
        _draw_head(figure, titles, used)
        for number, (place, names) in enumerate(zip(places, labels, strict=True)):
            file = files[number][len(start) :]
            stopping.check()
            row, column = divmod(number, across)
            left, top = GAP + column * cell[0], height - HEAD - row * cell[1] - LINE
            bottom = top - TILE[1]
            size = TILE[0] / width, TILE[1] / height
            _draw_picture(figure.add_axes((left / width, bottom / height, *size)), split, place)
            _write(figure, left, top + 0.03, shortened(file, 32), GREY, 6)
            for line, (text, color) in enumerate(names, start=1):
                _write(figure, left, bottom - line * LINE - 0.02, text, color, 7.5)


def _labels_of(split: Split, place: int, classes: Sequence[str]) -> list[tuple[str, str]]:
    """The labels of an image and their colours: given positives, hidden ones, given negatives."""
    truth, observed = (
        None if table is None else to_dense(table[[place]])[0]
        for table in (split.truth, split.observed)
    )
    given = truth if observed is None else observed
    hidden = (truth == 1) & (given == 0) if truth is not None else np.zeros(len(classes), bool)
    refused = (observed == -1) if observed is not None else np.zeros(len(classes), bool)
    kinds = (("+{}", GIVEN, given == 1), ("({})", HIDDEN, hidden), ("-{}", REFUSED, refused))
    names = [
        (form.format(shortened(classes[column], 30)), color)
        for form, color, places in kinds
        for column in np.flatnonzero(places).tolist()
    ]
    if len(names) <= NAMES + 1:
        return names or [("no label", GREY)]
    return [*names[:NAMES], (f"+{len(names) - NAMES:,} more", GREY)]


def _draw_head(figure: Figure, titles: tuple[str, str], used: Collection[str]) -> None:
    """The titles, and what the colours in use mean."""
    height = figure.get_figheight()
    width = figure.get_figwidth()  # in inches, as letters to an inch in these sizes
    _write(figure, GAP, height - 0.22, shortened(titles[0], int(15 * width)), "black", 10)
    _write(figure, GAP, height - 0.38, shortened(titles[1], int(20 * width)), "0.35", 7.5)
    left = GAP
    for text, color, wide in KEYS:
        if color in used:
            _write(figure, left, height - 0.54, text, color, 7.5)
            left += wide


def _write(figure: Figure, x: float, y: float, text: str, color: str, size: float) -> None:
    """Put a line of text there, in inches."""
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, text, color=color, fontsize=size, parse_math=False)


def _draw_picture(axes: Axes, split: Split, place: int) -> None:
    """The picture in its own shape, or a grey tile with the reason why there is none."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    try:
        pixels, width, height = _pixels(split, place)
    except BadImage as error:
        axes.set_facecolor("0.88")
        reason = "\n".join(textwrap.wrap(printable(error.reason), 26)[:6])
        axes.text(0.5, 0.5, reason, fontsize=7.5, color="0.25", ha="center", va="center",
                  parse_math=False)  # fmt: skip
        return
    smooth = "nearest" if max(width, height) < 64 else "antialiased"
    axes.imshow(pixels, extent=(0, width, 0, height), interpolation=smooth)
    axes.set_anchor("SW")


def _pixels(split: Split, place: int) -> tuple[np.ndarray, int, int]:
    """uint8 [H, W, 3], and the true width and height. Raises BadImage."""
    if not isinstance(split.images, ImageFiles):
        pixels = split.images.__getitems__([place])[0][0].permute(1, 2, 0).numpy()
        return pixels, pixels.shape[1], pixels.shape[0]
    path = split.images.folder / str(split.names[place])
    header = read_header(path)
    if isinstance(header, BadImage):
        raise header
    width, height, _ = header
    pixels = read_image(path, min(SIDE, max(width, height))).permute(1, 2, 0).numpy()
    return pixels, width, height
