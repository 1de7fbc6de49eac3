"""The images of a data set, read before training: to find bad ones, or to decode each once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli import UserError, printable
from data.cache import TOGETHER, keep_decoded, union
from data.check import bad_images
from image_files import BadImage, ImageFiles

if TYPE_CHECKING:
    from datasets import Data


def bad_places(data: Data, num_workers: int, on_bad_image: str) -> dict[str, list[int]]:
    """The places of the images of each split that cannot be read; every file is tried.

    Raises UserError where there are such images and `on_bad_image` is not "skip", and where they
    are all of a split.
    """
    bad: dict[str, dict[int, BadImage]] = {
        name: bad_images(split.images, num_workers) if isinstance(split.images, ImageFiles) else {}
        for name, split in data.splits.items()
    }
    errors = [error for found in bad.values() for error in found.values()]
    if errors and on_bad_image != "skip":
        for error in errors:
            print(printable(f"bad image: {error.path}: {error.reason}"))
        total = sum(len(split) for split in data.splits.values())
        raise UserError(
            f"{len(errors):,} of {total:,} images cannot be read, {errors[0].path} the first: "
            "replace them, or give --on_bad_image skip to leave them out"
        )
    if not errors:
        print(f"{sum(map(len, data.splits.values())):,} images checked: all can be read")
    for name, found in bad.items():
        if len(found) == len(data.splits[name]):
            raise UserError(f"no image of the {name} split can be read, {found[0].path} the first")
    return {name: sorted(found) for name, found in bad.items()}


def kept_decoded(data: Data, mode: str, data_root: Path, num_workers: int) -> Data:
    """The data with its images decoded once, as far as `mode` says so (`keep_decoded`).

    Train and val share theirs, in the order of the names: another cut, the same file on disk.
    """
    kept = data.splits
    for names in TOGETHER:
        images, places = union([kept[name].images for name in names])
        images = keep_decoded(images, mode, data_root / "cache", num_workers)
        for name, own in zip(names, places, strict=True):
            kept[name] = replace(kept[name], images=images.take(own))
    return data.with_splits(kept)
