"""Images on their way to the device: files or arrays, the order of mini-batches, loaders.

Letters in shapes: B images of a mini-batch, N of a split, H x W pixels.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

import stopping
from cli import OwnTrouble, UserError
from processes import ALONE, Processes

# what the machine is short of, or a network drive that is away: no fault of a file
_NOT_THE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE)
_LARGE = 2**16  # bytes of a row
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

    def __getitems__(self, index: Sequence[int]) -> Batch | BadImage:
        """A mini-batch; an image that cannot be read comes back as the error that names it.

        Raised in a worker process, the error would arrive wrapped in a traceback.
        """
        try:
            images = [read_image(self.folder / str(self.names[i]), self.size) for i in index]
        except BadImage as error:
            return error
        return torch.stack(images), torch.as_tensor(index)

    def take(self, places: np.ndarray) -> ImageFiles:
        """The files at these places alone."""
        return ImageFiles(self.folder, self.names[places], self.size)


class BadImage(UserError):
    """An image file that cannot be read: its `path`, and the `reason` in a few words."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)  # both, so that it comes whole out of a worker process
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"image {self.path} {self.reason}: replace it, or give --on_bad_image skip"


def read_image(path: Path, size: int | None) -> Tensor:
    """An image file as uint8 [3, size, size], RGB, resized with antialiasing, not cropped.

    Without a size it stays as large as it is, [3, H, W]. Raises BadImage for one that is missing,
    damaged, no image or too large.
    """
    from PIL import Image, UnidentifiedImageError
    from torchvision.transforms.v2.functional import resize

    try:
        _check_file(path)
        image = _decode(path)
        return image if size is None else resize(image, [size, size], antialias=True)
    except (BadImage, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise BadImage(
            path, f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        ) from None
    except UnidentifiedImageError:
        raise BadImage(path, "is no image of a known format") from None
    except Exception as error:  # on damaged data PIL's decoders raise nearly anything
        if getattr(error, "errno", None) in _NOT_THE_FILES:
            raise
        words = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(path, f"cannot be read ({words})") from None


def _check_file(path: Path) -> None:
    """Raise BadImage for what could not be opened, or for which opening would wait for ever."""
    if not path.exists():
        raise BadImage(path, "is missing")
    if not path.is_file():
        raise BadImage(path, "is no regular file")
    if not path.stat().st_size:
        raise BadImage(path, "is empty")


def _decode(path: Path) -> Tensor:
    """uint8 [3, H, W], what PIL's convert("RGB") gives; of an animation the first picture.

    PIL reads the header first: it refuses what would fill the memory, and torchvision does not.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of files that it reads all the same
        with Image.open(path) as image:
            if image.format == "JPEG":
                with contextlib.suppress(
                    ImportError, RuntimeError
                ):  # what it refuses, PIL may read
                    return _decode_jpeg(path)
            if image.mode[0] in "IF":
                image = Image.fromarray(_to_bytes(np.array(image)))
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def _decode_jpeg(path: Path) -> Tensor:
    """The same by torchvision, which is faster; on a damaged PNG its decoder ends the process.

    Newer releases announce that they will drop it.
    """
    from torchvision.io import ImageReadMode, decode_image

    return decode_image(str(path), mode=ImageReadMode.RGB)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Grey values of 16 bits, or floats up to 1 or up to 255, as uint8; PIL would clip them."""
    white = 65535 if values.dtype.kind in "iu" else 1 if values.max() <= 1 else 255
    if not (values.min() >= 0 and values.max() <= white):
        raise ValueError(f"its values {values.min()} to {values.max()} are not in 0 to {white}")
    return (values / white * 255).round().astype(np.uint8)


class Purpose(enum.IntEnum):
    """What the random numbers of an epoch are for."""

    ORDER = 0
    FLIPS = 1
    LAYERS = 2
    LINEAR_ORDER = 3
    SCHEME = 4  # what it starts from, before the first epoch


class BatchOrder(Sampler):
    """The mini-batches of an epoch as lists of positions; the last one may be smaller.

    With a seed they are shuffled anew for each `epoch`, depending on (seed, epoch) and the purpose
    alone. Each of several processes goes through its share of every mini-batch.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int | None = None,
        purpose: Purpose = Purpose.ORDER,
        processes: Processes = ALONE,
    ) -> None:
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.purpose, self.epoch, self.processes = purpose, 1, processes

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.processes.own(batch).tolist() for batch in self.whole())

    def whole(self) -> Sequence[Tensor]:
        """The positions [B] of each mini-batch, those of all processes."""
        order = torch.arange(self.num_images)
        if self.seed is not None:
            rng = epoch_rng(self.seed, self.epoch, self.purpose)
            order = torch.randperm(self.num_images, generator=rng)
        return order.split(self.batch_size)


class DealtOrder(BatchOrder):
    """The mini-batches in order, of which each of several processes goes through whole ones.

    So it makes of an image what a process alone would, to the bit: that may hang on how many images
    are with it.
    """

    def __init__(self, num_images: int, batch_size: int, processes: Processes = ALONE) -> None:
        super().__init__(num_images, batch_size, processes=processes)

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.whole()
        return iter(batches[place].tolist() for place in self._own())

    @property
    def lengths(self) -> list[int]:
        """How many images of the split each process goes through."""
        sizes = torch.tensor([len(batch) for batch in self.whole()])
        return [int(part.sum()) for part in sizes.tensor_split(self.processes.size)]

    def _own(self) -> list[int]:
        """Which mini-batches; at least one, whose images count where they belong alone."""
        return self.processes.own(torch.arange(super().__len__())).tolist()


def epoch_rng(seed: int, epoch: int, purpose: int = Purpose.ORDER) -> torch.Generator:
    """A random generator for one epoch and purpose; no two of them are correlated."""
    state = np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


class Loader(DataLoader):
    """A DataLoader whose workers may begin to fetch before it is asked for its mini-batches."""

    _begun: Iterator | None = None

    def begin(self, epoch: int = 1) -> None:
        """Go on to that epoch, and let the workers fetch its first mini-batches."""
        assert isinstance(self.batch_sampler, BatchOrder)
        self.batch_sampler.epoch = epoch
        if self.num_workers:
            self._begun = super().__iter__()

    def __iter__(self) -> Any:
        begun, self._begun = self._begun, None
        return super().__iter__() if begun is None else begun


def make_loader(images: Dataset, order: BatchOrder, num_workers: int, pin: bool) -> Loader:
    """A loader of `images` in that `order`, with at most a worker a core.

    `pin`: into memory from which a GPU copies by itself. Arrays are read by workers where their
    rows are large and something waits for them meanwhile, a GPU; else in the main process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers, context = min(num_workers, cores or 1), None
    if isinstance(images, Array):
        can_share = "fork" in multiprocessing.get_all_start_methods()
        if pin and can_share and images.rows[:1].nbytes >= _LARGE:
            context = "fork"  # else the rows would be copied
        else:
            workers = 0
    return Loader(
        images,
        batch_sampler=order,
        num_workers=workers,
        multiprocessing_context=context if workers else None,
        persistent_workers=workers > 0,
        pin_memory=pin,
        collate_fn=_as_is,
        worker_init_fn=ignore_ctrl_c,
        generator=torch.Generator(),  # else the workers' seeds would draw on the global one
    )


def ignore_ctrl_c(worker: int) -> None:
    """Let the main process alone decide what Ctrl-C means: a terminal sends it to all of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_is(batch: Any) -> Any:
    return batch


def batches(
    loader: DataLoader, device: torch.device, then: Callable[[], object] | None = None
) -> Iterator[Batch]:
    """The images of each mini-batch on the device, their index on the CPU.

    `then` is called once the workers have nothing left to do: to begin with what comes next.
    Raises OwnTrouble for an image that cannot be read.
    """
    last_fetched = len(loader) - 1 - (loader.prefetch_factor or 0) * loader.num_workers
    for place, batch in enumerate(loader):
        if then is not None and place == max(last_fetched, 0):
            then()
        if isinstance(batch, UserError):
            raise OwnTrouble(str(batch))
        images, index = batch
        yield images.to(device, non_blocking=True), index


def progress(steps: Iterable, total: int, title: str) -> Iterator:
    """The same steps, with a bar if a person looks on. A stop signal ends them."""
    for step in tqdm(steps, title, total, leave=False, disable=not sys.stderr.isatty()):
        stopping.check()
        yield step
