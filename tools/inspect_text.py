"""What a data set holds, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from data.draw import Draw
from data.labels import share_annotated
from tools.inspect_counts import look_at, shortened, width

if TYPE_CHECKING:
    from datasets import Data, Split
    from image_files import BadImage
    from tools.inspect_counts import Counts, Pictures, Tally

ENDS = 5  # classes shown of either end
UNKNOWN = "-"


def describe(data: Data, tallies: Mapping[str, Tally]) -> Iterator[str]:
    """What the labels are, line by line."""
    val = "the set's own" if data.own_val else "cut from the training images"
    if not len(data.val):
        val = "empty: --val_frac leaves none"
    yield f"{len(data.classes):,} classes; {_truth(data.train)}; val is {val}"
    if data.train.observed is not None and data.train.observed is not data.train.truth:
        how = "it is not known how they were drawn" if data.drawn is None else Draw(**data.drawn)
        yield f"observed labels: {how}"
    yield ""
    columns = [_facts(found, data.groups) for found in tallies.values()]
    yield from aligned([("", *tallies), *((row, *(c[row] for c in columns)) for row in columns[0])])
    yield ""
    yield from aligned(_class_rows(data.classes, tallies))
    yield ""
    yield from _never_positive(data.classes, tallies)


def _truth(split: Split) -> str:
    if split.truth is None or split.truth is split.observed:
        return "what is not observed is unknown"
    return f"the truth is known of {_percent(share_annotated(split.truth))} of the labels"


def _facts(found: Tally, groups: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """A split in numbers, by what they say; the same rows for every split."""
    positive, negative, true, hidden = found
    num_images, num_classes = found.size
    observed = found.observed
    facts = {
        "images": _number(num_images),
        "labels (images x classes)": _number(num_images * num_classes),
        "observed labels": _total(observed),
        "  positive": _total(positive),
        "  negative": _total(negative),
        "  share of all labels": _share(observed, num_images * num_classes),
        "true positives": _total(true),
        "  hidden (false negatives)": _total(hidden),
        "  share hidden": _share(hidden, true.total if true else 0),
        "images without an observed label": _bare(observed),
        "images without an observed positive": _bare(positive),
        "images without a true positive": _bare(true),
        "observed positives of an image: mean, median, max": _spread(positive),
        "true positives of an image: mean, median, max": _spread(true),
    }
    for name, columns in groups.items():
        title = f"observed in {shortened(name, 24)} ({len(columns):,} classes)"
        facts[title] = UNKNOWN if observed is None else _number(observed.by_class[columns].sum())
    return facts


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _total(counts: Counts | None) -> str:
    return UNKNOWN if counts is None else _number(counts.total)


def _share(counts: Counts | None, whole: int) -> str:
    return UNKNOWN if counts is None or not whole else _percent(counts.total / whole)


def _bare(counts: Counts | None) -> str:
    return UNKNOWN if counts is None else _number((counts.by_image == 0).sum())


def _spread(counts: Counts | None) -> str:
    if counts is None or not len(counts.by_image):
        return UNKNOWN
    values = counts.by_image
    return f"{values.mean():.2f}, {np.median(values):g}, {values.max():,}"


def _class_rows(classes: Sequence[str], tallies: Mapping[str, Tally]) -> Iterator[tuple[str, ...]]:
    """The classes with most and with fewest positives in train."""
    train = tallies["train"]
    kinds = {"train": train.known, "val": tallies["val"].known, "test": tallies["test"].known}
    if train.true is not None and train.positive is not None:
        kinds = {"train": train.true, "train, observed": train.positive, **kinds}
    yield f"positives by class, {'true' if train.true else 'observed'}", *kinds
    for place, column in enumerate(np.argsort(-train.known.by_class, kind="stable")):
        if place < ENDS or place >= len(classes) - ENDS:
            counts = (_number(counts.by_class[column]) for counts in kinds.values())
            yield f"  {shortened(classes[column], 40)}", *counts
        elif place == ENDS:
            yield f"  ... {len(classes) - 2 * ENDS:,} more", *("" for _ in kinds)


def _never_positive(classes: Sequence[str], tallies: Mapping[str, Tally]) -> Iterator[str]:
    train = tallies["train"]
    kinds = {"observed positive in train": train.positive, "truly positive in train": train.true,
             "positive in test": tallies["test"].known}  # fmt: skip
    for where, counts in kinds.items():
        if counts is not None:
            empty = np.flatnonzero(counts.by_class == 0).tolist()
            names = ", ".join(shortened(classes[column], 24) for column in empty[:ENDS])
            listed = f": {names}{', ...' * (len(empty) > ENDS)}" if empty else ""
            yield f"classes never {where}: {len(empty):,}{listed}"


def describe_pictures(found: Pictures, decoded: bool) -> Iterator[str]:
    """What the picture files are, line by line; what cannot be read, unless all are `decoded`."""
    every = "all" if found.looked_at == found.total else "drawn at random"
    yield f"pictures: {found.total:,}, of which {found.looked_at:,} looked at ({every})"
    if len(found.sizes):
        ends: dict[str, Any] = {"min": np.min, "median": np.median, "max": np.max}
        rows = [("  pixels", *ends)]
        for title, values in zip(("  width", "  height"), found.sizes.T, strict=True):
            rows.append((title, *(_number(float(of(values))) for of in ends.values())))
        yield from aligned(rows)
    formats = ", ".join(f"{name} {count:,}" for name, count in found.formats.items())
    yield f"  formats: {formats or UNKNOWN}"
    yield f"  missing, of all: {_number_and_first(found.missing)}"
    if not decoded:
        unreadable = _number_and_first([str(error.path) for error in found.unreadable])
        only = "headers only; --check_images decodes all"
        yield f"  not readable, of those looked at: {unreadable} ({only})"


def _number_and_first(names: Sequence[str]) -> str:
    return f"{len(names):,}" + (f", {names[0]} the first" if names else "")


def aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The rows as lines, the first cell of each to the left, the others to the right."""
    table = list(rows)
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    for title, *cells in table:
        padded = (" " * (w - width(c)) + c for w, c in zip(widths[1:], cells, strict=True))
        yield "  ".join([title + " " * (widths[0] - width(title)), *padded]).rstrip()


def look(data: Data, sample: int | None, seed: int) -> Iterator[str]:
    """What the pictures of the three splits are, line by line.

    Of `sample` of them; of all where it is None, which `check` then decodes.
    """
    from image_files import ImageFiles

    images = data.train.images
    if not isinstance(images, ImageFiles):
        *_, height, width = images.rows.shape
        yield f"pictures: in memory, {width} x {height} pixels"
        return
    names = np.concatenate([split.names for split in data.splits.values()])
    yield from describe_pictures(look_at(images.folder, names, sample, seed), sample is None)


def check(data: Data, num_workers: int) -> Iterator[str]:
    """Every picture that cannot be decoded, a line each, and how many these are."""
    from data.check import bad_images
    from image_files import ImageFiles

    bad: list[BadImage] = []
    for split in data.splits.values():
        if isinstance(split.images, ImageFiles) and len(split):
            bad += bad_images(split.images, num_workers).values()
    for error in bad:
        yield f"bad image: {error.path}: {error.reason}"
    total = sum(map(len, data.splits.values()))
    yield f"{total:,} pictures decoded: {len(bad):,} cannot be read"
