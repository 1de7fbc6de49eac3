"""JPEGs that cost about what photographs cost, and folders of them that training reads."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from cli import UserError
from data.formatted import Formatted, Part, write_formatted
from data.observe import observe_labels

SUFFIXES = (".jpg", ".jpeg")
WIDTH, HEIGHT = 640, 480
_QUALITY, _SMOOTH = 90, Image.Resampling.BICUBIC
_SHARE_POSITIVE = 0.035  # of the labels: 2.8 an image of 80 classes, as in COCO
_NUM_VAL = 8  # images of the official val set, which nothing here measures


def photographs(folder: Path) -> list[Path]:
    """The JPEGs in a folder and its sub-folders, by name. Raises UserError where there is none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"--images {folder}: there is no .jpg or .jpeg: give another folder")
    return found


def make_photographs(folder: Path, count: int) -> list[Path]:
    """Made-up JPEGs in a folder: noise in all sizes, the finer the fainter, over a gradient."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(0)
    paths = [folder / f"{place:05}.jpg" for place in range(count)]
    for path in paths:
        Image.fromarray(_pixels(rng)).save(path, quality=_QUALITY)
    return paths


def _pixels(rng: np.random.RandomState) -> np.ndarray:
    """The pixels of a made-up photograph, uint8 [HEIGHT, WIDTH, 3]."""
    slope = rng.uniform(-80, 80, (2, 3))
    rows, columns = np.mgrid[-0.5 : 0.5 : HEIGHT * 1j, -0.5 : 0.5 : WIDTH * 1j][..., None]
    pixels = 128 + rows * slope[0] + columns * slope[1]
    for size in (4, 16, 64, 256, 1024, 2048):  # spots to 2048 pixels
        noise = rng.randint(0, 256, (max(HEIGHT * size // 2048, 2), WIDTH * size // 2048 + 1, 3))
        spots = Image.fromarray(noise.astype(np.uint8)).resize(
            (WIDTH, HEIGHT), Image.Resampling.BICUBIC
        )
        pixels = pixels + (np.asarray(spots, np.float32) - 128) * (4 / size) ** 0.4
    return pixels.clip(0, 255).astype(np.uint8)


def make_folder(folder: Path, paths: list[Path], num_images: int, num_classes: int) -> Path:
    """A formatted folder of so many training images with random labels, one positive observed.

    The pictures are links to `paths`, which are taken again where there are fewer.
    """
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    rng = np.random.RandomState(0)
    parts = {
        name: _make_part(pictures, name, paths, count, num_classes, rng)
        for name, count in (("train", num_images), ("val", _NUM_VAL))
    }
    observed = {name: observe_labels(part.labels, 1, 0, 1200) for name, part in parts.items()}
    classes = tuple(f"class {column}" for column in range(num_classes))
    formatted = Formatted(parts["train"], parts["val"], classes)
    write_formatted(folder, formatted, "pictures", observed)
    return folder


def _make_part(
    pictures: Path,
    name: str,
    paths: list[Path],
    count: int,
    num_classes: int,
    rng: np.random.RandomState,
) -> Part:
    names = [f"{name}_{place:06}.jpg" for place in range(count)]
    for link, path in zip(names, islice(cycle(paths), count), strict=True):
        (pictures / link).symlink_to(path.resolve())
    return Part(np.array(names), random_labels(rng, count, num_classes))


def random_labels(rng: np.random.RandomState, num_images: int, num_classes: int) -> np.ndarray:
    """Labels int8 [N, K] in {0, 1}, of which every image has a positive one."""
    labels = (rng.rand(num_images, num_classes) < _SHARE_POSITIVE).astype(np.int8)
    labels[np.arange(num_images), rng.randint(num_classes, size=num_images)] = 1
    return labels
