"""What a model makes of image files, some of which may not be readable.

Letters in shapes: B images of a mini-batch, N that could be read, K classes, h x w places of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from evaluation import AT_ONCE
from hardware import Hardware
from image_files import BadImage, read_image
from loaders import BatchOrder, make_loader, progress
from models import ImageClassifier
from tools.metrics import probabilities

Seen = Callable[[Sequence[Path], np.ndarray, Tensor], object]


class Predictions(NamedTuple):
    """Scores of the images that could be read, and what is wrong with the others."""

    scores: np.ndarray  # float32 [N, K], sigmoids in 0..1
    classes: tuple[str, ...]  # [K]
    images: list[Path]  # [N]
    bad: list[BadImage]  # each with its `path` and its `reason`


class _Files(Dataset):
    """Image files as the images of a run are read, those left out that cannot be."""

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths, self.size = paths, size

    def __getitems__(self, index: Sequence[int]) -> tuple[Tensor, list[int], list[BadImage]]:
        """Of a mini-batch the images uint8 [B, 3, H, W], their places, and the bad ones."""
        images, places, bad = [torch.empty(0, 3, self.size, self.size, dtype=torch.uint8)], [], []
        for place in index:
            try:
                images.append(read_image(self.paths[place], self.size)[None])
                places.append(place)
            except BadImage as error:
                bad.append(error)
        return torch.cat(images), places, bad


class Batches(NamedTuple):
    """How images are read: so many at once as in training, at this size, by so many workers."""

    bsize: int
    image_size: int
    num_workers: int


@torch.inference_mode()
def score(
    model: ImageClassifier,
    paths: Sequence[Path],
    classes: tuple[str, ...],
    how: Batches,
    hardware: Hardware,
    seen: Seen | None = None,
) -> Predictions:
    """The scores that the model gives these files, as in the evaluation of a run.

    Batches are as large as there. `seen` is shown the paths [B] of every mini-batch, its scores
    [B, K], and its class maps [B, K, h, w], which are made for it alone.
    """
    model.to(hardware.device).eval()
    order = BatchOrder(len(paths), AT_ONCE * how.bsize)
    loader = make_loader(_Files(paths, how.image_size), order, how.num_workers, pin=False)
    parts, images, bad = [np.empty((0, len(classes)), np.float32)], [], []
    for x, places, errors in progress(loader, len(loader), "predict"):
        bad += errors
        if not places:
            continue
        own, x = [paths[place] for place in places], x.to(hardware.device)
        with hardware.autocast():
            scores = probabilities(model(x).float().cpu().numpy())
        if seen:
            with hardware.autocast():
                seen(own, scores, model.class_maps(x).float().cpu())
        parts.append(scores)
        images += own
    return Predictions(np.concatenate(parts), classes, images, bad)
