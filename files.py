"""Files that are written whole or not at all, and locks that end with their process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from cli import UserError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Put what `write(file)` writes at `path`, whole and flushed to disk, or not at all.

    Raises UserError where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system has a way to."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Hold the lock of the file `path`, which is made if need be, and stays.

    The lock ends with this process, however that ends. Where another holds it: `wait`, or
    BlockingIOError. On Windows nothing is locked.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
