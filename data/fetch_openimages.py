"""The pictures of OpenImages V3, which is a list of addresses: those that have labels, one by one.

Many are gone for good. What could not be had is listed in missing_<subset>.csv, with the reason.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import UserError, printable
from data.download_many import Answer, Job, fetch_many
from data.format_openimages import (
    SUBSETS,
    image_number,
    pictures,
    read_classes,
    read_table,
    read_verified,
    released,
)
from data.web import Remote
from files import is_there, locked, remove_temporaries, write_atomically

LONGEST_SIDE = 1024  # pixels of a picture that is kept; training sees 448
_QUALITY = 90
_BYTES = 100_000  # of a picture, roughly
_MOST_FAILURES = 200  # in a row, before it is the network and not the pictures
# what the downloader says where asking again would be of no use
_GONE = re.compile(r"it was removed|no address is known|the server answers (404|410)\b.*")
_LIST = ["image", "reason"]
_COLUMNS = [
    *("ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL"),
    *("Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL"),
]


@dataclass
class _Subset:
    """How far a subset has come. Images are numbers, which their ids are in hexadecimal."""

    folder: Path
    name: str
    there: int  # labelled images whose pictures lie in the folder
    wanted: set[int]  # still to be asked for
    missing: dict[int, str]  # what could not be had, and why

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
    thumbnail of 300,000 pixels is asked for, then the original. What is larger than LONGEST_SIDE
    is shrunk. What an earlier call found to be gone is not asked for again, unless
    `retry_missing`. Once stopped, the next call goes on. Raises UserError where files of the
    release are missing or wrong, the disk has too little room, or nothing comes any more.
    """
    if mirror and not (mirror.startswith(("http://", "https://")) and "{id}" in mirror):
        raise UserError(f"the mirror {mirror!r} must be http(s)://... with {{id}} in it")
    try:
        with locked(folder / ".pictures.lock", wait=False):
            mids = list(read_classes(folder))
            subsets = [_survey(folder, name, mids, retry_missing) for name in SUBSETS.values()]
            _check_space(folder, sum(len(subset.wanted) for subset in subsets))
            for subset in subsets:
                total = len(subset.wanted)
                answers = fetch_many(
                    _jobs(subset, mirror),
                    workers=workers,
                    attempts=attempts,
                    pause=pause,
                    timeout=timeout,
                    check=_fault,
                )
                _collect(subset, answers, total)
                print(printable(_summary(subset)), flush=True)
    except BlockingIOError:
        raise UserError(f"another process fetches pictures to {folder}: wait for it") from None
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: unpack the release in {folder}") from None
    except OSError as error:
        if error.filename is None:  # as where nobody reads what is printed
            raise
        raise UserError(f"{error.filename} cannot be used: {error.strerror}") from None


def _survey(folder: Path, name: str, mids: Sequence[str], retry_missing: bool) -> _Subset:
    """What is there of a subset, and what is to be asked for."""
    remove_temporaries(folder / name)
    labelled = set(read_verified(folder, name, mids).images.tolist())
    without = labelled.difference(pictures(folder / name).tolist())
    subset = _Subset(folder, name, len(labelled) - len(without), without, {})
    if is_there(subset.list_path):
        known = _read_missing(subset.list_path)
        subset.missing = {image: known[image] for image in known.keys() & without}
    if not retry_missing:
        gone = {image for image, reason in subset.missing.items() if _is_gone(reason)}
        subset.wanted = without - gone
    return subset


def _is_gone(reason: str) -> bool:
    """Whether every address has answered that there is nothing any more."""
    return all(_GONE.fullmatch(said) for said in reason.split("; "))


def _check_space(folder: Path, images: int) -> None:
    needed, free = images * _BYTES, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} needs about {needed / 1e9:.1f} GB for {images:,} pictures, "
            f"{free / 1e9:.1f} GB are free: make room first"
        )


def _jobs(subset: _Subset, mirror: str) -> Iterator[Job]:
    """What to fetch, in the order of images.csv, and then what is not in it; none stays wanted."""
    path = released(subset.folder, f"{subset.name}/images.csv")
    rows = read_table(path, len(_COLUMNS))
    _, header = next(rows, (1, []))
    if header[: len(_COLUMNS)] != _COLUMNS:  # later releases have more
        raise UserError(f"{path}, line 1 must be {','.join(_COLUMNS)}: unpack it again")
    for line, row in rows:
        fields = dict(zip(_COLUMNS, row, strict=False))
        try:
            image = image_number(fields["ImageID"].encode(errors="surrogateescape"))
        except ValueError:
            raise UserError(
                f"{path}, line {line}: {fields['ImageID'][:40]!r} must be 16 hexadecimal digits: "
                "unpack it again"
            ) from None
        if image in subset.wanted:
            subset.wanted.discard(image)
            yield Job(subset.picture_path(image), _places(subset, image, mirror, fields))
    while subset.wanted:
        image = subset.wanted.pop()
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


def _fault(content: bytes) -> str:
    """Why it is no JPEG or PNG whose header can be read, or nothing."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            image.verify()
    except Image.DecompressionBombError:
        return "it has too many pixels"
    except Exception:  # on damaged data PIL's decoders raise nearly anything
        return "it is no JPEG or PNG"
    return ""


def _collect(subset: _Subset, answers: Iterable[Answer], total: int) -> None:
    """Take the answers down, in the list of missing pictures too, however this ends."""
    from tqdm import tqdm

    failed, shown = 0, sys.stderr.isatty()
    try:
        for answer in tqdm(answers, subset.name, total, leave=False, disable=not shown):
            image = int(answer.path.stem, 16)
            reason = answer.reason or _shrink(answer.path)
            if not reason:
                subset.missing.pop(image, None)
                subset.there += 1
            else:
                subset.missing[image] = sys.intern(reason)
            failed = failed + 1 if reason and not _is_gone(reason) else 0
            if failed >= _MOST_FAILURES:
                raise UserError(
                    f"{failed} pictures in a row could not be had, the last one because {reason}: "
                    "see whether the network works; the same command goes on from there"
                )
    finally:
        _write_missing(subset)


def _shrink(path: Path) -> str:
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


def _read_missing(path: Path) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for line, (image, reason, *_) in read_table(path, len(_LIST)):
        try:
            if [image, reason] != _LIST:
                number = image_number(image.encode(errors="surrogateescape"))
                reasons[number] = sys.intern(reason)
        except ValueError:
            raise UserError(
                f"{path}, line {line}: {image[:40]!r} is no image: remove this file"
            ) from None
    return reasons


def _write_missing(subset: _Subset) -> None:
    """Write the list of what is missing; where nothing is, there is none."""
    if not subset.missing:
        subset.list_path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_LIST)
    rows.writerows((f"{image:016x}", subset.missing[image]) for image in sorted(subset.missing))
    content = text.getvalue().encode(errors="surrogateescape")
    write_atomically(subset.list_path, lambda file: file.write(content))


def _summary(subset: _Subset) -> str:
    said = f"{subset.name}: {subset.there:,} there, {len(subset.missing):,} missing"
    return f"{said} ({subset.list_path.name})" if subset.missing else said
