"""Rows that are made once and kept: decoded images here, features of them in features.py.

Decoding a photograph costs far more than reading its pixels. On disk each table is one .npy file,
which all runs of a sweep map into memory. N images, S pixels to a side.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cli import printable
from files import locked
from image_files import ImageFiles
from loaders import Array, BatchOrder, batches, make_loader, progress

TOGETHER = (("train", "val"), ("test",))  # splits that share a file: another cut, the same file
_AT_ONCE = 64  # images to a batch while the cache is filled


class Decoded(Array):
    """Image files as pixels; `files` are those of all rows."""

    def __init__(self, rows: Tensor, files: ImageFiles, places: Tensor | None = None) -> None:
        super().__init__(rows, places)
        self.files = files

    def take(self, places: np.ndarray) -> Decoded:
        """The images at these places alone."""
        return Decoded(self.rows, self.files, self.places[torch.from_numpy(places)])


def keep_decoded(
    images: ImageFiles | Array, mode: str, folder: Path, num_workers: int
) -> ImageFiles | Array:
    """The same images, decoded once: `mode` is "none", "memory" or "disk" (in `folder`).

    Where memory or disk do not suffice, a warning, and the images as they were. Raises UserError
    for an image that cannot be read.
    """
    if mode == "none" or not isinstance(images, ImageFiles):
        return images
    make = partial(_decoded, images, num_workers)
    try:
        if mode == "disk":
            return Decoded(
                on_disk(folder / f"{fingerprint(images)}.npy", len(images), make), images
            )
        return Decoded(in_memory(len(images), make), images)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError where memory runs out
        needed = len(images) * 3 * images.size**2
        said = f"warning: no cache, {needed / 1e9:.1f} GB are needed: {error}"
        print(printable(said), file=sys.stderr)
        return images


def union(splits: Sequence[ImageFiles | Array]) -> tuple[ImageFiles | Array, list[np.ndarray]]:
    """All images of splits that are cut from the same, in order, and where those of each are.

    Files are in the order of their names. Another cut, the same images.
    """
    origins, chosen = zip(*map(_origin, splits), strict=True)
    assert len(set(origins)) == 1, "they lie in one folder, or are rows of one array"
    together = np.unique(np.concatenate(chosen))
    whole = copy.copy(splits[0])
    if isinstance(whole, ImageFiles):
        whole.names = together
    else:
        whole.places = torch.from_numpy(together)
    return whole, [np.searchsorted(together, own) for own in chosen]


def _origin(images: ImageFiles | Array) -> tuple[object, np.ndarray]:
    """What the images are cut from, and which of it they are."""
    if isinstance(images, ImageFiles):
        return (images.folder, images.size), images.names
    return id(images.rows), images.places.numpy()


def fingerprint(images: ImageFiles | Array) -> str:
    """A name for exactly these images at this size; it changes when a file does, or a pixel."""
    if isinstance(images, Decoded):
        images = images.files.take(images.places.numpy())
    return _of_files(images) if isinstance(images, ImageFiles) else _of_rows(images)


def _of_files(images: ImageFiles) -> str:
    def add(text: str) -> None:
        digest.update(text.encode("utf-8", "surrogatepass"))  # names need not be UTF-8

    digest = hashlib.sha256()
    add(f"2 {images.size} {images.folder.resolve()}")
    for name in images.names:
        add(f"\n{name}\0")
        with contextlib.suppress(OSError, ValueError):  # decoding it tells the user
            stat = (images.folder / str(name)).stat()
            add(f"{stat.st_size} {stat.st_mtime_ns}")
    return digest.hexdigest()[:32]


def _of_rows(images: Array) -> str:
    digest = hashlib.sha256(f"rows {images.rows.dtype} {tuple(images.rows.shape[1:])}".encode())
    for places in images.places.split(_AT_ONCE):
        digest.update(images.rows[places].contiguous().numpy().data)
    return digest.hexdigest()[:32]


def on_disk(path: Path, num_rows: int, make: Callable[[], Iterator[Tensor]]) -> Tensor:
    """The rows in a .npy file, mapped into memory; `make()` gives them in batches if need be.

    One process writes them, others wait for it. Raises OSError where that cannot be.
    """
    if not _is_whole(path, num_rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), wait=True):
            if not _is_whole(path, num_rows):  # else another process has just written it
                _write(path, num_rows, make())
    # copy-on-write, for torch has no read-only tensors; nothing ever writes to it
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def in_memory(num_rows: int, make: Callable[[], Iterator[Tensor]]) -> Tensor:
    """The rows that `make()` gives in batches, in one tensor."""
    rows, done = torch.empty(0), 0
    for batch in make():
        if not done:  # filled in place: to join the batches at the end would take twice the memory
            rows = torch.empty((num_rows, *batch.shape[1:]), dtype=batch.dtype)
        rows[done : done + len(batch)] = batch
        done += len(batch)
    return rows


def _is_whole(path: Path, num_rows: int) -> bool:
    """Whether the file is there, with as many rows, and as long as its header says."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return False
    return rows.shape[:1] == (num_rows,)


def _write(path: Path, num_rows: int, rows: Iterator[Tensor]) -> None:
    """Write the rows one batch after the other: a full disk is then an error, not a crash."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a process that was killed
        with contextlib.suppress(OSError):
            left.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # a disk may know no locks
    first = next(rows)
    needed = num_rows * first[0].nbytes
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(f"{path.parent} has no room for {needed / 1e9:.1f} GB")
    header = {
        "descr": np.lib.format.dtype_to_descr(first.numpy().dtype),
        "fortran_order": False,
        "shape": (num_rows, *first.shape[1:]),
    }
    try:
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for batch in chain([first], rows):
                file.write(batch.contiguous().numpy().data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _decoded(images: ImageFiles, num_workers: int) -> Iterator[Tensor]:
    order = BatchOrder(len(images), _AT_ONCE)
    loader = make_loader(images, order, num_workers, pin=False)
    steps = batches(loader, torch.device("cpu"))
    for batch, _ in progress(steps, len(order), "decode"):
        yield batch
