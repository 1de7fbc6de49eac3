"""What torchrun tells a process of its place among others. Nothing here imports torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

_NAMES = {
    "rank": "RANK", "size": "WORLD_SIZE",
    "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE",
    "restarts": "TORCHELASTIC_RESTART_COUNT",
}  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """Which of how many processes this is, counted from 0; `local`: on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0  # how often torchrun has started them anew
    by_torchrun: bool = False

    @property
    def is_first(self) -> bool:
        """Whether it is the process that talks and writes."""
        return self.rank == 0


def launch() -> Launch:
    """The place that torchrun gives this process; it is alone where torchrun did not start it."""
    if not all(name in os.environ for name in _NAMES.values()):
        return Launch()
    places = {field: int(os.environ[name]) for field, name in _NAMES.items()}
    return Launch(**places, by_torchrun=True)


@contextlib.contextmanager
def first_alone_talks() -> Iterator[None]:
    """Within this, the other processes print nothing: they would say the same."""
    if launch().is_first:
        yield
        return
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        yield
