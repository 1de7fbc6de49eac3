"""Files from the web: whole and checked, or not there; what has come is not fetched twice."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

import stopping
from cli import UserError, printable
from data.web import (
    BLOCK,
    SEE_CONNECTION,
    Again,
    Refused,
    Remote,
    ask,
    blocks,
    check_measured,
    pause_after,
)
from files import flush_folder, is_there, locked, read_json, write_atomically

_PAGE = (b"<!doctype html", b"<html")


class _Wrong(Exception):
    """What has come is not the published file."""


def fetch(
    remote: Remote,
    path: Path,
    *,
    attempts: int = 6,
    pause: float = 1.0,
    timeout: float = 60,
) -> None:
    """Put the file at `path`, whole and checked; one that is there already is checked alone.

    A failure that may pass is tried again, up to `attempts` times in a row without a new byte,
    after a `pause` that doubles. Raises UserError where the file does not come; what has come is
    kept beside `path` then, and the next call goes on from there.
    """
    show = sys.stderr.isatty()
    try:
        if _is_whole(remote, path, show):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock"), wait=False):
            if not _is_whole(remote, path, show):  # else another process has just fetched it
                if not show:
                    size = f" ({_amount(remote.size)})" if remote.size else ""
                    print(printable(f"fetching {remote.url}{size} to {path}"), file=sys.stderr)
                _fetch(remote, path, attempts, pause, timeout, show)
    except Refused as refused:
        advice = f"see whether it has moved, or put the file at {path} by hand"
        raise UserError(f"{remote.url}: {refused}: {advice}") from None
    except BlockingIOError:
        raise UserError(f"another process fetches {path}: wait for it") from None
    except OSError as error:
        advice = "once this is mended, the same command goes on from where it was"
        raise UserError(f"cannot write {path}: {error.strerror or error}: {advice}") from error


def part_of(path: Path) -> Path:
    """Where `fetch` keeps what has come of a file, until it is whole."""
    return path.with_name(f".{path.name}.part")


def _is_whole(remote: Remote, path: Path, show: bool) -> bool:
    """Whether the file is there. Raises UserError for another one in its place."""
    if not is_there(path):
        return False
    if not path.is_file():
        raise UserError(f"{path} is no regular file: move it away")
    if fault := remote.fault(path.stat().st_size, _read(path, path.name, show)):
        advice = "remove it, and the same command fetches it"
        raise UserError(f"{path} is not {remote.url}: {fault}: {advice}")
    return True


def _read(path: Path, name: str, show: bool) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as file, _bar(f"check {name}", size, 0, show) as bar:
        while block := file.read(BLOCK):
            stopping.check()
            bar.update(len(block))
            yield block


def _bar(title: str, total: int | None, start: int, show: bool) -> tqdm:
    facts: dict[str, Any] = {"desc": printable(title), "total": total, "initial": start}
    return tqdm(unit="B", unit_scale=True, leave=False, disable=not show, **facts)


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _fetch(
    remote: Remote, path: Path, attempts: int, pause: float, timeout: float, show: bool
) -> None:
    """Put the file at `path`; one that comes wrong is fetched once more from its first byte."""
    part = _Part(remote, path)
    for last in (False, True):
        try:
            _insist(remote, part, attempts, pause, timeout, show)
            if fault := remote.fault(part.size, _read(part.path, path.name, show)):
                raise _Wrong(fault)
            return part.finish(path)
        except _Wrong as wrong:
            part.remove()
            if last:
                advice = "twice another file came than the published one; ask those who publish it"
                raise UserError(f"{remote.url}: {wrong}: {advice}") from None
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):  # it may have ended the reader of a pipe
                print(printable(f"{path.name}: {part.outlook()}"), file=sys.stderr)
            raise


def _insist(
    remote: Remote, part: _Part, attempts: int, pause: float, timeout: float, show: bool
) -> None:
    """Receive all of the part, in as many tries as it takes while they get further."""
    if not part.version:
        part.remove()
    failed, furthest = 0, part.size
    while True:
        try:
            return _receive(remote, part, timeout, show)
        except Again as again:
            failed = 1 if part.size > furthest else failed + 1
            furthest = max(furthest, part.size)
            if failed >= attempts:
                often = f"{failed} times in a row"
                outlook = f"{SEE_CONNECTION}; " * again.unreached + part.outlook()
                raise UserError(f"{remote.url}: {again}, {often}: {outlook}") from None
            seconds = pause_after(failed, pause, again.asked)
            print(printable(f"{again}: trying again in {seconds:.0f} s"), file=sys.stderr)
            _sleep(seconds)


def _sleep(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        stopping.check()
        time.sleep(min(left, 0.2))


@dataclass(frozen=True)
class _Version:
    """Which version of which file has begun to come, and its bytes in all."""

    url: str
    validator: str  # what HTTP tells versions by; empty where the server gives nothing
    total: int | None


class _Part:
    """What has come of a file, and beside it a note of its version."""

    def __init__(self, remote: Remote, path: Path) -> None:
        self.name, self._remote = path.name, remote
        self.path = part_of(path)
        self._note = path.with_name(f".{path.name}.part.json")

    @property
    def size(self) -> int:
        """The bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> _Version | None:
        """The version that more bytes would go on with; None where they must begin anew."""
        try:
            version = _Version(**read_json(self._note))
            fits = version.total is None or self.size <= version.total
        except (UserError, TypeError):
            return None
        told_apart = version.validator or self._remote.md5 or self._remote.sha256
        known = version.url == self._remote.url and told_apart and fits
        return version if known and self.path.exists() else None

    def outlook(self) -> str:
        """What the next call begins with, for people."""
        if not (self.version and self.size):
            return "the same command begins anew"
        total = f" of {_amount(self.version.total)}" if self.version.total else ""
        return f"{_amount(self.size)}{total} have come, the same command goes on from there"

    def begin(self, version: _Version) -> None:
        """Make it empty, for this version."""
        self.path.open("wb").close()  # first: a note never stands beside bytes of another version
        note = json.dumps(asdict(version)).encode()
        write_atomically(self._note, lambda file: file.write(note))

    def remove(self) -> None:
        """Remove it, with its note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        """Put it at `path`, flushed to disk before it has that name."""
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())
        self.path.replace(path)
        self._note.unlink(missing_ok=True)
        flush_folder(path.parent)


def _receive(remote: Remote, part: _Part, timeout: float, show: bool) -> None:
    """Add to the part what is missing. Raises Again, Refused or _Wrong where it does not come."""
    begun = part.version
    start = part.size if begun else 0
    if begun and begun.total == start:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    if begun and start and begun.validator:
        headers["If-Range"] = begun.validator
    with ask(remote.url, headers, timeout) as answer:
        first, total = _content_range(answer)
        goes_on = begun and _validator(answer) in ("", begun.validator)
        if answer.status == 416 and goes_on and start == total:
            return
        body = blocks(answer)
        if answer.status == 200:
            length = answer.length  # what is read is taken off it
            body = _no_page(part.name, answer, body)
            check_measured(remote, answer)
            start, total = 0, _announced(remote, length)
            part.begin(_Version(remote.url, _validator(answer), total))
        elif not (begun and goes_on and first == start and begun.total in (None, total)):
            part.remove()
            raise Again("the server sends another part of the file than the one asked for")
        _append(body, part, start, total, show)


def _append(body: Iterable[bytes], part: _Part, start: int, total: int | None, show: bool) -> None:
    """Add the body to the part. Raises Again or _Wrong where that is not `total` long then."""
    folder = part.path.parent
    needed, free = (total or start) - start, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{part.name} needs {_amount(needed)} more in {folder}, {_amount(free)} are free: make "
            "room first"
        )
    size = start
    with part.path.open("ab") as file, _bar(part.name, total, start, show) as bar:
        for block in body:
            stopping.check()
            size += len(block)
            if total is not None and size > total:
                raise _Wrong(f"more than its {total:,} bytes came")
            file.write(block)
            file.flush()  # a killed process keeps it too
            bar.update(len(block))
    if total is not None and size < total:
        raise Again("the connection was cut")


def _no_page(name: str, answer: Any, body: Iterator[bytes]) -> Iterator[bytes]:
    """The same body, once its beginning shows that it is no web page in the place of the file."""
    start = next(body, b"")
    says_so = answer.headers.get_content_type() == "text/html"
    page = says_so or start.lstrip().lower().startswith(_PAGE)
    if page and not name.lower().endswith((".html", ".htm")):
        raise Refused("a web page came instead of the file (a login, or the file has moved)")
    return itertools.chain([start], body)


def _announced(remote: Remote, length: int | None) -> int | None:
    """How long the file will be; None where its end will show it.

    Raises Refused where another length is published.
    """
    if length is not None and remote.size not in (None, length):
        raise Refused(f"another file lies there: {length:,} bytes, {remote.size:,} are published")
    return remote.size if length is None else length


def _validator(answer: Any) -> str:
    etag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified", "") if etag[:1] != '"' else etag  # W/: not exact


def _content_range(answer: Any) -> tuple[int | None, int | None]:
    """The first byte and the total of an answer with a part of a file, of 416 the total."""
    words = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", words.strip(), re.ASCII | re.I)
    return (int(found[1]) if found[1] else None, int(found[2])) if found else (None, None)
