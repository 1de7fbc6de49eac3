"""The pointing game: does the highest place of a class's map lie in a box of the class?

Zhang et al., ECCV 2016, as Kim et al., CVPR 2022, play it with class activation maps: no tolerance
around a box. BoostLU, which keeps the order of a map's places, changes nothing. A place on the
border of a box is in it: on coarse maps of small images, as of digits, many are.

Letters in shapes: N images, K classes, h x w places of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data.boxes import Boxes
from data.labels import Labels, to_dense

RULE = (
    "a class that an image truly holds and has a box of is hit where the centre of the highest "
    "cell of its class activation map, the first of equal ones, lies in such a box or on its border"
)
_ROUNDING = 1e-9  # of fractions: a centre on the border of a box is in it


class Tally(NamedTuple):
    """How often each class was hit."""

    hits: np.ndarray  # int [K]
    tries: np.ndarray  # int [K]

    @property
    def total(self) -> float:
        """Hits in percent of all tries; NaN without any."""
        return percent(int(self.hits.sum()), int(self.tries.sum()))

    @property
    def mean(self) -> float:
        """The mean of the classes' percentages, those without a try left out; NaN without any."""
        tried = self.tries > 0
        shares = 100 * self.hits[tried] / self.tries[tried]
        return float(shares.mean()) if len(shares) else float("nan")


def percent(hits: int, tries: int) -> float:
    """Hits in percent of tries; NaN without any."""
    return 100 * hits / tries if tries else float("nan")


def highest_cell(maps: np.ndarray) -> np.ndarray:
    """The number of the highest cell of maps [..., h, w], counted row by row, int [...].

    The first of several that are equally high.
    """
    return maps.reshape(*maps.shape[:-2], -1).argmax(axis=-1)


def centre(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The centres x, y of the cells [...] of maps of `shape` (h, w), as fractions, [..., 2]."""
    rows, columns = np.divmod(cells, shape[1])
    return np.stack([(columns + 0.5) / shape[1], (rows + 0.5) / shape[0]], axis=-1)


def is_hit(place: np.ndarray, boxes: np.ndarray, border: bool = True) -> bool:
    """Whether the place [2] lies in one of the boxes [n, 4]; `border`: or on a border of one."""
    margin = _ROUNDING if border else -_ROUNDING
    after = place >= boxes[:, :2] - margin
    before = place <= boxes[:, 2:] + margin
    return bool((after & before).all(axis=1).any())


def is_tried(labels: Labels, boxes: Sequence[Boxes]) -> np.ndarray:
    """Which classes of which images are tried, bool [N, K]: positive ones that have a box.

    `labels` [N, K]: 1 where a class is positive.
    """
    boxed = np.zeros(labels.shape, bool)
    for row, columns in zip(boxed, boxes, strict=True):
        row[list(columns)] = True
    return boxed & (to_dense(labels) == 1)


def play(places: np.ndarray, labels: Labels, boxes: Sequence[Boxes], border: bool = True) -> Tally:
    """Hits and tries of each class; `places` [N, K, 2]: the highest of each class's map.

    `border`: whether a place on the border of a box is in it.
    """
    tried = is_tried(labels, boxes)
    hits = np.zeros(tried.shape[1], int)
    for row, column in np.argwhere(tried):
        hits[column] += is_hit(places[row, column], boxes[row][column], border)
    return Tally(hits, tried.sum(axis=0))
