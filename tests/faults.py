"""Runs as real processes that cost no import, and faults inside their writes.

`start` forks main.py from a server that has imported everything. A `Fault` strikes when the process
reaches one of its writes: it dies by SIGKILL there, or finds the disk full from then on. The hooks
are patched in from outside; the product knows of none. Linux alone.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import cli
import main
from config import Config
from naming import written

KILLED = -signal.SIGKILL
KINDS = ("half", "fsync", "rename", "renamed")  # inside a write, and before or after what follows
_PRELOADED = (
    "tests.faults", "train", "matplotlib.figure", "matplotlib.backends.backend_agg",
    "sklearn.metrics", "torchvision.io", "torchvision.transforms.v2.functional",
)  # fmt: skip
_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")
_bookkeeping = threading.Lock()  # multiprocessing counts its children without one


@dataclass(frozen=True)
class Fault:
    """The `number`-th event of a kind on a file of the run, counted from 0, and what happens."""

    file: str
    kind: str
    number: int = 0
    full: bool = False  # the disk is full from then on; else the process is killed


def words_of(config: Config, *actions: str) -> list[str]:
    """The command line of these settings."""
    settings = {name: value for name, value in config.settings().items() if name != "weights"}
    pairs = ((f"--{name}", written(value)) for name, value in settings.items())
    return [*itertools.chain.from_iterable(pairs), *actions]


@dataclass(frozen=True)
class Started:
    """A process of main.py, with the files that take what it prints and which writes it made."""

    process: Any
    output: Path

    def status(self, timeout: float = 120) -> int | None:
        """The exit status, -9 after SIGKILL, or None while it runs on."""
        wait([self.process.sentinel], timeout)
        with _bookkeeping:
            self.process.join(0)
            return self.process.exitcode

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.kill()
        self.status()

    @property
    def out(self) -> str:
        return (self.output / "out").read_text()

    @property
    def err(self) -> str:
        return (self.output / "err").read_text()

    @property
    def events(self) -> list[tuple[str, str]]:
        """(file, kind) of every event of a process that was started with `record`."""
        lines = (self.output / "events").read_text().splitlines()
        return [(file, kind) for file, kind in map(json.loads, lines)]


def start(
    words: Sequence[str],
    output: Path,
    folder: Path,
    fault: Fault | None = None,
    record: bool = False,
    before: Callable[[], object] | None = None,
) -> Started:
    """Start main.py with these words; `folder` is that of its run, `before` is called first."""
    output.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    method = multiprocessing.get_start_method()
    process = context.Process(
        target=_child, args=(method, words, output, folder, fault, record, before)
    )
    with _bookkeeping:
        process.start()
    return Started(process, output)


def _child(
    method: str,
    words: Sequence[str],
    output: Path,
    folder: Path,
    fault: Fault | None,
    record: bool,
    before: Callable[[], object] | None,
) -> None:
    for number, name in ((1, "out"), (2, "err")):
        handle = os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(handle, number)
        os.close(handle)
    multiprocessing.set_start_method(method, force=True)  # as without the server
    sys.argv = ["main.py", *words]
    if fault or record:
        _Hooks(folder, fault, output / "events" if record else None).install()
    if before:
        before()
    sys.exit(cli.run(main.main, words))


class _Hooks:
    """Counts what this process does to the files of a folder, and strikes at the chosen event."""

    def __init__(self, folder: Path, fault: Fault | None, events: Path | None) -> None:
        self.folder, self.fault = os.path.realpath(folder), fault
        self.events = events.open("w", buffering=1) if events else None
        self.counts: Counter[tuple[str, str]] = Counter()
        self.is_full = False

    def install(self) -> None:
        """Watch every way to write, flush or rename a file."""
        self._open, self._fsync, self._write = builtins.open, os.fsync, os.write
        builtins.open = io.open = self.open  # type: ignore[assignment]
        os.fsync, os.write = self.fsync, self.write  # type: ignore[assignment]
        for name in ("replace", "rename", "link"):
            setattr(os, name, self._watched(getattr(os, name)))
        # pathlib of Python 3.10 keeps references of its own
        Path.open = lambda path, *rest, **options: self.open(path, *rest, **options)  # type: ignore
        Path.replace = lambda path, target: os.replace(path, target) or Path(target)  # type: ignore

    def open(self, path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        file = self._open(path, mode, *rest, **options)
        writes = set(mode) & set("wax+") and not isinstance(path, int)
        return _File(file, os.fsdecode(path), self) if writes and self._name(path) else file

    def write(self, handle: int, content: Any) -> int:
        self.on_write(_path_of(handle), content, lambda part: self._write(handle, part))
        return self._write(handle, content)

    def fsync(self, handle: int) -> None:
        self._on("fsync", _path_of(handle))
        self._fsync(handle)

    def on_write(self, path: str, content: Any, write: Callable[[Any], object]) -> None:
        """Before `content` is written: half of it goes to the file if the fault strikes here."""
        if self._due("half", path):
            write(content[: len(content) // 2])
            self._strike()

    def _watched(self, rename: Callable[..., None]) -> Callable[..., None]:
        def watched(source: Any, target: Any, **options: Any) -> None:
            self._on("rename", target)
            rename(source, target, **options)
            self._on("renamed", target)

        return watched

    def _on(self, kind: str, path: Any) -> None:
        if self._due(kind, path):
            self._strike()

    def _due(self, kind: str, path: Any) -> bool:
        name = self._name(path)
        if not name:
            return False
        number = self.counts[name, kind]
        self.counts[name, kind] += 1
        if self.events:
            print(json.dumps([name, kind]), file=self.events)
        fault = self.fault
        struck = fault and (fault.file, fault.kind, fault.number) == (name, kind, number)
        return bool(struck) or (self.is_full and kind == "half")

    def _strike(self) -> None:
        assert self.fault
        if not self.fault.full:
            os.kill(os.getpid(), signal.SIGKILL)
        self.is_full = True
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _name(self, path: Any) -> str:
        """What the file of the run is called, also while it is a temporary one; "" for others."""
        parent, name = os.path.split(os.path.realpath(os.fsdecode(path)))
        if not (parent + os.sep).startswith(self.folder + os.sep):
            return ""
        temporary = _TEMPORARY.fullmatch(name)
        return temporary[1] if temporary else "events" if "tfevents" in name else name


class _File:
    """An open file whose writes are watched."""

    def __init__(self, file: Any, path: str, hooks: _Hooks) -> None:
        self._file, self._path, self._hooks = file, path, hooks

    def write(self, content: Any) -> int:
        def part(half: Any) -> None:
            self._file.write(half)
            self._file.flush()

        self._hooks.on_write(self._path, content, part)
        return self._file.write(content)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _path_of(handle: int) -> str:
    return os.readlink(f"/proc/self/fd/{handle}")
