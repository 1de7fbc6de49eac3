"""Listed images to the parts of a data set: who trains, and what a label left out says.

Shapes: N images of a part, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from cli import UserError
from data.custom_listing import Entry
from data.formatted import Formatted, Part
from data.labels import Labels, sparse_labels

Images: TypeAlias = "dict[str, Entry]"  # by name
_SPARSE = (2_000, 0.02)  # a table of more classes, of which a smaller share is annotated


def given_splits(images: Images, test: Images | None) -> dict[str, Images]:
    """The images by the split that is given for each, and `test`; empty where none is given.

    Raises UserError where there are none to train or to test on, or `test` is not the test split.
    """
    splits: dict[str, Images] = {"train": {}, "val": {}, "test": {}}
    strange = {entry.split for entry in (test or {}).values()} - {"", "test"}
    if strange:
        raise UserError(f"the test labels say {min(strange)!r} in the column `split`: drop that")
    for name, entry in images.items():
        if not entry.split:
            return {}
        splits[entry.split][name] = entry
    if not images:
        return {}
    if test is not None and splits["test"]:
        raise UserError("the column `split` and --test_labels both say what to test on: drop one")
    splits["test"] = splits["test"] if test is None else test
    for split in ("train", "test"):
        if not splits[split]:
            raise UserError(
                f"the column `split` has no image of {split}: name some so (only val may be "
                "absent, then a run cuts it from train)"
            )
    return splits


def draw_splits(
    images: Images, test: Images | None, test_frac: float, val_frac: float, seed: int
) -> dict[str, Images]:
    """The images by split, drawn once; those of `test`, if given, are the test split.

    Of RandomState(seed).permutation(N) the first are test, the next val. With `val_frac` 0 there
    is no val split. Raises UserError where a split has no image.
    """
    order = np.random.RandomState(seed).permutation(len(images))
    num_test = 0 if test is not None else round(test_frac * len(images))
    num_val = round(val_frac * len(images))
    names = list(images)
    cuts = {
        "train": order[num_test + num_val :],
        "val": order[num_test : num_test + num_val],
        "test": order[:num_test],
    }
    splits = {s: {names[p]: images[names[p]] for p in sorted(cut)} for s, cut in cuts.items()}
    splits["test"] = splits["test"] if test is None else test
    empty = [split for split, found in splits.items() if not found]
    if val_frac == 0 and "val" in empty:
        empty.remove("val")
    if empty:
        counts = ", ".join(f"{len(found):,} {split}" for split, found in splits.items())
        raise UserError(
            f"{len(images):,} images give {counts} at --test_frac {test_frac:g} and --val_frac "
            f"{val_frac:g}: no split may be empty, change these"
        )
    return splits


def filled(
    truth: str, left_out: str | None, by_column: bool, test_by_column: bool
) -> dict[str, bool]:
    """For each split, whether a label that is not given is negative.

    With a partial truth only in val and test, if `left_out` says so: where it is None, unless the
    labels are those of a table with a column a class, in which nothing was left out by chance.
    """
    if truth != "partial":
        return dict.fromkeys(("train", "val", "test"), truth == "full")
    tables = {"val": by_column, "test": test_by_column}
    default = {split: "unobserved" if table else "negative" for split, table in tables.items()}
    return {"train": False, **{s: (left_out or default[s]) == "negative" for s in tables}}


def make_formatted(
    splits: Mapping[str, Images],
    classes: Sequence[str],
    truth: str,
    fills: Mapping[str, bool],
    source: str,
) -> Formatted:
    """The data set: `truth` is what the labels are, `fills` where one not given is negative.

    In other splits it is unobserved. Raises UserError for a split without a positive label.
    """
    for split, images in splits.items():
        if images and not any(entry.positive for entry in images.values()):
            raise UserError(
                f"no label of the {len(images):,} {split} images is positive: nothing can be "
                "learned or measured there, take other labels or another split"
            )

    def part(split: str) -> Part:
        images = splits[split]
        labels = _table(list(images.values()), len(classes), fills[split])
        if truth == "full":
            labels = (labels == 1).astype(np.int8)
        return Part(np.array(list(images), dtype=np.str_), labels)

    dev = part("val") if splits["val"] else None
    return Formatted(part("train"), part("test"), tuple(classes), dev, truth, {}, source)


def _table(entries: Sequence[Entry], num_classes: int, fills: bool) -> Labels:
    """The labels [N, K], -1 where nothing is said if `fills`; sparse if large and thin."""
    shape = (len(entries), num_classes)
    sides = [(entry.positive, entry.negative) for entry in entries]
    lengths = [len(positive) + len(negative) for positive, negative in sides]
    share = sum(lengths) / max(shape[0] * shape[1], 1)
    if not fills and num_classes > _SPARSE[0] and share < _SPARSE[1]:
        rows = np.repeat(np.arange(len(entries)), lengths)
        columns = [column for side in sides for columns in side for column in columns]
        values = [value for p, n in sides for value in (*[1] * len(p), *[-1] * len(n))]
        return sparse_labels(rows, np.array(columns, int), np.array(values, int), shape)
    table = np.full(shape, -1 if fills else 0, dtype=np.int8)
    for row, (positive, negative) in zip(table, sides, strict=True):
        row[list(positive)] = 1
        row[list(negative)] = -1
    return table
