"""Pictures of what a model predicts of an image: the class maps of these classes over it.

Letters in shapes: B images of a mini-batch, K classes, h x w places of a map.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from image_files import read_image
from tools.inspect_counts import shortened
from tools.looks import drawing
from tools.metrics import decide

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS, OPACITY = "viridis", 0.55  # perceptually uniform; told apart by colour-blind people
MOST, ACROSS = 11, 4  # maps of an image, panels of a row, at most
SIDE, HEAD, FOOT, GAP = 2.5, 0.32, 0.5, 0.06  # inches
DETAIL = 448  # pixels of the image as it is drawn, before it gets its true shape


class MapsWriter:
    """Writes a PNG for each image into a folder, named after the image."""

    def __init__(
        self, folder: Path, classes: Sequence[str], threshold: float, top_k: int | None
    ) -> None:
        self.folder, self.classes, self.threshold, self.top_k = folder, classes, threshold, top_k
        self.taken: set[str] = set()

    def __call__(self, paths: Sequence[Path], scores: np.ndarray, maps: Tensor) -> None:
        """Draw the images of a mini-batch: `scores` [B, K], `maps` [B, K, h, w].

        Raises UserError where a picture cannot be written.
        """
        chosen = decide(scores, self.threshold, self.top_k)
        for path, own, predicted, of_image in zip(paths, scores, chosen, maps, strict=True):
            best = [k for k in np.argsort(-own, kind="stable") if predicted[k]]
            titles = [f"{shortened(self.classes[k], 22)} {own[k]:.3f}" for k in best]
            draw_overlay(path, titles, of_image[best].numpy(), self._target(path))

    def _target(self, image: Path) -> Path:
        """Where the picture of that image goes; no two share a name, in capitals or not."""
        name = os.fsdecode(os.fsencode(image.name)[:200])
        free, number = name, 1
        while free.lower() in self.taken:
            number += 1
            free = f"{name}.{number}"
        self.taken.add(free.lower())
        return self.folder / f"{free}.png"


def draw_overlay(image: Path, titles: Sequence[str], maps: np.ndarray, target: Path) -> None:
    """The image, and beside it each of these maps float [k, h, w] over it in grey, in a PNG.

    Each map has colours from its own lowest to its own highest value. The first MOST are drawn.
    """
    pixels = read_image(image, DETAIL).permute(1, 2, 0).numpy()
    size = _true_size(image)
    count = 1 + min(len(maps), MOST)
    across = min(count, ACROSS)
    down = -(-count // across)
    height = SIDE * min(1.5, max(0.5, size[1] / size[0]))
    inches = (across * SIDE, down * (height + HEAD) + FOOT)
    with drawing(target, *inches, kinds=("png",)) as figure:
        corners = [
            (column * SIDE, FOOT + (down - row) * (height + HEAD) - height - HEAD)
            for row, column in (divmod(place, across) for place in range(count))
        ]
        panels = [_panel(figure, corner, (SIDE, height), size) for corner in corners]
        _show(panels[0], pixels, size)
        panels[0].set_title(shortened(image.name, 30), fontsize=9, parse_math=False)
        for axes, title, values in zip(panels[1:], titles, maps, strict=False):
            _show(axes, pixels.mean(axis=2), size, cmap="gray", vmin=0, vmax=255)
            _show(axes, values, size, cmap=COLORS, alpha=OPACITY, interpolation="bilinear")
            axes.set_title(title, fontsize=9, parse_math=False)
        _draw_key(figure, len(maps))


def _true_size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as where it was read
        with Image.open(path) as image:
            return image.size


def _panel(
    figure: Figure, corner: tuple[float, float], box: tuple[float, float], size: tuple[int, int]
) -> Axes:
    """Axes for a picture of this size, as large as goes into a box, all in inches, at its top."""
    width, height = figure.get_size_inches()
    scale = min((box[0] - 2 * GAP) / size[0], box[1] / size[1])
    own = scale * size[0], scale * size[1]
    left, bottom = corner[0] + (box[0] - own[0]) / 2, corner[1] + box[1] - own[1]
    axes = figure.add_axes((left / width, bottom / height, own[0] / width, own[1] / height))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _show(axes: Axes, pixels: np.ndarray, size: tuple[int, int], **how: Any) -> None:
    """Draw pixels, or the places of a map, over the whole picture in its true shape."""
    axes.imshow(pixels, extent=(0, size[0], size[1], 0), aspect="auto", **how)


def _draw_key(figure: Figure, count: int) -> None:
    """What the colours mean, in the lowest inches, or that there are none."""
    width, height = figure.get_size_inches()
    if not count:
        figure.text(0.5, 0.2 / height, "no class predicted", ha="center", fontsize=8.5)
        return
    bar = figure.add_axes((0.5 - 0.5 / width, 0.3 / height, 1.0 / width, 0.1 / height))
    bar.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=COLORS)
    bar.set(xticks=[], yticks=[])
    for x, side, text in ((-0.06, "right", "lowest"), (1.06, "left", "highest in the map")):
        bar.text(x, 0.5, text, ha=side, va="center", fontsize=8, transform=bar.transAxes)
    if count > MOST:
        text = f"the {MOST} best of {count:,} predicted classes"
        figure.text(0.5, 0.1 / height, text, ha="center", fontsize=7.5, color="0.3")
