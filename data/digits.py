"""The embedded data set: multi-label canvases composed of real handwritten digits.

scikit-learn ships 1,797 scans of handwritten digits, 8x8 pixels each. A canvas is a grid of 2x2
cells with 2 to 4 different digits in it, each in a cell of its own, shifted by up to 4 pixels.
Train and test canvases are made of different scans. The canvases are the same in every run.

N canvases, K = 10 classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SEED = 2022
PARTS = {"train": 1, "val": 2}  # with what each adds to the seed
NUM_TRAIN = 3000
NUM_TEST = 1500
CLASSES = tuple(str(digit) for digit in range(10))
SCAN, CELL, GRID = 8, 12, 2  # pixels, pixels, cells to a side


class Canvases(NamedTuple):
    """Composed images with everything that is known about them."""

    images: np.ndarray  # uint8 [N, 3, 24, 24]
    labels: np.ndarray  # int8 [N, K], 1 where the digit is on the canvas, else 0
    boxes: np.ndarray  # int16 [N, K, 4], x0, y0, x1, y1 of each digit in pixels; -1 where absent


def compose(part: str) -> Canvases:
    """The canvases of `part`, "train" (3,000, of 60 % of the scans) or "val" (1,500, of the rest).

    "val" is the test split, as everywhere in the official layout.
    """
    scans, digits = scans_of(part)
    count = NUM_TRAIN if part == "train" else NUM_TEST
    return _compose(scans, digits, count, np.random.RandomState(SEED + PARTS[part]))


def scans_of(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The scans that canvases of `part` are made of, uint8 [n, 8, 8], and their digits, int [n]."""
    from sklearn.datasets import load_digits

    scans, digits = load_digits(return_X_y=True)
    shuffled = np.random.RandomState(SEED).permutation(len(scans))
    cut = round(0.6 * len(scans))
    chosen = shuffled[:cut] if part == "train" else shuffled[cut:]
    pixels = np.round(scans.reshape(-1, SCAN, SCAN) * 255 / 16).astype(np.uint8)
    return pixels[chosen], digits[chosen]


def _compose(
    scans: np.ndarray, digits: np.ndarray, count: int, rng: np.random.RandomState
) -> Canvases:
    side = GRID * CELL
    images = np.zeros((count, side, side), np.uint8)
    boxes = np.full((count, len(CLASSES), 4), -1, np.int16)
    scans_of = [np.flatnonzero(digits == digit) for digit in range(len(CLASSES))]
    for image, box in zip(images, boxes, strict=True):
        present = rng.permutation(len(CLASSES))[: rng.randint(2, GRID**2 + 1)]
        cells = rng.permutation(GRID**2)
        for digit, cell in zip(present, cells, strict=False):
            shift = rng.randint(0, CELL - SCAN + 1, size=2)
            y, x = np.array(divmod(cell, GRID)) * CELL + shift
            image[y : y + SCAN, x : x + SCAN] = scans[rng.choice(scans_of[digit])]
            box[digit] = x, y, x + SCAN, y + SCAN
    labels = (boxes[:, :, 0] >= 0).astype(np.int8)
    return Canvases(np.repeat(images[:, None], 3, axis=1), labels, boxes)
