"""Class names that look like other ones, and what a user may have meant by them."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import stopping

_CUTOFF = 0.8  # of difflib's ratio: chair is not meant for car
_OFTEN = 5
_COMPARED = 1_000_000  # pairs of names at most, some seconds
_WARNED = 20
_SHOWN = 5  # names in a line at most


def some(names: Collection[str]) -> str:
    """How many they are, and the first of them."""
    shown = ", ".join(map(repr, list(names)[:_SHOWN]))
    return f"{len(names):,} ({shown}{', ...' if len(names) > _SHOWN else ''})"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean X?` for a known name that is very close to `word`, or nothing."""
    close = _closest(word, known)
    return f", did you mean {close}?" if close else ""


def nearly_the_same(names: Sequence[str]) -> Iterator[str]:
    """A warning for each pair of names that differ only in case or in space."""
    seen: dict[str, str] = {}
    for name in names:
        key = _key(name)
        if key in seen:
            yield f"the classes {seen[key]!r} and {name!r} differ only in case or space"
        seen.setdefault(key, name)


def typos(times: Mapping[str, int]) -> Iterator[str]:
    """A warning for each name that occurs once and is close to one that occurs often.

    `times`: how often each occurs. Names that differ in digits, case or space alone are passed.
    """
    found = list(_typos(times))
    for name, meant in found[:_WARNED]:
        yield f"{name!r} occurs once, did you mean {meant!r} ({times[meant]:,} times)?"
    if len(found) > _WARNED:
        yield f"labels that occur once and look like others, more of them: {len(found) - _WARNED:,}"


def _typos(times: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    by_length: dict[int, list[str]] = defaultdict(list)
    for name, number in times.items():
        if number >= _OFTEN:
            by_length[len(name)].append(name)
    compared = 0
    for name in (name for name, number in times.items() if number == 1):
        stopping.check()
        near = [other for d in range(-2, 3) for other in by_length.get(len(name) + d, [])]
        compared += len(near)
        if compared > _COMPARED:
            return
        meant = _closest(name, (other for other in near if _bare(other) != _bare(name)))
        if meant:
            yield name, meant


def _closest(word: str, names: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=_CUTOFF)
    return by_lower[close[0]] if close else ""


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


def _bare(name: str) -> str:
    return re.sub(r"\d", "", _key(name))
