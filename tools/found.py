"""Which image files words on a command line mean: files, folders, patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cli import UserError


def find_images(words: Iterable[str | Path]) -> list[Path]:
    """The files that these words mean, each once, in the order of the words.

    A file is taken whatever it is called, there or not. A folder stands for the files in it and in
    all folders below it that are called like images, by name; a pattern (`*`, `?`, `[...]`, and
    `**` for any depth) for what it matches, by name. Raises UserError for a folder or a pattern
    without an image.
    """
    found: dict[Path, None] = {}
    for word in words:
        own = list(_meant(str(word)))
        if not own:
            raise UserError(f"no images found in {str(word)!r}: give files, folders or patterns")
        found.update(dict.fromkeys(own))
    return list(found)


def _meant(word: str) -> Iterator[Path]:
    if not word or "\0" in word:
        return
    if os.path.isdir(word):
        yield from _below(word)
    elif os.path.lexists(word) or not glob.has_magic(word):
        yield Path(word)
    else:
        for match in sorted(glob.glob(word, recursive=True)):
            if not os.path.isdir(match):
                yield Path(match)
            elif "**" not in word:  # which matches what lies in the folder by itself
                yield from _below(match)


def _below(folder: str) -> Iterator[Path]:
    """The files below a folder that are called like images."""
    from PIL import Image

    endings = Image.registered_extensions()
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in endings:
                yield Path(place, name)
