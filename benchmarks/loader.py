"""How fast images come: python -m benchmarks.loader

Measures input alone, by one worker unless told otherwise: JPEGs to mini-batches that could go to
the network. The baseline opens, resizes, flips and normalises each image in the worker and sends
floats and labels. Ours sends uint8 images (uncached), or reads those that were decoded once from
the disk (cached; the main process does that); flip and normalisation are done on the device,
by the mini-batch, and are not in these numbers: `device_ms_per_image` is their cost. Workers are
started before, and the files lie in the memory of the machine after the first epoch.
`mean_difference_of_255`: of our pixels from PIL's, on at most 64 images.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

import cli
from benchmarks import baseline
from benchmarks.flags import add_images, add_number, add_pairs
from benchmarks.output import add_out, publish
from benchmarks.pairs import compared, median, rates, rounded, seconds_of
from benchmarks.photographs import make_photographs, photographs
from cli import UserError
from data.cache import keep_decoded
from image_files import ImageFiles, read_image
from loaders import Array, BatchOrder, make_loader
from models import ImageClassifier
from train import flip

NUM_CLASSES = 80  # of the baseline's labels
_MOST_COMPARED = 64
_TIMES = 20  # that flip and normalisation are measured


def measure(paths: Sequence[Path], place: Path, args: Namespace) -> dict[str, Any]:
    """Images per second of the baseline and ours, cached in `place` and not."""
    files = _image_files(paths, args.image_size)
    labels = torch.zeros(len(paths), NUM_CLASSES)
    plain = baseline.Photographs(paths, labels, args.image_size)
    decoded = keep_decoded(files, "disk", place, args.num_workers)
    if decoded is files:
        raise UserError(f"{place} has no room for the decoded images: give a smaller --count")
    uncached = _our_loader(files, args.bsize, args.num_workers)
    loaders = {
        "baseline": baseline.make_loader(plain, args.bsize, uncached.num_workers),
        "uncached": uncached,
        "cached": _our_loader(decoded, args.bsize, args.num_workers),
    }
    epochs = {name: _Epoch(loader, len(paths)) for name, loader in loaders.items()}
    found = rates(epochs, args.pairs, args.seconds)
    ours = {}
    for kind in ("uncached", "cached"):
        ours[kind] = compared(found["baseline"], found[kind])
        ours[kind].pop("baseline_images_per_s")
    return {
        "images": len(paths),
        "image_size": args.image_size,
        "bsize": args.bsize,
        "num_workers": uncached.num_workers,
        "pairs": args.pairs,
        "baseline_images_per_s": median(found["baseline"]),
        **ours,
        "device_ms_per_image": device_ms_per_image(args.bsize, args.image_size),
        "mean_difference_of_255": mean_difference(paths[:_MOST_COMPARED], args.image_size),
    }


class _Epoch:
    """All mini-batches of a loader; the result is the number of images."""

    def __init__(self, loader: DataLoader, num_images: int) -> None:
        self.loader, self.num_images = loader, num_images

    def __call__(self) -> int:
        for _ in self.loader:
            pass
        return self.num_images


def _image_files(paths: Sequence[Path], size: int) -> ImageFiles:
    return ImageFiles(Path("/"), np.array([str(path.resolve())[1:] for path in paths]), size)


def _our_loader(images: ImageFiles | Array, batch_size: int, num_workers: int) -> DataLoader:
    order = BatchOrder(len(images), batch_size, seed=0)
    return make_loader(images, order, num_workers, torch.cuda.is_available())


def device_ms_per_image(batch_size: int, size: int) -> float:
    """What flip and normalisation of a mini-batch cost on the device, by the image."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8, device=device)
    prepare = ImageClassifier(nn.Identity(), 3, 1).to(device).feature_map
    chosen = torch.arange(batch_size) % 2 == 0
    steps = [seconds_of(lambda: prepare(flip(images, chosen))) for _ in range(_TIMES)]
    return rounded(1000 * statistics.median(steps[1:]) / batch_size)


def mean_difference(paths: Sequence[Path], size: int) -> float:
    """How far our pixels are from those that PIL decodes and resizes, of 255, on average."""
    resize = transforms.Resize((size, size))
    differences = []
    for path in paths:
        with Image.open(path) as image:
            theirs = np.array(resize(image.convert("RGB")), dtype=np.int16)
        ours = read_image(path, size).permute(1, 2, 0).numpy()
        differences.append(np.abs(ours - theirs).mean())
    return rounded(float(np.mean(differences)))


def main(argv: Sequence[str]) -> None:
    """Measure how fast mini-batches come out of JPEGs: the usual pipeline beside ours."""
    parser = cli.Parser(prog="python -m benchmarks.loader", description=main.__doc__)
    add_images(parser)
    add_number(parser, "--count", "images, fewer where the folder has fewer", 64, 1, 10**6)
    add_number(parser, "--image_size", "pixels, side of the square", 448, 8, 4096)
    add_number(parser, "--bsize", "images in a mini-batch", 16, 1, 2**20)
    help = "processes that read images, at most one a core"
    add_number(parser, "--num_workers", help, 1, 0, 256)
    add_pairs(parser, pairs=5, seconds=2.0)
    add_out(parser)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="loader-") as place:
        if args.images:
            paths = list(itertools.islice(photographs(args.images), args.count))
        else:
            paths = make_photographs(Path(place, "made"), args.count)
        publish(measure(paths, Path(place), args), args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
