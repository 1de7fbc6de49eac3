"""Images on their way to the device: arrays, the order of mini-batches, loaders.

Letters in shapes: B images of a mini-batch, N of a split, H x W pixels.
"""

from __future__ import annotations

import enum
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

import stopping
from cli import OwnTrouble, UserError
from image_files import Batch
from processes import ALONE, Processes

_LARGE = 2**16  # bytes of a row


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
    for place, batch in enumerate(loader):
        if then is not None and place == _all_asked_for(loader):
            then()
        if isinstance(batch, UserError):
            raise OwnTrouble(str(batch))
        images, index = batch
        yield images.to(device, non_blocking=True), index


def _all_asked_for(loader: DataLoader) -> int:
    """The first place at which the workers have been asked for every mini-batch."""
    return max(len(loader) - 1 - (loader.prefetch_factor or 0) * loader.num_workers, 0)


def progress(steps: Iterable, total: int, title: str) -> Iterator:
    """The same steps, with a bar if a person looks on. A stop signal ends them."""
    for step in tqdm(steps, title, total, leave=False, disable=not sys.stderr.isatty()):
        stopping.check()
        yield step
