"""The example images of explained runs: their class maps by method, their pixels, their boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cli import UserError
from data.boxes import Boxes, boxes_of
from tools.explained import Maps, Pointing, check_same_data, read_maps, read_pointing
from tools.finished import Run, group_by_method, method_name, setting

if TYPE_CHECKING:
    from datasets import Split


class Explained(NamedTuple):
    """A run of a method, with the maps that are kept of it."""

    name: str
    run: Run
    maps: Maps
    pointing: Pointing | None


class Picture(NamedTuple):
    """An example image as it is drawn."""

    pixels: np.ndarray  # uint8 [H, W, 3]
    size: tuple[int, int]  # its true width and height
    boxes: Boxes


def methods_with_maps(runs: Sequence[Run]) -> list[Explained]:
    """Of each method the run with the lowest seed among those that have maps.

    Methods without such a run are left out. Raises UserError where none has one, and where the maps
    are not of the same images.
    """
    groups = group_by_method(runs)
    methods = []
    for name, group in zip(names_of(groups), groups, strict=True):
        for run in sorted(group, key=lambda run: run.config.seed):
            maps = read_maps(run.config.run_dir)
            if maps:
                methods.append(Explained(name, run, maps, read_pointing(run.config.run_dir)))
                break
    if not methods:
        raise UserError(
            f"{runs[0].config.run_dir} and the runs beside it have no maps.npz: make them with "
            "python -m tools.explain"
        )
    first = methods[0]
    for other in methods[1:]:
        _check_same_images(first, other)
    return methods


def _check_same_images(first: Explained, other: Explained) -> None:
    """Raise UserError where the maps of two runs are not of the same images and classes."""
    same = (
        first.run.config.dataset == other.run.config.dataset
        and (first.maps.split, first.maps.names) == (other.maps.split, other.maps.names)
        and np.array_equal(first.maps.image, other.maps.image)
        and np.array_equal(first.maps.column, other.maps.column)
        and first.maps.classes == other.maps.classes
    )
    if not same:
        raise UserError(
            f"{first.run.config.run_dir} and {other.run.config.run_dir} have maps of different "
            "images: run python -m tools.explain on both with the same --split, --examples, --seed"
        )


def read_pictures(
    methods: Sequence[Explained], names: Sequence[str], data_root: str | None
) -> list[Picture]:
    """The images of these names with their boxes, from the data of the runs."""
    from datasets import load_data

    config, split = methods[0].run.config, methods[0].maps.split
    config = dataclasses.replace(
        config, check_images=False, on_bad_image="stop", data_root=data_root or config.data_root
    )
    data = load_data(config)
    for method in methods:
        check_same_data(method.run.config.run_dir, data.fingerprint(), split)
    place_of = {name: place for place, name in enumerate(data.splits[split].names.tolist())}
    lost = [name for name in names if name not in place_of]
    if lost:
        raise UserError(
            f"{methods[0].run.config.run_dir} has maps of the image {lost[0]!r}, which its data "
            "does not have: run python -m tools.explain again"
        )
    boxes = boxes_of(config.dataset, config.dataset_dir, names, data.classes)
    return [
        Picture(*pixels_of(data.splits[split], place_of[name]), found)
        for name, found in zip(names, boxes, strict=True)
    ]


def pixels_of(split: Split, place: int) -> tuple[np.ndarray, tuple[int, int]]:
    """An image as the network sees it, uint8 [H, W, 3], and its true width and height.

    Raises BadImage where it cannot be read.
    """
    from image_files import BadImage, ImageFiles
    from tools.inspect_counts import read_header

    images = split.images
    batch = images.__getitems__([place])
    if isinstance(batch, BadImage):
        raise batch
    pixels = batch[0][0].permute(1, 2, 0).numpy()
    if not isinstance(images, ImageFiles):
        return pixels, (pixels.shape[1], pixels.shape[0])
    header = read_header(images.folder / str(images.names[place]))
    if isinstance(header, BadImage):
        raise header
    return pixels, header[:2]


def names_of(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The names of the methods; those that share one have their settings after it."""
    names = [method_name(group[0].config) for group in groups]
    return [
        name if names.count(name) == 1 else f"{name}\n{setting(group[0].config)}".strip()
        for name, group in zip(names, groups, strict=True)
    ]
