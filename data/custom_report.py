"""What came of a user's own data, for people: counts, oddities, what to type next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data.custom_listing import Listing
from data.custom_names import some
from data.custom_parts import Images
from data.draw import Draw
from data.formatted import TITLES
from data.labels import Labels, count


def split_lines(
    splits: Mapping[str, Images],
    num_classes: int,
    fills: Mapping[str, bool],
    draw: Draw | None,
    observed: Mapping[str, Labels],
) -> Iterator[str]:
    """What each split holds; `observed`: what is drawn of its labels, where anything is."""
    if draw:
        yield f"  annotated: {draw}"
    seen = {TITLES[part]: labels for part, labels in observed.items()} if draw else {}
    for split, images in splits.items():
        if images:
            yield f"  {split}: {_counts(images, num_classes, fills[split], seen.get(split))}"
        else:
            yield f"  {split}: none, each run cuts it from train"


def _counts(images: Images, num_classes: int, fills: bool, seen: Labels | None) -> str:
    entries = images.values()
    positives = sum(len(entry.positive) for entry in entries)
    negatives = sum(len(entry.negative) for entry in entries)
    others = len(images) * num_classes - positives - negatives
    if seen is not None:
        return (
            f"{len(images):,} images, {positives:,} positives, all {negatives + others:,} other "
            f"labels negative ({others:,} not mentioned); observed: {count(seen, 1):,} positive "
            f"and {count(seen, -1):,} negative labels"
        )
    bare = sum(not (entry.positive or entry.negative) for entry in entries)
    taken = f"; {others:,} labels not mentioned, taken for negative" if fills else ""
    return (
        f"{len(images):,} images, {positives:,} positives and {negatives:,} negatives annotated, "
        f"{bare:,} images without a label{taken}"
    )


def odd_lines(
    splits: Mapping[str, Images], classes: Sequence[str], listings: Sequence[Listing]
) -> Iterator[str]:
    """What is odd about the classes, and what was left out, a line each."""
    yield from _odd_classes(splits, classes)
    for listing in listings:
        ignored = listing.classes.ignored()
        yield from (f"  {note}" for note in (*listing.notes, *([ignored] if ignored else [])))
    rejected = sum(len(listing.rejected) for listing in listings)
    if rejected:
        yield f"  rejected {listings[0].unit}: {rejected:,}"
    unmentioned = _unmentioned(listings)
    if unmentioned:
        yield f"  pictures that no line mentions: {len(unmentioned):,}, {unmentioned[0]!r} for one"


def occurrences(listings: Sequence[Listing]) -> dict[str, int]:
    """How many images each class was given to, where people write its name for each of them."""
    times: Counter[str] = Counter()
    for listing in listings:
        if not listing.by_column:
            names = listing.classes.names
            times.update(names[c] for entry in listing.entries.values() for c in entry.positive)
    return times


def _odd_classes(splits: Mapping[str, Images], classes: Sequence[str]) -> Iterator[str]:
    counts = {
        split: Counter(column for entry in images.values() for column in entry.positive)
        for split, images in splits.items()
    }
    whole = sum(counts.values(), Counter())
    once = [name for column, name in enumerate(classes) if whole[column] == 1]
    unlearned = [name for column, name in enumerate(classes) if not counts["train"][column]]
    if once:
        yield f"  labels that occur once: {some(once)}"
    if unlearned:
        yield f"  classes without a positive in train: {some(unlearned)}"


def _unmentioned(listings: Sequence[Listing]) -> list[str]:
    """The pictures below the folders that no line names; folders of classes name all of theirs."""
    listed = [listing for listing in listings if listing.unit != "folders"]
    found = {str(x.pictures.folder / name) for x in listed for name in x.pictures.names}
    found -= {str(x.pictures.folder / name) for x in listed for name in x.mentioned}
    return sorted(found)


def commands(out: Path, val_set_variant: str = "clean") -> Iterator[str]:
    """What to type next; the path has a slash, so that it is no name of a known set."""
    text = str(out)
    folder = shlex.quote(text if "/" in text and not text.startswith("-") else f"./{text}")
    variant = "" if val_set_variant == "clean" else f" --val_set_variant {val_set_variant}"
    yield f"next: python -m tools.inspect {folder}"
    yield f"next: python main.py --dataset {folder} --mod_scheme LL-R{variant}"
