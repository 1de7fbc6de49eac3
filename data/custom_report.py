"""What came of a user's own data, for people: counts, oddities, what to type next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data.custom_listing import Listing
from data.custom_parts import Images
from data.formatted import Formatted
from data.labels import count

_SHOWN = 5  # names in a line at most


def cautions(formatted: Formatted) -> Iterator[str]:
    """Where no mAP can be measured although positives are there, a line each."""
    if formatted.truth != "partial":
        return
    chooses = "train, from which val is cut," if formatted.dev is None else "val"
    labels = (formatted.dev or formatted.train).labels
    if not count(labels, -1):
        yield (
            f"no label of {chooses} is negative: val mAP cannot choose the epoch "
            "(--left_out negative takes for negative what is left out of a val split)"
        )
    if not count(formatted.val.labels, -1):
        yield "no label of test is negative: every mAP will be 100 there (--left_out negative)"


def lines(
    out: Path, splits: Mapping[str, Images], classes: Sequence[str], listings: Sequence[Listing]
) -> Iterator[str]:
    """What was read, a line each."""
    total = sum(map(len, splits.values()))
    yield f"{out}: {len(classes):,} classes, {total:,} images"
    for split, images in splits.items():
        entries = images.values()
        positives = sum(len(entry.positive) for entry in entries)
        negatives = sum(len(entry.negative) for entry in entries)
        bare = sum(not (entry.positive or entry.negative) for entry in entries)
        yield (
            f"  {split}: {len(images):,} images, {positives:,} positives and {negatives:,} "
            f"negatives annotated, {bare:,} images without a label"
        )
    yield from _odd_classes(splits, classes)
    for listing in listings:
        yield from (f"  {note}" for note in listing.notes)
    rejected = sum(len(listing.rejected) for listing in listings)
    yield f"  rejected {listings[0].unit}: {rejected:,}"
    unmentioned = _unmentioned(listings)
    if unmentioned:
        yield f"  pictures that no line mentions: {len(unmentioned):,}, {unmentioned[0]!r} for one"


def _odd_classes(splits: Mapping[str, Images], classes: Sequence[str]) -> Iterator[str]:
    counts = {
        split: Counter(column for entry in images.values() for column in entry.positive)
        for split, images in splits.items()
    }
    whole = sum(counts.values(), Counter())
    once = [name for column, name in enumerate(classes) if whole[column] == 1]
    unlearned = [name for column, name in enumerate(classes) if not counts["train"][column]]
    if once:
        yield f"  labels that occur once: {_some(once)}"
    if unlearned:
        yield f"  classes without a positive in train: {_some(unlearned)}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return f"{len(names):,} ({shown}{', ...' if len(names) > _SHOWN else ''})"


def _unmentioned(listings: Sequence[Listing]) -> list[str]:
    """The pictures below the folders that no line names; folders of classes name all of theirs."""
    listed = [listing for listing in listings if listing.unit != "folders"]
    found = {str(x.pictures.folder / name) for x in listed for name in x.pictures.names}
    found -= {str(x.pictures.folder / name) for x in listed for name in x.mentioned}
    return sorted(found)


def commands(out: Path) -> Iterator[str]:
    """What to type next; the path has a slash, so that it is no name of a known set."""
    text = str(out)
    folder = shlex.quote(text if "/" in text and not text.startswith("-") else f"./{text}")
    yield f"next: python -m tools.inspect {folder}"
    yield f"next: python main.py --dataset {folder} --mod_scheme LL-R"
