"""Pictures on the disk: which of a data set are there, whether one is whole, and not too large."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

import stopping
from files import write_atomically

LONGEST_SIDE = 1024  # pixels of a picture that is fetched and kept; training sees 448
_QUALITY = 90  # of a JPEG


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


def picture_fault(content: bytes) -> str:
    """Why it is no JPEG or PNG that can be decoded to its end, or nothing."""
    from PIL import Image

    fault = "it is no JPEG or PNG"
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            fault = "it is damaged"
            image.draft(None, (LONGEST_SIDE, LONGEST_SIDE))  # of a JPEG, no more pixels are held
            image.load()
    except Image.DecompressionBombError:
        return "it has too many pixels"
    except Exception:  # on damaged data PIL's decoders raise nearly anything
        return fault
    return ""


def shrink(path: Path) -> str:
    """Make a large picture LONGEST_SIDE pixels long, as JPEG; why that cannot be, or nothing.

    A picture that cannot be shrunk is removed.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if max(image.size) <= LONGEST_SIDE:
                return ""
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))  # of a JPEG, no more is decoded
            small = image.convert("RGB")
    except Exception:  # as above
        path.unlink(missing_ok=True)
        return "it is damaged"
    write_atomically(path, lambda file: small.save(file, "JPEG", quality=_QUALITY))
    return ""
