"""Very many small files from the web, such as the images of a data set that is a list of addresses.

They come side by side, and memory does not grow with their number.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import stopping
from cli import UserError
from data.web import ANSWERS, Again, Refused, Remote, ask, blocks, check_measured, pause_after
from files import is_there

LARGEST = 50 * 10**6  # bytes of one file, which is held in memory
# how the address ends that a server leads to in the place of a removed file
PLACEHOLDERS = ("photo_unavailable.png", "photo_unavailable_l.png")  # Flickr
_REMOVED, _NO_ADDRESS, _BETWEEN = "it was removed", "no address is known", "; "
_GONE = re.compile(rf"{_REMOVED}|{_NO_ADDRESS}|{ANSWERS} (404|410)\b.*")
_AHEAD = 2  # jobs for each worker that are taken from the list before their turn


class Job(NamedTuple):
    """A file to fetch, and where it can be had, the best place first."""

    path: Path
    remotes: tuple[Remote, ...]


class Answer(NamedTuple):
    """What became of a file: it is there, or the reason why not."""

    path: Path
    reason: str


def is_gone(reason: str) -> bool:
    """Whether a reason says of every address that there is nothing any more."""
    return all(_GONE.fullmatch(said) for said in reason.split(_BETWEEN))


def fetch_many(
    jobs: Iterable[Job],
    *,
    workers: int,
    attempts: int,
    pause: float,
    timeout: float,
    check: Callable[[bytes], str],
) -> Iterator[Answer]:
    """What became of each file, in the order in which they come; those already there are left.

    A file is put at its path whole or not at all, if `check` of its bytes says "", and not why it
    is refused. Where nothing would tell half of it from all, it is refused. It is not flushed to
    disk: a power loss may leave an empty one. A failure that may pass is tried again up to
    `attempts` times, after a `pause` that doubles; `timeout` holds for each wait, and for the body
    of a file in all. Raises UserError where nothing can be written.
    """
    todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()
    fetcher = _Fetcher(attempts, pause, timeout, check)
    for _ in range(workers):
        # daemons: a process that is stopped does not wait for servers that do not answer
        threading.Thread(target=_work, args=(fetcher, todo, done), daemon=True).start()
    under_way = 0
    try:
        for job in jobs:
            stopping.check()
            if is_there(job.path):
                yield Answer(job.path, "")
                continue
            todo.put(job)
            under_way += 1
            if under_way == workers * _AHEAD:
                yield _next(done)
                under_way -= 1
        for _ in range(under_way):
            yield _next(done)
    finally:
        fetcher.stopped.set()
        for _ in range(workers):
            todo.put(None)


def _next(done: queue.SimpleQueue[Answer | Exception]) -> Answer:
    """The next answer of a worker; what went wrong there is raised here."""
    while True:
        stopping.check()
        try:
            answer = done.get(timeout=0.2)
        except queue.Empty:
            continue
        if isinstance(answer, Exception):
            raise answer
        return answer


def _work(
    fetcher: _Fetcher,
    todo: queue.SimpleQueue[Job | None],
    done: queue.SimpleQueue[Answer | Exception],
) -> None:
    """Do one job after the other until there is None; once it is stopped, each is soon done."""
    while job := todo.get():
        try:
            done.put(fetcher.fetch(job))
        except Exception as error:  # raised where the answers are read
            done.put(error)


@dataclass
class _Fetcher:
    """What the workers share."""

    attempts: int
    pause: float
    timeout: float
    check: Callable[[bytes], str]
    stopped: threading.Event = dataclasses.field(default_factory=threading.Event)

    def fetch(self, job: Job) -> Answer:
        """Fetch a file from the first place that has it."""
        reasons = []
        for remote in job.remotes:
            try:
                self._write(job.path, self._insist(remote))
                return Answer(job.path, "")
            except Refused as refused:
                reasons.append(str(refused))
        return Answer(job.path, _BETWEEN.join(dict.fromkeys(reasons)) or _NO_ADDRESS)

    def _insist(self, remote: Remote) -> bytes:
        """What lies at an address, asked for as often as may be. Raises Refused without it."""
        failed = 0
        while not self.stopped.is_set():
            try:
                body = self._receive(remote)
            except Again as again:
                failed += 1
                if failed >= self.attempts:
                    raise Refused(str(again)) from None
                # no longer than a server that is dead would hold up the others
                self.stopped.wait(pause_after(failed, self.pause, again.asked, self.timeout))
                continue
            if fault := remote.fault(len(body), [body]) or self.check(body):
                raise Refused(fault)
            return body
        raise Refused("it was stopped")

    def _receive(self, remote: Remote) -> bytes:
        body = bytearray()
        end = time.monotonic() + self.timeout
        with ask(remote.url, {}, self.timeout) as answer:
            if answer.status != 200:
                raise Refused(f"{ANSWERS} {answer.status}")
            if urlsplit(answer.geturl()).path.endswith(PLACEHOLDERS):
                raise Refused(_REMOVED)
            check_measured(remote, answer)
            for block in blocks(answer):
                body += block
                if len(body) > LARGEST:
                    raise Refused(f"too large: more than {LARGEST / 1e6:.0f} MB")
                if time.monotonic() > end:
                    raise Again("too slow")
        return bytes(body)

    def _write(self, path: Path, body: bytes) -> None:
        """Put it at the path, whole or not at all."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(body)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
