"""The folder of a run: which files are a run's, what they say of it, and its lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from cli import UserError
from files import is_there, locked, remove_temporaries

LAST, PREVIOUS, BEST, SUMMARY = "last.pt", "last.previous.pt", "bestmodel.pt", "summary.json"
HISTORY = "labels"  # the folder of what --audit labels keeps
POINTING, MAPS = "pointing.json", "maps.npz"  # what tools.explain finds out about the best model
EXPORTED = {"onnx": "bestmodel.onnx", "torch_export": "bestmodel.pt2"}  # by format, tools.export
LOCK = ".lock"


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to resume from."""
    return is_there(folder / LAST) or is_there(folder / PREVIOUS)


def is_started(folder: Path) -> bool:
    """Whether a run with a finished epoch lies in the folder."""
    return has_checkpoint(folder) or is_there(folder / SUMMARY)


def lock(folder: Path, held: contextlib.ExitStack) -> None:
    """Make the folder and hold its lock; what killed writers left in it is removed.

    Raises UserError where another process trains there, or something that no run writes stands in
    the place of one of its files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None
    if (folder / HISTORY).is_symlink():
        raise UserError(f"{folder / HISTORY} is a link: remove it, or give another --exp_name")
    for path in (*_files(folder), folder / LOCK):
        if is_there(path) and (path.is_symlink() or not path.is_file()):
            raise UserError(f"{path} is no plain file: remove it, or give another --exp_name")
    try:
        held.enter_context(locked(folder / LOCK, wait=False))
    except BlockingIOError:
        raise UserError(
            f"another process trains in {folder}: wait for it, or give another --exp_name"
        ) from None
    except OSError as error:
        raise UserError(f"cannot use the folder {folder}: {error.strerror}") from None
    for place in (folder, folder / HISTORY):
        remove_temporaries(place)


def clear(folder: Path) -> None:
    """Remove the files of a run, nothing else. Raises UserError where that may not be."""
    _remove(_files(folder))


def clear_evidence(folder: Path) -> None:
    """Remove what an earlier run without a checkpoint left to tell of its labels and its model."""
    _remove(_evidence(folder))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"--overwrite: cannot remove {path}: {error.strerror}") from None


def _files(folder: Path) -> list[Path]:
    """Where the files of a run lie, if they are there; those that mark it as one come first."""
    names = (
        SUMMARY, LAST, PREVIOUS, BEST, "metrics.csv", "curves.png", "config.json", "train.log",
    )  # fmt: skip
    beside = folder.glob("tensorboard/events.out.tfevents.*")
    return [*map(folder.joinpath, names), *_evidence(folder), *beside]


def _evidence(folder: Path) -> list[Path]:
    """What tells of a run's labels, and of its best model, if it is there."""
    names = [folder / name for name in (POINTING, MAPS, *EXPORTED.values())]
    return [
        *names,
        *folder.glob(f"{HISTORY}/linear_*.npz"),
        *folder.glob(f"{HISTORY}/finetune_*.npz"),
    ]
