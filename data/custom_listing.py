"""What a user's labels say of each image, and what in them cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from data.custom_images import Pictures, Unusable, quoted
from data.custom_names import did_you_mean, some


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

    def __init__(
        self, fixed: Sequence[str] | None = None, origin: str = "", ignores: bool = False
    ) -> None:
        self.fixed, self.origin, self.ignores = fixed is not None, origin, ignores
        self.outside: Counter[str] = Counter()  # names that are not on the list, met so often
        self._columns = {name: column for column, name in enumerate(fixed or ())}
        self._closest = lru_cache(maxsize=None)(lambda name: did_you_mean(name, self._columns))

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order of the columns."""
        return tuple(self._columns)

    def column(self, name: str) -> int | None:
        """Where a class stands; None for one that is not on a fixed list, if these are ignored.

        Raises Unusable for it if they are not.
        """
        if name in self._columns:
            return self._columns[name]
        if not self.fixed:
            self._columns[name] = len(self._columns)
            return self._columns[name]
        self.outside[name] += 1
        if self.ignores:
            return None
        raise Unusable(f"{name!r} is no class of {self.origin}{self._closest(name)}")

    def ignored(self) -> str:
        """The names that were met and are not on the list, for people; "" where there are none."""
        if not (self.ignores and self.outside):
            return ""
        times = f", met {sum(self.outside.values()):,} times"
        return f"labels that are no class of {self.origin}, ignored: {some(self.outside)}{times}"


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
    by_column: bool = False  # whether it is a table with a column a class
    zero: str = ""  # what a 0 says there, "negative" or "unobserved"; "" where none stands there
    lost: int = 0  # times that an image was named which is not there
    cautions: list[str] = field(default_factory=list)  # what may not be as the user thinks
    notes: list[str] = field(default_factory=list)  # what was left out, by the rules

    def find(self, text: str) -> str:
        """The name of the image that `text` means. Raises Unusable where there is none."""
        try:
            name = self.pictures.find(text)
        except Unusable:
            self.lost += 1
            raise
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
            raise Unusable(
                f"{quoted(image)} is both positive and negative for {name!r} (first in "
                f"{before.place})"
            )
        if before.split != said.split:
            raise Unusable(
                f"{quoted(image)} is in {said.split} here and in {before.split} in {before.place}"
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
