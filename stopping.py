"""Ctrl-C and SIGTERM: a run stops at its next step, and a second signal ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from launch import launch

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPING, _NEW_LINE = "stopping at the next step; once more stops at once", "\n"
_ECHO = 0.5  # seconds: a group of processes gets a signal, and those who started them pass it on
_received = 0  # the first stop signal, 0 before it
_since = 0.0  # when it came
_waits = False  # whether the program looks for it itself, between its steps


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Within this, the first stop signal raises KeyboardInterrupt(number), the second exits.

    A signal that the parent process wanted ignored (a job in the background) stays ignored.
    """
    global _received
    _received = 0
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        if before[number] != signal.SIG_IGN:
            signal.signal(number, _receive)
    try:
        yield
    finally:
        if not _received:  # else the way out stays open to a second signal
            for number in _SIGNALS:
                signal.signal(number, before[number])


@contextlib.contextmanager
def at_next_step() -> Iterator[None]:
    """Within this, the first stop signal takes effect at the next `check`, or at the end.

    A terminal or a job scheduler sends it to loader workers too: their end is no error then.
    """
    global _waits
    _waits = True
    try:
        yield
        check()
    except (RuntimeError, OSError, EOFError):
        check()
        raise
    finally:
        _waits = False


def check() -> None:
    """Raise KeyboardInterrupt(number) if a stop signal has come."""
    if _received:
        raise KeyboardInterrupt(_received)


def _receive(number: int, frame: object) -> None:
    global _received, _since
    if _received:
        if time.monotonic() > _since + _ECHO:
            os._exit(128 + number)  # files are written whole or not at all: nothing is lost
        return
    _received, _since = number, time.monotonic()
    if hasattr(signal, "SIGCHLD"):  # else PyTorch raises wherever the program is, once a loader
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # worker ends by the same signal
    if not _waits:
        raise KeyboardInterrupt(number)
    if not launch().is_first:
        return
    with contextlib.suppress(OSError):  # it may have ended the reader of a pipe
        os.write(2, f"{_NEW_LINE * os.isatty(2)}{_STOPPING}\n".encode())
