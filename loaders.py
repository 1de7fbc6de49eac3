"""Images on their way to the device: files or arrays, the order of mini-batches, loaders.

Letters in shapes: B images of a mini-batch, N of a split, H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cli import UserError

Batch = tuple[Tensor, Tensor]  # images uint8 [B, 3, H, W] (or features float [B, D]), index [B]


class Array(Dataset):
    """Images or features held in memory or mapped from a file: uint8 [N, 3, H, W], float [N, D].

    `places` are the rows that count, in order; all of them where it is None.
    """

    def __init__(self, rows: Tensor, places: Tensor | None = None) -> None:
        self.rows = rows
        self.places = torch.arange(len(rows)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, index: Sequence[int]) -> Batch:
        """The rows of a whole mini-batch, with their index."""
        chosen = torch.as_tensor(index)
        return self.rows[self.places[chosen]], chosen

    def take(self, places: np.ndarray) -> Array:
        """The rows at these places alone; nothing is copied."""
        return Array(self.rows, self.places[torch.from_numpy(places)])


class ImageFiles(Dataset):
    """Image files, decoded to RGB and resized to a square without cropping."""

    def __init__(self, folder: Path, names: np.ndarray, size: int) -> None:
        self.folder, self.names, self.size = folder, names, size

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, index: Sequence[int]) -> Batch | UserError:
        """A mini-batch; an image that cannot be read comes back as the error that names it.

        Raised in a worker process, the error would arrive wrapped in a traceback.
        """
        try:
            images = [read_image(self.folder / str(self.names[i]), self.size) for i in index]
        except UserError as error:
            return error
        return torch.stack(images), torch.as_tensor(index)

    def take(self, places: np.ndarray) -> ImageFiles:
        """The files at these places alone."""
        return ImageFiles(self.folder, self.names[places], self.size)


def read_image(path: Path, size: int) -> Tensor:
    """An image file as uint8 [3, size, size], RGB, resized with antialiasing, not cropped.

    Raises UserError, naming the file, for one that is missing or no image.
    """
    from torchvision.transforms.v2.functional import resize

    return resize(_decode(path), [size, size], antialias=True)


def _decode(path: Path) -> Tensor:
    """uint8 [3, H, W], by torchvision's decoder, which is fast; by PIL what that refuses.

    Newer releases of torchvision announce that they will drop their decoder.
    """
    try:
        from torchvision.io import ImageReadMode, decode_image

        image = decode_image(str(path), mode=ImageReadMode.RGB)
    except (ImportError, RuntimeError):
        return _decode_with_pil(path)
    if image.dtype == torch.uint16:  # a PNG of 16 bits
        image = (image.float() / 257).round().to(torch.uint8)
    return image[0] if image.ndim == 4 else image  # the first picture of an animation


def _decode_with_pil(path: Path) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits, which PIL would clip to white
                image = Image.fromarray((np.array(image) / 257).round().astype(np.uint8))
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    except FileNotFoundError:
        raise UserError(f"image {path} is missing: put it there") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"image {path} cannot be read ({error}): replace it") from None


class BatchOrder(Sampler):
    """The mini-batches of an epoch as lists of positions; the last one may be smaller.

    With a seed they are shuffled anew for each `epoch`, depending on (seed, epoch) alone.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int | None = None) -> None:
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.epoch = 1

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(self.num_images)
        if self.seed is not None:
            order = torch.randperm(self.num_images, generator=epoch_rng(self.seed, self.epoch))
        return iter(batch.tolist() for batch in order.split(self.batch_size))


def epoch_rng(seed: int, epoch: int, purpose: int = 0) -> torch.Generator:
    """A random generator for one epoch and purpose; no two of them are correlated."""
    state = np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def make_loader(images: Dataset, order: BatchOrder, num_workers: int, pin: bool) -> DataLoader:
    """A loader of `images` in that `order`, with at most a worker a core, none for arrays."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(num_workers, cores or 1) if isinstance(images, ImageFiles) else 0
    return DataLoader(
        images,
        batch_sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        collate_fn=_as_is,
        generator=torch.Generator(),  # else the workers' seeds would draw on the global one
    )


def _as_is(batch: Any) -> Any:
    return batch


def batches(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
    """The mini-batches on the device. Raises UserError for an image that cannot be read."""
    for batch in loader:
        if isinstance(batch, UserError):
            raise UserError(str(batch))
        images, index = batch
        yield images.to(device, non_blocking=True), index.to(device, non_blocking=True)
