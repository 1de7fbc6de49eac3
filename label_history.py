"""What became of every training label, epoch by epoch: its loss, and whether it was selected.

Kept where `--audit labels` asks for it, a file an epoch in the folder `labels` of the run. The loss
is the plain Assume Negative loss on the human label, as it was when its image was trained on.

Letters in shapes: B images of a mini-batch, N of the training split, K classes, T epochs.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cli import UserError
from files import read_file, write_atomically
from folder import HISTORY

MOST_LABELS = 500_000_000  # 1.5 GB on the device, at most 1.1 GB of disk an epoch
_HEADER = 1024  # bytes at most before an array in a file


class LabelHistory:
    """The losses and selections of the epoch under way, on the device."""

    def __init__(self, num_images: int, num_classes: int, device: torch.device | str) -> None:
        """Raises UserError for more labels than can be kept."""
        if num_images * num_classes > MOST_LABELS:
            raise UserError(
                f"--audit labels keeps the loss of each of {num_images:,} x {num_classes:,} "
                f"labels, at most {MOST_LABELS:,} are possible: take a part of the images by "
                "--ss_frac_train, or --audit means"
            )
        self._loss = torch.zeros(num_images, num_classes, dtype=torch.float16, device=device)
        self._selected = torch.zeros(num_images, num_classes, dtype=torch.bool, device=device)
        self._selects = False

    @torch.no_grad()
    def update(self, index: Tensor, loss: Tensor, selected: Tensor | None) -> None:
        """Take down a mini-batch: `index` [B]; `loss` [B, K]; `selected` bool [B, K] or None."""
        self._loss[index] = loss.clamp(max=torch.finfo(torch.float16).max).half()
        self._selects |= selected is not None
        if selected is not None:
            self._selected[index] = selected

    def write(self, folder: Path, phase: str, epoch: int, before_rename: Callable) -> None:
        """Write the epoch's file in the run's folder, once every image has been seen."""
        arrays: dict[str, Any] = {"loss": self._loss.cpu().numpy()}
        if self._selects:
            arrays["selected"] = np.packbits(self._selected.cpu().numpy(), axis=1)
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        path = history_path(folder, phase, epoch)
        write_atomically(path, lambda file: file.write(packed.getbuffer()), before_rename)


class History(NamedTuple):
    """The labels of a training split through the epochs of a phase."""

    loss: np.ndarray  # float16 [T, N, K]
    selected: np.ndarray | None  # bool [T, N, K]; None: the scheme selects nothing


def history_path(folder: Path, phase: str, epoch: int) -> Path:
    """Where an epoch's losses and selections lie in the folder of a run."""
    return folder / HISTORY / f"{phase}_{epoch:03}.npz"


def read_history(folder: Path, phase: str, epochs: int, shape: Sequence[int]) -> History:
    """All epochs of a phase; `shape`: (N, K). Raises UserError where they are not all there."""
    read = [_read(history_path(folder, phase, epoch + 1), shape) for epoch in range(epochs)]
    selected = [chosen for _, chosen in read if chosen is not None]
    if selected and len(selected) < epochs:
        raise UserError(f"{folder / HISTORY} holds selections of some epochs only: train it again")
    loss = np.stack([loss for loss, _ in read])
    return History(loss, np.stack(selected) if selected else None)


def _read(path: Path, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Loss and selection [N, K] of one epoch."""
    if not path.is_file():
        raise UserError(f"{path} is missing: train the run with --audit labels")
    num_images, num_classes = shape
    expected = {"loss": (np.dtype(np.float16), (num_images, num_classes)),
                "selected": (np.dtype(np.uint8), (num_images, -(-num_classes // 8)))}  # fmt: skip
    arrays = _arrays(path, 2 * _HEADER + 3 * num_images * (num_classes + 1))
    for name, array in arrays.items():
        if (array.dtype, array.shape) != expected[name]:
            raise UserError(f"{path} is of another run: {name} must be of {num_images:,} images "
                            f"and {num_classes:,} classes")  # fmt: skip
    if "loss" not in arrays:
        raise UserError(f"{path} holds no loss: train the run again")
    bits = arrays.get("selected")
    selected = None if bits is None else np.unpackbits(bits, axis=1, count=num_classes).astype(bool)
    return arrays["loss"], selected


def _arrays(path: Path, most_bytes: int) -> dict[str, np.ndarray]:
    """Loss and selection in a file that holds no pickle and at most so many bytes."""
    packed = io.BytesIO(read_file(path))
    try:
        with zipfile.ZipFile(packed) as archive:
            if sum(member.file_size for member in archive.infolist()) > most_bytes:
                raise UserError(f"{path} is of another run: it holds more than this one has")
        with np.load(packed, allow_pickle=False) as file:
            return {name: file[name] for name in ("loss", "selected") if name in file.files}
    except UserError:
        raise
    except Exception:  # on damaged data zipfile and numpy's parser raise nearly anything
        raise UserError(f"{path} is damaged: train the run again") from None
