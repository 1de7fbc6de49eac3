"""What a data set holds, counted: its labels by class and by image, and its picture files.

N images of a split, K classes. No table [N, K] is made dense: there may be thousands of classes.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cli import printable
from data.labels import Labels
from data.pictures import missing_pictures

if TYPE_CHECKING:
    from datasets import Split
    from image_files import BadImage

CSV_COLUMNS = ("observed_positives", "observed_negatives", "true_positives", "share_hidden")


class Counts(NamedTuple):
    """How many labels of a kind there are."""

    by_class: np.ndarray  # int64 [K]
    by_image: np.ndarray  # int64 [N]

    @property
    def total(self) -> int:
        """How many in all."""
        return int(self.by_class.sum())


class Tally(NamedTuple):
    """The labels of a split, counted; None is what the data cannot tell.

    `hidden`: truly positive and not annotated. Where nothing but annotations is known, `true` and
    `hidden` are None.
    """

    positive: Counts | None
    negative: Counts | None
    true: Counts | None
    hidden: Counts | None

    @property
    def known(self) -> Counts:
        """The true positives, or else the observed ones."""
        counts = self.positive if self.true is None else self.true
        assert counts is not None, "a split has at least one kind of labels"
        return counts

    @property
    def observed(self) -> Counts | None:
        """What is annotated, positive or negative."""
        if self.positive is None or self.negative is None:
            return None
        pairs = zip(self.positive, self.negative, strict=True)
        return Counts(*(ours + theirs for ours, theirs in pairs))

    @property
    def size(self) -> tuple[int, int]:
        """N, K."""
        return len(self.known.by_image), len(self.known.by_class)


def tally(split: Split) -> Tally:
    """The labels of a split, counted."""
    observed, truth = split.observed, split.truth
    positive = negative = true = hidden = None
    if observed is not None:
        positive, negative = _counts(observed == 1), _counts(observed == -1)
    if truth is not None and truth is not observed:
        true = _counts(truth == 1)
    if true is not None and observed is not None:
        seen = _counts((truth == 1) * (observed != 0))  # never == 0: sparse, that is everything
        hidden = Counts(true.by_class - seen.by_class, true.by_image - seen.by_image)
    return Tally(positive, negative, true, hidden)


def _counts(table: Labels) -> Counts:
    return Counts(*(np.asarray(table.sum(axis=axis), np.int64).ravel() for axis in (0, 1)))


def labels_csv(classes: Sequence[str], tallies: Mapping[str, Tally]) -> str:
    """A row a class: CSV_COLUMNS for each split; empty where the data cannot tell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"{split}_{column}" for split in tallies for column in CSV_COLUMNS]
    writer.writerow(["class", *names])
    for column, name in enumerate(classes):
        cells = [cell for found in tallies.values() for cell in _cells(found, column)]
        writer.writerow([name, *cells])
    return text.getvalue()


def _cells(found: Tally, column: int) -> Iterator[str]:
    counts = [c and int(c.by_class[column]) for c in found]
    _, _, true, hidden = counts
    yield from ("" if value is None else str(value) for value in counts[:3])
    yield "" if hidden is None or not true else f"{hidden / true:.4f}"


class Pictures(NamedTuple):
    """What the headers of picture files say, and which files are not there."""

    sizes: np.ndarray  # int [M, 2], width and height in pixels, of those that could be read
    formats: dict[str, int]  # how many of each, the most frequent first
    unreadable: list[BadImage]  # missing ones are not among them
    missing: list[str]  # their names
    looked_at: int
    total: int


def look_at(folder: Path, names: np.ndarray, sample: int | None, seed: int) -> Pictures:
    """The headers of `sample` files drawn at random, or of all; missing ones among all files."""
    from image_files import BadImage
    from loaders import progress

    there = np.ones(len(names), bool)
    there[missing_pictures(folder, names.tolist())] = False
    chosen = np.arange(len(names))
    if sample is not None and sample < len(names):
        chosen = np.sort(np.random.default_rng(seed).choice(len(names), sample, replace=False))
    sizes: list[tuple[int, int]] = []
    formats: Counter[str] = Counter()
    unreadable = []
    for place in progress(chosen[there[chosen]], int(there[chosen].sum()), "look"):
        found = read_header(folder / str(names[place]))
        if isinstance(found, BadImage):
            unreadable.append(found)
        else:
            sizes.append(found[:2])
            formats[found[2]] += 1
    return Pictures(
        np.array(sizes, int).reshape(-1, 2),
        dict(formats.most_common()),
        unreadable,
        names[~there].tolist(),
        len(chosen),
        len(names),
    )


def read_header(path: Path) -> tuple[int, int, str] | BadImage:
    """Width, height and format of a picture, which is not decoded, or what is wrong with it."""
    from PIL import Image

    from image_files import BadImage, read_image

    with contextlib.suppress(Exception), warnings.catch_warnings():  # PIL raises nearly anything
        warnings.simplefilter("ignore")
        if path.is_file():  # of a pipe, a header would be waited for
            with Image.open(path) as picture:
                return picture.width, picture.height, picture.format or "unknown"
    try:
        read_image(path, 1)
    except BadImage as error:
        return error
    return BadImage(path, "has a header that cannot be read")


def shared_start(files: Sequence[str]) -> str:
    """What all these names of files begin with: folders, whole words, and zeros after them.

    Something is left of each name besides its suffix.
    """
    stems = [os.path.splitext(file)[0][:-1] for file in files]
    start = os.path.commonprefix(stems)  # noqa: RUF071 - letter by letter is meant
    words = re.match(r"(.*[\W_])?0*", start, re.DOTALL)
    return words[0] if words else ""


def shortened(text: str, columns: int) -> str:
    """The text in one line of at most so many columns, an ellipsis in the place of its middle."""
    text = printable(text)
    if width(text) <= columns:
        return text
    end = _start(text[::-1], columns // 3)[::-1]
    return f"{_start(text, columns - columns // 3 - 1)}…{end}"


def _start(text: str, columns: int) -> str:
    """As much of the text as fits into so many columns."""
    places = itertools.accumulate(map(width, text))
    return text[: sum(place <= columns for place in places)]


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )
