"""Requests to web servers: an answer, or why there is none and whether it may come later."""

from __future__ import annotations

import email.utils
import functools
import hashlib
import http.client
import random
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError

LONGEST_PAUSE, LONGEST_ASKED_FOR = 60, 300  # seconds between two tries
BLOCK = 2**18  # bytes that are received or read at a time
_PASSING = (408, 425, 429)  # and 5xx: what a server answers that may soon answer otherwise
ANSWERS = "the server answers"  # how a reason begins, then the status
SEE_CONNECTION = "see whether this machine reaches the internet"
_HEADERS = {"User-Agent": "large-loss-matters"}  # http.client adds that nothing be compressed


@dataclass(frozen=True)
class Remote:
    """A file on a server, and what is published of it: bytes, checksums in hex."""

    url: str
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    def fault(self, size: int, blocks: Iterable[bytes]) -> str:
        """What tells a file of this size and content from the published one, or nothing."""
        if self.size not in (None, size):
            return f"it has {size:,} bytes, {self.size:,} are published"
        published = {"md5": self.md5, "sha256": self.sha256}
        sums = {name: hashlib.new(name, usedforsecurity=False) for name in published}
        sums = {name: sums[name] for name, known in published.items() if known}
        for block in blocks if sums else ():
            for checksum in sums.values():
                checksum.update(block)
        for name, checksum in sums.items():
            if checksum.hexdigest() != str(published[name]).lower():
                return f"its {name} is {checksum.hexdigest()}, {published[name]} is published"
        return ""


class Again(Exception):
    """A failure that may pass: what happened, and the seconds the server asks to wait.

    `unreached`: there was no connection to a server.
    """

    def __init__(self, reason: str, asked: float = 0, unreached: bool = False) -> None:
        super().__init__(reason)
        self.asked, self.unreached = asked, unreached


class Refused(Exception):
    """A failure that another try would meet again."""


def ask(url: str, headers: dict[str, str], timeout: float) -> Any:
    """The open answer to a request: 200, 206 or 416. Raises Again or Refused for all others."""
    try:
        request = urllib.request.Request(url, headers=_HEADERS | headers)
        answer = _opener().open(request, timeout=timeout)
    except HTTPError as error:
        if error.code == 416:
            return error
        error.close()
        said = f"{ANSWERS} {error.code} {_words(error.reason)}"
        if error.code in _PASSING or error.code >= 500:
            raise Again(said, _asked_for(error.headers.get("Retry-After", ""))) from None
        raise Refused(said) from None
    except URLError as error:
        if isinstance(error.reason, str | ssl.SSLCertVerificationError):
            raise Refused(_words(error.reason)) from None
        raise Again(_words(error.reason), unreached=True) from None
    except (http.client.InvalidURL, ValueError) as error:
        raise Refused(f"this is no address of the web ({_words(error)})") from None
    except (OSError, http.client.HTTPException) as error:
        raise Again(_words(error)) from None
    if answer.status not in (200, 206):
        answer.close()
        raise Again(f"{ANSWERS} {answer.status} {_words(answer.reason)}")
    return answer


def _asked_for(retry_after: str) -> float:
    """The seconds of a Retry-After header, which may hold a date; 0 where there are none."""
    try:
        if retry_after.isdigit():
            return float(retry_after)
        return email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0


def _words(error: object) -> str:
    """What an error says, in one line."""
    said = getattr(error, "strerror", None) or error
    return " ".join(str(said).split()) or type(error).__name__


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """What opens addresses of http and https, none else; it follows redirects and uses proxies."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def check_measured(remote: Remote, answer: Any) -> None:
    """Raise Refused where nothing would tell half of the file from all of it."""
    announced = answer.length is not None or answer.chunked
    if not (announced or remote.size is not None or remote.md5 or remote.sha256):
        raise Refused("the server does not say how long the file is, half of it would pass for all")


def blocks(answer: Any) -> Iterator[bytes]:
    """The body of an answer as it comes. Raises Again where it breaks off."""
    left = answer.length  # None: its end is where the connection ends, or the last chunk
    while left is None or left > 0:
        try:
            block = answer.read1(BLOCK if left is None else min(left, BLOCK))
        except (OSError, http.client.HTTPException) as error:
            cut = isinstance(error, http.client.IncompleteRead)
            raise Again("the connection was cut" if cut else _words(error)) from None
        if not block:
            break
        left = None if left is None else left - len(block)
        yield block
    if left:
        raise Again("the connection was cut")


def pause_after(failed: int, pause: float, asked: float, most: float = LONGEST_ASKED_FOR) -> float:
    """The seconds to wait after so many failures in a row: what the server asked for, up to `most`.

    Else `pause` doubled for each, up to a minute, and less by chance: else all would come at once.
    """
    doubled = min(LONGEST_PAUSE, pause * 2.0 ** min(failed - 1, 30))
    return max(min(asked, most), doubled * random.SystemRandom().uniform(0.5, 1))
