"""What training would refuse, or could not measure, in a user's own data: found before writing.

Shapes: N images of a part, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from cli import UserError
from data.custom_listing import Listing
from data.formatted import Formatted
from data.labels import Labels, count

_NO_TEST = "every mAP would be 100"


def check_test(formatted: Formatted, listing: Listing, left_out: str | None) -> None:
    """Raise UserError where no label of the test images, read from `listing`, is negative.

    Without a truth it is not asked: what is not annotated is measured as negative then.
    """
    labels = formatted.val.labels
    if formatted.truth == "none" or _has_negative(labels, formatted.truth):
        return
    images = f"{labels.shape[0]:,} test images"
    if _all_positive(labels):
        raise UserError(
            f"every label of the {images} is positive, {_NO_TEST}: test on images without some of "
            "the classes, too"
        )
    if listing.by_column:
        zero = "--zero negative or " if listing.zero == "unobserved" else ""
        cure = f"write -1 where a class is absent, or give {zero}--left_out negative"
    else:
        cure = f"drop --left_out {left_out}"
    raise UserError(f"no label of the {images} is negative, {_NO_TEST}: {cure}")


def check_cut(formatted: Formatted, observed: Mapping[str, Labels], given: bool) -> None:
    """Raise UserError where val is cut from train, and the cut of a run leaves no positive in one.

    `given`: whether a column gives the splits.
    """
    if formatted.dev is not None:
        return
    labels = formatted.train.labels
    train, val = _cut(labels.shape[0])
    seen = observed.get("train", labels)
    for name, table, places in (("val", labels, val), ("train", seen, train)):
        if not (len(places) and count(table[places], 1)):
            cure = "name some as val in the column `split`" if given else "give --val_frac 0.1"
            raise UserError(
                f"a run cuts {len(val):,} val images from the {labels.shape[0]:,} of train, and no "
                f"label of {name} would be positive: {cure}"
            )


def val_variant(formatted: Formatted) -> str:
    """The --val_set_variant with which the epoch can be chosen, "observed" where no other can."""
    if formatted.truth == "none":
        return "observed"
    labels = _val_labels(formatted)
    is_known = _has_negative(labels, formatted.truth) or _all_positive(labels)
    return "clean" if is_known else "observed"


def cautions(
    formatted: Formatted, listing: Listing, left_out: str | None, given: bool
) -> Sequence[str]:
    """Where the epoch cannot be chosen by known labels, and what could be done, in a line."""
    labels = _val_labels(formatted)
    if formatted.truth == "none" or _has_negative(labels, formatted.truth):
        return []
    cut = ", which a run cuts from train," if formatted.dev is None else ""
    if _all_positive(labels):
        return [f"every label of val{cut} is positive: its mAP is always 100, any epoch is best"]
    if listing.by_column:
        cure = "write -1 where a class is absent, or give --left_out negative"
        if formatted.dev is None:
            cure = "write -1 where a class is absent"
    elif formatted.dev is not None:
        cure = f"drop --left_out {left_out}"
    elif given:
        cure = "add rows whose `split` is val"
    else:
        cure = "give --val_frac 0.1"
    return [
        f"no label of val{cut} is known to be negative: {cure}; or train with --val_set_variant "
        "observed, which takes what is not annotated for negative"
    ]


def _val_labels(formatted: Formatted) -> Labels:
    """The labels by which a run chooses the epoch."""
    if formatted.dev is not None:
        return formatted.dev.labels
    labels = formatted.train.labels
    return labels[_cut(labels.shape[0])[1]]


def _cut(num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of train and of val, as a run cuts them that is not told otherwise."""
    from config import Config
    from datasets import split_indices

    told = {field.name: field.metadata["default"] for field in fields(Config)}
    return split_indices(num_images, told["val_frac"], told["split_seed"])


def _has_negative(labels: Labels, truth: str) -> bool:
    return count(labels, -1) > 0 or (truth == "full" and not _all_positive(labels))


def _all_positive(labels: Labels) -> bool:
    return count(labels, 1) == labels.shape[0] * labels.shape[1]
