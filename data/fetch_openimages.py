"""The pictures of OpenImages V3, which is a list of addresses: those that have labels, one by one.

Many are gone for good. What could not be had is listed in missing_<subset>.csv, with the reason.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import csv
import functools
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cli import UserError, printable
from data.download_many import Answer, Job, fetch_many, is_gone
from data.format_openimages import (
    SUBSETS,
    image_number,
    pictures,
    read_classes,
    read_table,
    read_verified,
    released,
)
from data.pictures import picture_fault, shrink
from data.web import SEE_CONNECTION, Remote
from files import is_there, locked, remove_temporaries, write_atomically

_BYTES = 100_000  # of a picture, roughly
_MOST_FAILURES = 200  # in a row, before it is the network and not the pictures
_SAVE_EVERY = 10_000  # answers, or a tenth of the list: a killed process loses no more of it
_UNFLUSHED = ".pictures.unflushed"  # there while pictures may be in memory alone
_LIST = ["image", "reason"]
_COLUMNS = [
    *("ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL"),
    *("Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL"),
]


@dataclass
class _Subset:
    """How far a subset has come. Images are numbers, which their ids are in hexadecimal.

    M: the labelled images whose pictures did not lie in the folder at first.
    """

    folder: Path
    name: str
    there: int  # labelled images whose pictures lie in the folder
    images: np.ndarray  # uint64 [M], sorted
    wanted: np.ndarray  # bool [M]: still to be asked for
    codes: np.ndarray  # int32 [M]: why it could not be had, as `reasons` numbers it
    reasons: dict[str, int] = field(default_factory=lambda: {"": 0})

    def place(self, image: int) -> int | None:
        """The place of an image among the M; None where it is none of them."""
        number = np.uint64(image)
        place = int(self.images.searchsorted(number))
        return place if place < len(self.images) and self.images[place] == number else None

    def note(self, place: int, reason: str) -> None:
        """Take down why a picture could not be had; "" where it has come."""
        self.codes[place] = self.reasons.setdefault(reason, len(self.reasons))

    @property
    def num_missing(self) -> int:
        return int(np.count_nonzero(self.codes))

    @property
    def list_path(self) -> Path:
        return self.folder / f"missing_{self.name}.csv"

    def picture_path(self, image: int) -> Path:
        return self.folder / self.name / f"{image:016x}.jpg"


def fetch_pictures(
    folder: Path,
    workers: int = 32,
    mirror: str = "",
    retry_missing: bool = False,
    *,
    attempts: int = 3,
    pause: float = 1.0,
    timeout: float = 30,
) -> None:
    """Put the labelled images whose pictures are not in `folder` at <subset>/<ImageID>.jpg.

    Each is looked for at `mirror`, if given, a URL with {id} and perhaps {subset} in it; then the
    thumbnail of 300,000 pixels is asked for, then the original. What is larger than 1,024 pixels
    is shrunk. What an earlier call found to be gone is not asked for again, unless
    `retry_missing`. Once stopped, the next call goes on. Raises UserError where files of the
    release are missing or wrong, the disk has too little room, or nothing comes any more.
    """
    if mirror and not (mirror.startswith(("http://", "https://")) and "{id}" in mirror):
        raise UserError(f"the mirror {mirror!r} must be http(s)://... with {{id}} in it")
    fetch = functools.partial(
        fetch_many,
        workers=workers,
        attempts=attempts,
        pause=pause,
        timeout=timeout,
        check=picture_fault,
    )
    try:
        with locked(folder / ".pictures.lock", wait=False):
            _fetch_subsets(folder, mirror, retry_missing, fetch)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # it may have ended the reader of a pipe
            print("what has come is kept: the same command goes on", file=sys.stderr)
        raise
    except BlockingIOError:
        raise UserError(f"another process fetches pictures to {folder}: wait for it") from None
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: unpack the release in {folder}") from None
    except OSError as error:
        if error.filename is None:  # as where nobody reads what is printed
            raise
        raise UserError(f"{error.filename} cannot be used: {error.strerror}") from None


def _fetch_subsets(
    folder: Path,
    mirror: str,
    retry_missing: bool,
    fetch: Callable[[Iterable[Job]], Iterator[Answer]],
) -> None:
    """Survey all subsets, then fetch one after the other what they want."""
    mids = list(read_classes(folder))
    subsets = [_survey(folder, name, mids, retry_missing) for name in SUBSETS.values()]
    _check_space(folder, sum(int(subset.wanted.sum()) for subset in subsets))
    for subset in subsets:
        total = int(subset.wanted.sum())
        with _flushed_at_the_end(folder):
            _collect(subset, fetch(_jobs(subset, mirror)), total)
        print(printable(_summary(subset)), flush=True)


@contextlib.contextmanager
def _flushed_at_the_end(folder: Path) -> Iterator[None]:
    """Within this, pictures are written; after it they are on the disk, or _UNFLUSHED is there."""
    mark = folder / _UNFLUSHED
    write_atomically(mark, lambda file: None)
    try:
        yield
    finally:
        if hasattr(os, "sync"):
            os.sync()
            mark.unlink(missing_ok=True)


def _survey(folder: Path, name: str, mids: Sequence[str], retry_missing: bool) -> _Subset:
    """What is there of a subset, and what is to be asked for."""
    remove_temporaries(folder / name)
    if is_there(folder / _UNFLUSHED):
        _remove_empty(folder / name)
    labelled = read_verified(folder, name, mids).images
    without = np.setdiff1d(labelled, pictures(folder / name), assume_unique=True)
    wanted, codes = np.ones(len(without), dtype=bool), np.zeros(len(without), dtype=np.int32)
    subset = _Subset(folder, name, len(labelled) - len(without), without, wanted, codes)
    if is_there(subset.list_path):
        for image, reason in _read_missing(subset.list_path):
            if (place := subset.place(image)) is not None:
                subset.note(place, reason)
    if not retry_missing:
        gone = np.array([is_gone(reason) for reason in subset.reasons])
        subset.wanted = ~gone[codes]
    return subset


def _remove_empty(folder: Path) -> None:
    """Remove pictures without a byte, which a power loss leaves; a look at each takes its time."""
    if is_there(folder):
        with os.scandir(folder) as entries:
            for entry in entries:
                is_picture = entry.name.endswith(".jpg") and entry.is_file(follow_symlinks=False)
                if is_picture and entry.stat(follow_symlinks=False).st_size == 0:
                    os.unlink(entry)


def _check_space(folder: Path, images: int) -> None:
    needed, free = images * _BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} needs about {needed / 1e9:.1f} GB for {images:,} pictures, "
            f"{free / 1e9:.1f} GB are free: make room first"
        )


def _jobs(subset: _Subset, mirror: str) -> Iterator[Job]:
    """What to fetch, in the order of images.csv, and then what is not in it."""
    path = released(subset.folder, f"{subset.name}/images.csv")
    rows = read_table(path, len(_COLUMNS))
    _, header = next(rows, (1, []))
    if header[: len(_COLUMNS)] != _COLUMNS:  # later releases have more
        raise UserError(f"{path}, line 1 must be {','.join(_COLUMNS)}: unpack it again")
    for line, row in rows:
        try:
            image = image_number(row[0].encode(errors="surrogateescape"))
        except ValueError:
            raise UserError(
                f"{path}, line {line}: {row[0][:40]!r} must be 16 hexadecimal digits: "
                "unpack it again"
            ) from None
        place = subset.place(image)
        if place is not None and subset.wanted[place]:
            subset.wanted[place] = False
            fields = dict(zip(_COLUMNS, row, strict=False))
            yield Job(subset.picture_path(image), _places(subset, image, mirror, fields))
    for image in subset.images[subset.wanted].tolist():
        yield Job(subset.picture_path(image), _places(subset, image, mirror, {}))


def _places(subset: _Subset, image: int, mirror: str, fields: dict[str, str]) -> tuple[Remote, ...]:
    """Where a picture can be had, the best place first."""
    copy = mirror.replace("{subset}", subset.name).replace("{id}", f"{image:016x}")
    original = Remote(fields.get("OriginalURL", ""), md5=_in_hex(fields.get("OriginalMD5", "")))
    places = (Remote(copy), Remote(fields.get("Thumbnail300KURL", "")), original)
    return tuple(place for place in places if place.url)


def _in_hex(checksum: str) -> str | None:
    """An MD5 in base64 as hexadecimal digits, None where it is none."""
    try:
        digest = base64.b64decode(checksum, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None


def _collect(subset: _Subset, answers: Iterable[Answer], total: int) -> None:
    """Take the answers down, in the list of missing pictures too, however this ends."""
    from tqdm import tqdm

    failed, due, shown = 0, _SAVE_EVERY, sys.stderr.isatty()
    try:
        bar = tqdm(answers, subset.name, total, leave=False, disable=not shown)
        for number, answer in enumerate(bar, start=1):
            reason = answer.reason or shrink(answer.path)
            subset.there += not reason
            place = subset.place(int(answer.path.stem, 16))
            assert place is not None
            subset.note(place, reason)
            if number >= due:
                _write_missing(subset)
                due = number + max(_SAVE_EVERY, subset.num_missing // 10)
            failed = failed + 1 if reason and not is_gone(reason) else 0
            if failed >= _MOST_FAILURES:
                raise UserError(
                    f"{failed} pictures in a row could not be had, the last one because {reason}: "
                    f"{SEE_CONNECTION}; the same command goes on from there"
                )
    finally:
        _write_missing(subset)


def _read_missing(path: Path) -> Iterator[tuple[int, str]]:
    for line, (image, reason, *_) in read_table(path, len(_LIST)):
        if [image, reason] == _LIST:
            continue
        try:
            number = image_number(image.encode(errors="surrogateescape"))
        except ValueError:
            raise UserError(
                f"{path}, line {line}: {image[:40]!r} is no image: remove this file"
            ) from None
        yield number, reason


def _write_missing(subset: _Subset) -> None:
    """Write the list of what is missing; where nothing is, there is none."""
    places = np.flatnonzero(subset.codes)
    if not len(places):
        subset.list_path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_LIST)
    reasons = list(subset.reasons)
    pairs = zip(subset.images[places].tolist(), subset.codes[places].tolist(), strict=True)
    rows.writerows((f"{image:016x}", reasons[code]) for image, code in pairs)
    content = text.getvalue().encode(errors="surrogateescape")
    write_atomically(subset.list_path, lambda file: file.write(content))


def _summary(subset: _Subset) -> str:
    said = f"{subset.name}: {subset.there:,} there, {subset.num_missing:,} missing"
    return f"{said} ({subset.list_path.name})" if subset.num_missing else said
