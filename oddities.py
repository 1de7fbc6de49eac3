"""What is odd about a data set although it can be trained on.

Shapes: N images of a split, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import Data, Split


def oddities(data: Data) -> Iterator[str]:
    """What a person should know of the data before it is trained on, a line each."""
    for name, split in data.splits.items():
        yield from _odd_split(name, split)
    train, val, test = (set(split.names.tolist()) for split in data.splits.values())
    shared = {"in train and in val": train & val}
    shared["in training (train or val) and in test"] = (train | val) & test
    for where, names in shared.items():
        if names:
            yield f"images both {where}: {len(names):,}, {min(names)!r} for one"
    if data.test.truth is None:
        yield "the truth is unknown: mAP takes what is not annotated for negative"
    yield from odd_classes("val", data.val, data.classes)
    yield from odd_classes("test", data.test, data.classes)


def _odd_split(name: str, split: Split) -> Iterator[str]:
    if split.skipped:
        yield f"{name}: images left out because they cannot be read: {len(split.skipped):,}"
    names, counts = np.unique(split.names, return_counts=True)
    repeated = int((counts - 1).sum())
    if repeated:
        again = str(names[counts.argmax()])
        yield f"{name}: images that stand there more than once: {repeated:,}, {again!r} for one"
    if split.truth is not None and split.observed is not None:
        wrong_positives = int(((split.observed == 1) * (split.truth == -1)).sum())
        wrong_negatives = int(((split.observed == -1) * (split.truth == 1)).sum())
        if wrong_positives or wrong_negatives:
            yield (
                f"{name}: {wrong_positives:,} labels are observed positive but negative in truth, "
                f"{wrong_negatives:,} the other way round"
            )


def odd_classes(name: str, split: Split, classes: Sequence[str]) -> Iterator[str]:
    """The classes of a split whose AP does not depend on the network, a line a kind.

    In val no class without a positive label is told of: mAP only chooses the epoch there.
    """
    labels = split.best_known
    positives, negatives = (np.asarray((labels == value).sum(axis=0)) for value in (1, -1))
    empty = np.flatnonzero((positives == 0) & (negatives > 0))
    if name != "val" and len(empty):
        yield f"test: {_some(empty, classes)} without a positive label, of which AP counts as 0"
    full = np.flatnonzero((positives > 0) & (negatives == 0))
    if len(full):
        yield f"{name}: {_some(full, classes)} without a negative label, of which AP is always 100"


def _some(columns: np.ndarray, classes: Sequence[str]) -> str:
    return f"{len(columns):,} of {len(classes):,} classes ({classes[columns[0]]!r} is the first)"
