"""What a user's labels say of each image, and what in them cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from cli import did_you_mean
from data.custom_images import Pictures, Unusable


class Rejected(NamedTuple):
    """A line, or another place in the labels, that cannot be used, and why."""

    place: str
    why: str


class Entry(NamedTuple):
    """What is said of one image: the columns of its positive and of its negative classes."""

    positive: tuple[int, ...]
    negative: tuple[int, ...]
    split: str  # "train", "val", "test"; "" where nothing says so
    place: str  # that names the image first


class Classes:
    """Class names and their columns: a fixed list, or one that grows as names are met."""

    def __init__(self, fixed: Sequence[str] | None = None, origin: str = "") -> None:
        self.fixed, self.origin = fixed is not None, origin
        self._columns = {name: column for column, name in enumerate(fixed or ())}
        self._closest = lru_cache(maxsize=None)(lambda name: did_you_mean(name, self._columns))

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order of the columns."""
        return tuple(self._columns)

    def column(self, name: str) -> int:
        """Where a class stands. Raises Unusable for one that is not on a fixed list."""
        if name not in self._columns:
            if self.fixed:
                raise Unusable(f"{name!r} is no class of {self.origin}{self._closest(name)}")
            self._columns[name] = len(self._columns)
        return self._columns[name]


@dataclass
class Listing:
    """The images that a source of labels lists, by their names, and how the reading went."""

    pictures: Pictures
    classes: Classes
    entries: dict[str, Entry] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)  # images, used or not
    rejected: list[Rejected] = field(default_factory=list)
    lines: int = 0  # usable or not
    unit: str = "lines"  # what is counted there
    cautions: list[str] = field(default_factory=list)  # what may not be as the user thinks
    notes: list[str] = field(default_factory=list)  # what was left out, by the rules

    def find(self, text: str) -> str:
        """The name of the image that `text` means. Raises Unusable where there is none."""
        name = self.pictures.find(text)
        self.mentioned.add(name)
        return name

    def add(self, image: str, said: Entry) -> None:
        """Unite what is said here with what was said before. Raises Unusable where it contradicts.

        Then nothing of it is taken.
        """
        before = self.entries.get(image)
        if before is None:
            self.entries[image] = said
            return
        positive = {*before.positive, *said.positive}
        negative = {*before.negative, *said.negative}
        both = positive & negative
        if both:
            name = self.classes.names[min(both)]
            raise Unusable(f"{image!r} is both 1 and -1 for {name!r} (first in {before.place})")
        if before.split != said.split:
            raise Unusable(
                f"{image!r} is in {said.split} here and in {before.split} in {before.place}"
            )
        self.entries[image] = before._replace(
            positive=tuple(sorted(positive)), negative=tuple(sorted(negative))
        )

    def reject(self, place: str, why: object) -> None:
        """Note that a place cannot be used."""
        self.rejected.append(Rejected(place, str(why)))

    def sort_classes(self) -> None:
        """Put classes that were met in any order into that of their names, if all are positive.

        Those of rejected lines alone are dropped.
        """
        names = self.classes.names
        used = {column for entry in self.entries.values() for column in entry.positive}
        ordered = sorted(names[column] for column in used)
        new = {name: column for column, name in enumerate(ordered)}
        for image, entry in self.entries.items():
            positive = tuple(sorted(new[names[column]] for column in entry.positive))
            self.entries[image] = entry._replace(positive=positive)
        self.classes = Classes(ordered)


def nearly_the_same(names: Sequence[str]) -> Iterator[str]:
    """A warning for each pair of names that differ only in case or in space."""
    seen: dict[str, str] = {}
    for name in names:
        key = " ".join(name.casefold().split())
        if key in seen:
            yield f"the classes {seen[key]!r} and {name!r} differ only in case or space"
        seen.setdefault(key, name)
