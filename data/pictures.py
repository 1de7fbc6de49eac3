"""Which pictures of a data set are there, found without asking the disk for each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import stopping


def missing_pictures(folder: Path, names: Iterable[str | bytes]) -> list[int]:
    """The places of the names of which no file is there; each folder is listed once.

    `names`: paths relative to `folder`, as text or as bytes.
    """
    listed: dict[str, set[str]] = {}
    missing = []
    for place, name in enumerate(map(os.fsdecode, names)):
        parent, slash, base = name.rpartition("/")
        if parent + slash not in listed:
            stopping.check()
            listed[parent + slash] = _files_in(os.path.join(folder, parent + slash))
        # a disk may not tell capital letters from small ones
        is_there = base in listed[parent + slash] or os.path.exists(os.path.join(folder, name))
        if not is_there:
            missing.append(place)
    return missing


def _files_in(folder: str) -> set[str]:
    """The names of what lies there; none where that cannot be told."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: letters that no path can hold
        return set(os.listdir(folder))
    return set()
