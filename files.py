"""Files that are written whole or not at all, and locks that end with their process."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from cli import UserError, printable

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_TEMPORARY = ".tmp"  # the end of the names of files that are not whole yet


def write_atomically(
    path: Path,
    write: Callable[[BinaryIO], object],
    before_rename: Callable[[], object] = lambda: None,
) -> None:
    """Put what `write(file)` writes at `path`, whole and flushed to disk, or not at all.

    `before_rename` is called once it is on the disk, under another name. Raises UserError where it
    cannot be written.
    """
    temporary = _temporary(path)
    try:
        _write_flushed(temporary, write)
        before_rename()
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def replace_together(
    writes: Mapping[Path, Callable[[BinaryIO], object]], stale: Iterable[Path], marker: Path
) -> None:
    """Put what each of `writes` writes at its path and remove `stale`: all of it, or nothing.

    The files lie in one folder and take their places once all are on the disk. A process that is
    killed in that moment leaves some of each, and `marker`. Raises UserError where they cannot
    be written.
    """
    temporaries = {path: _temporary(path) for path in writes}
    path, begun = marker, False
    try:
        for path, write in writes.items():
            _write_flushed(temporaries[path], write)
        marker.touch()
        flush_folder(marker.parent)
        begun = True
        for path, temporary in temporaries.items():
            temporary.replace(path)
        for path in stale:
            path.unlink(missing_ok=True)
        flush_folder(marker.parent)
        marker.unlink()
        flush_folder(marker.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for leftover in [*temporaries.values(), *([] if begun else [marker])]:
            with contextlib.suppress(OSError):
                leftover.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")


def _write_flushed(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, whole and flushed to disk, or not at all.

    Half a line at its end, which a power loss may have left, is cut off. Raises UserError where it
    cannot be written.
    """
    try:
        with path.open("a+b", buffering=0) as file:
            file.seek(0)
            before = file.read().rfind(b"\n") + 1
            file.truncate(before)
            try:
                _write_all(file, f"{line}\n".encode(errors="backslashreplace"))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def check_writable(path: Path, is_folder: bool = False) -> None:
    """Raise UserError unless a file can be put at `path`, or files in a folder of that name.

    What is missing of the folders above is not made. A file that is there can be replaced.
    """
    try:
        if not is_folder and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not is_folder and path.exists() and not path.is_file():
            raise UserError(f"cannot write {path}: it is no regular file")
        folders = (path, *path.parents) if is_folder else path.parents
        there = next((folder for folder in folders if folder.exists()), Path())
        with tempfile.TemporaryFile(dir=there):  # what the mode of a folder says is not all
            pass
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder. Raises UserError where that cannot be found out."""
    try:
        return path.exists()
    except OSError as error:
        raise UserError(f"{path} cannot be reached: {error.strerror}") from None


def read_file(path: Path) -> bytes:
    """What a file holds. Raises UserError for one that is missing, unreadable, a pipe or the like.

    Of a pipe a reader might wait for ever.
    """
    if not is_there(path):
        raise UserError(f"{path} is missing")
    try:
        if not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def read_json(path: Path, trim: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    """The object in a JSON file, with each object in it as `trim` leaves it.

    Raises UserError where there is none.
    """
    try:
        content = json.loads(read_file(path).decode("utf-8-sig"), object_hook=trim)
    except UserError:
        raise
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8 text: save it as such") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object")
    return content


def remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed left in the folder; none may be writing there now."""
    for path in folder.glob(f".*{_TEMPORARY}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _write_all(file: FileIO, content: bytes) -> None:
    """Write it all: on a disk that is nearly full, the system takes a part at first."""
    while content:
        content = content[file.write(content) :]


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system has a way to."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of the file `path`, as `locked` takes it.

    False too where that cannot be found out. Not for a process that holds it: it would lose it.
    """
    try:
        import fcntl

        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        return error.filename is None  # of the lock, not of the opening
    except (ImportError, OSError):
        return False
    return False


def _take_lock(file: BinaryIO, wait: bool) -> None:
    """Lock it. Whoever looks whether it is locked, by `is_locked`, holds it for an instant."""
    import fcntl

    for pause in (0.02, 0.1) if not wait else ():
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(pause)
    fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@contextlib.contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Hold the lock of the file `path`, which is made if need be, and stays.

    The lock ends with this process, however that ends, and no process it forks has it. Where
    another holds it: `wait`, or BlockingIOError. On Windows nothing is locked.
    """
    if importlib.util.find_spec("fcntl") is None:
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # it may be a link, or a pipe
    with open(os.open(path, flags, 0o666), "wb") as file:
        try:
            _take_lock(file, wait)
        except PermissionError as error:  # what some systems say of a lock that another holds
            raise BlockingIOError(*error.args) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            said = printable(f"warning: {path.parent} lies on a disk without locks")
            print(said, file=sys.stderr)
        yield
