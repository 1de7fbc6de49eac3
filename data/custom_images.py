"""The pictures below a folder, and which of them a line of a user's file means."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import stopping
from cli import UserError, printable

_SUFFIXES = "jpg jpeg jpe jfif png bmp gif tif tiff webp ppm pgm pbm jp2"
SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


class Unusable(ValueError):
    """Why a line, or another part of a user's labels, cannot be used."""


def quoted(path: str) -> str:
    """A path in quotes, as a user would write it: backslashes are not doubled."""
    return f"'{printable(path)}'"


def is_picture(name: str) -> bool:
    """Whether the name ends as a picture's does; what a system hides, as ._a.jpg, is none."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(
        part.startswith(".") or part == "__MACOSX" for part in path.parts
    )


class Pictures:
    """The files below a folder, links followed; each is named by its path from there."""

    def __init__(self, folder: Path) -> None:
        try:
            if not folder.is_dir():
                raise UserError(f"there is no folder {folder}: give the one of the pictures")
            self.folder = folder.resolve()
            self._files = set(_walk(str(self.folder), "", frozenset()))
        except OSError as error:
            where = error.filename or folder
            raise UserError(f"{where} cannot be read: {error.strerror or error}") from None
        self.names = sorted(filter(is_picture, self._files))
        self.others = sorted(self._files.difference(self.names))
        self._tails = [
            self.folder.parts[start:] for start in range(1, len(self.folder.parts))
        ]  # of the folder's own path: data/images, images
        self._alike: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        self._bare: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            self._alike[_key(name)].append(name)
            self._stems[_key(str(PurePosixPath(name).with_suffix("")))].append(name)
            self._bare[PurePosixPath(name).name.casefold()].append(name)

    def __contains__(self, text: str) -> bool:
        try:
            return bool(self.find(text))
        except Unusable:
            return False

    def find(self, text: str) -> str:
        """The name of the file that `text` means: see data/README.md for what is forgiven.

        Raises Unusable where it means none, or more than one.
        """
        if text in self._files:
            return text
        if not text:
            raise Unusable("it names no image")
        for path in self._spellings(text):
            if path in self._files:
                return path
            for found in (self._alike.get(_key(path), []), self._stems.get(_key(path), [])):
                if len(found) > 1:
                    either = " or ".join(map(quoted, found[:2]))
                    raise Unusable(f"image {quoted(text)} may be {either}")
                if found:
                    return found[0]
        raise Unusable(f"there is no image {quoted(text)}{self._meant(text)}")

    def _meant(self, text: str) -> str:
        """`, did you mean X?` where exactly one picture has that name in another folder."""
        hits = self._bare.get(text.replace("\\", "/").rpartition("/")[2].casefold(), [])
        return f", did you mean {quoted(hits[0])}?" if len(hits) == 1 else ""

    def _spellings(self, text: str) -> Iterator[str]:
        """The paths from the folder that `text` may stand for, the likeliest first."""
        slashed = text.replace("\\", "/")
        if slashed.startswith("/") or PureWindowsPath(text).drive:
            slashed = self._below(text)
        parts = tuple(part for part in slashed.split("/") if part not in ("", "."))
        if ".." in parts:
            raise Unusable(f"image {quoted(text)} has '..' in its path{self._meant(text)}")
        yield "/".join(parts)
        for tail in self._tails:
            if parts[: len(tail)] == tail and len(parts) > len(tail):
                yield "/".join(parts[len(tail) :])

    def _below(self, text: str) -> str:
        path = Path(text)
        if path.is_relative_to(self.folder):
            return path.relative_to(self.folder).as_posix()
        try:
            return (path.parent.resolve() / path.name).relative_to(self.folder).as_posix()
        except (OSError, RuntimeError, ValueError):
            where = f"an absolute path outside {self.folder}{self._meant(text)}"
            raise Unusable(f"image {quoted(text)} is {where}") from None


def _key(name: str) -> str:
    """The name, the same however its suffix is cased and its accents are composed."""
    stem, dot, suffix = name.rpartition(".")
    same = f"{stem}{dot}{suffix.lower()}" if f".{suffix.lower()}" in SUFFIXES else name
    return unicodedata.normalize("NFC", same)


def _walk(folder: str, prefix: str, above: frozenset[str]) -> Iterator[str]:
    """The paths of all files below a folder; a link to a folder above it is not followed."""
    stopping.check()
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {real})
            elif entry.is_file():
                yield prefix + entry.name
