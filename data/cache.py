"""Decoded images, kept: decoding a photograph costs far more than reading its pixels.

On disk they lie in one .npy file a set and image size, which all runs of a sweep map into memory.
N images, S pixels to a side.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cli import printable
from files import locked
from loaders import Array, BatchOrder, ImageFiles, batches, make_loader, progress

_AT_ONCE = 64  # images to a batch while the cache is filled


def keep_decoded(
    images: ImageFiles | Array, mode: str, folder: Path, num_workers: int
) -> ImageFiles | Array:
    """The same images, decoded once: `mode` is "none", "memory" or "disk" (in `folder`).

    Where memory or disk do not suffice, a warning, and the images as they were. Raises UserError
    for an image that cannot be read.
    """
    if mode == "none" or not isinstance(images, ImageFiles):
        return images
    needed = len(images) * 3 * images.size**2
    try:
        if mode == "disk":
            return _on_disk(images, folder, needed, num_workers)
        rows = torch.empty((len(images), 3, images.size, images.size), dtype=torch.uint8)
        for batch, index in _decoded(images, num_workers):
            rows[index] = batch
        return Array(rows)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError where memory runs out
        said = f"warning: no cache, {needed / 1e9:.1f} GB are needed: {error}"
        print(printable(said), file=sys.stderr)
        return images


def fingerprint(images: ImageFiles) -> str:
    """A name for exactly these files, decoded to this size; it changes when a file does."""
    digest = hashlib.sha256(f"1 {images.size} {images.folder.resolve()}".encode())
    for name in images.names:
        with contextlib.suppress(FileNotFoundError):  # decoding it tells the user
            stat = (images.folder / str(name)).stat()
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _on_disk(images: ImageFiles, folder: Path, needed: int, num_workers: int) -> Array:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{fingerprint(images)}.npy"
    with locked(path.with_suffix(".lock"), wait=True):
        if not _is_whole(path):
            if shutil.disk_usage(folder).free < needed:
                raise OSError(f"{folder} has too little space")
            _write(images, path, num_workers)
    # copy-on-write, for torch has no read-only tensors; nothing ever writes to it
    return Array(torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)))


def _is_whole(path: Path) -> bool:
    """Whether the file is there, and as long as its header says."""
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return False
    return True


def _write(images: ImageFiles, path: Path, num_workers: int) -> None:
    """Write the pixels one batch after the other: a full disk is then an error, not a crash."""
    shape = (len(images), 3, images.size, images.size)
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for batch, _ in _decoded(images, num_workers):
                file.write(batch.numpy().data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _decoded(images: ImageFiles, num_workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    order = BatchOrder(len(images), _AT_ONCE)
    loader = make_loader(images, order, num_workers, pin=False)
    steps = batches(loader, torch.device("cpu"))
    yield from progress(steps, len(order), "decode")
