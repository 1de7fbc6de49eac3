"""What training sees of the data: the formatted arrays, split into train, val and test.

Letters in shapes: N images of a split, K classes. Labels are 1 positive, -1 negative and 0 not
annotated (int8), dense or sparse (data/labels.py), whatever the files hold.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cli import UserError
from config import Config
from data import digits
from data.draw import Draw
from data.formatted import PARTS
from data.labels import Labels, count, digest, observed_or_negative, share_annotated
from data.observe import drawn
from data.read import Folder, Labelled, read_folder
from decoding import bad_places, kept_decoded
from image_files import ImageFiles
from loaders import Array
from oddities import oddities
from processes import ALONE, Processes

SKIPPED = "skipped images"


@dataclass(frozen=True)
class Split:
    """Images with their labels."""

    images: ImageFiles | Array
    names: np.ndarray  # str [N], of the images
    truth: Labels | None  # [N, K]; None where only annotations are at hand
    observed: Labels | None  # [N, K]; None where only the truth is at hand
    skipped: tuple[str, ...] = ()  # names of images left out because they cannot be read
    whole: dict[str, str] | None = None  # the digests before that

    def __len__(self) -> int:
        return len(self.images)

    def labels(self, variant: str) -> Labels:
        """The labels of a variant, "clean" or "observed", [N, K]."""
        labels = self.truth if variant == "clean" else self.observed
        assert labels is not None, "load_data refuses a variant that the files do not hold"
        return labels

    @property
    def observed_or_negative(self) -> np.ndarray | None:
        """The observed labels, int8 [N, K], with -1 where nothing is annotated."""
        return None if self.observed is None else observed_or_negative(self.observed)

    @property
    def best_known(self) -> Labels:
        """The labels to measure by, [N, K]: the truth, or else `observed_or_negative`."""
        labels = self.observed_or_negative if self.truth is None else self.truth
        assert labels is not None, "a split has at least one kind of labels"
        return labels

    def take(self, places: np.ndarray) -> Split:
        """The images at these places alone, in that order."""
        truth = None if self.truth is None else self.truth[places]
        if self.observed is self.truth:
            observed = truth
        else:
            observed = None if self.observed is None else self.observed[places]
        return Split(self.images.take(places), self.names[places], truth, observed)

    def without(self, places: Collection[int]) -> Split:
        """All images but those at these places, which cannot be read."""
        bad = np.array(sorted(places), dtype=int)
        good = np.setdiff1d(np.arange(len(self)), bad)
        skipped = tuple(self.names[bad].tolist())
        return replace(self.take(good), skipped=skipped, whole=self.digests())

    def digests(self) -> dict[str, str]:
        """16 hex digits each for the images' names, in order, and for each kind of labels.

        What was left out counts, as if it could be read.
        """
        if self.whole:
            return self.whole
        truth = "none" if self.truth is None else digest(self.truth)
        same = self.observed is self.truth
        observed = "none" if self.observed is None else truth if same else digest(self.observed)
        names = _digest_of_names(self.names.tolist())
        return {"images": names, "truth": truth, "observed": observed}


def _digest_of_names(names: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class Data:
    """A data set: train and val are cut from the official training set, test is its val set.

    Where a set has its own images for choosing the epoch (`dev`), these are val.
    """

    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    own_val: bool = False  # whether val is the set's own, not cut from train
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)  # columns, by name
    drawn: Mapping[str, Any] | None = None  # how the observed labels were drawn, where known

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def with_splits(self, splits: Mapping[str, Split]) -> Data:
        """The same with these three splits."""
        return replace(self, train=splits["train"], val=splits["val"], test=splits["test"])

    def without(self, bad: Mapping[str, Collection[int]]) -> Data:
        """The same without the images at these places of each split, which cannot be read."""
        splits = self.splits
        return self.with_splits({name: splits[name].without(bad[name]) for name in splits})

    @property
    def skipped(self) -> tuple[str, ...]:
        """The names of all images that were left out because they cannot be read."""
        return self.train.skipped + self.val.skipped + self.test.skipped

    def fingerprint(self) -> dict[str, str]:
        """Digests of classes and groups, and of the names and labels of each split, "train truth".

        Other names or labels, or another order, another digest; "none" for labels that are absent.
        The digest SKIPPED is that of the names of the images left out.
        """
        prints = {"classes": hashlib.sha256(json.dumps(self.classes).encode()).hexdigest()[:16]}
        if self.groups:
            groups = json.dumps({name: list(columns) for name, columns in self.groups.items()})
            prints["groups"] = hashlib.sha256(groups.encode()).hexdigest()[:16]
        for name, split in self.splits.items():
            prints.update({f"{name} {kind}": digest for kind, digest in split.digests().items()})
        return {**prints, SKIPPED: _digest_of_names(self.skipped)}

    def warnings(self) -> Iterator[str]:
        """What is odd about the data although it can be trained on, a line each."""
        return oddities(self)


def load_data(config: Config, decode_once: bool = False, processes: Processes = ALONE) -> Data:
    """The data of a run; `decode_once`: with the images kept as its `cache` setting says.

    With `check_images`, or `on_bad_image` skip, every image is read first, by the first process
    for all. Raises UserError where files are missing, wrong, or disagree.
    """
    data = processes.together(lambda: _read(config))
    if config.check_images or config.on_bad_image == "skip":
        look = partial(bad_places, data, config.num_workers, config.on_bad_image)
        data = data.without(processes.once(look))
    return processes.together(partial(_ready, data, config, decode_once))


def _read(config: Config) -> Data:
    """The data as the files have it, with val cut from train."""
    data = load_uncut(config)
    for flag, split, variant in (
        ("--train_set_variant", data.train, config.train_set_variant),
        ("--val_set_variant", data.val, config.val_set_variant),
    ):
        _check_variant(split, flag, variant, config.dataset_dir)
    return _cut(data, config)


def _ready(data: Data, config: Config, decode_once: bool) -> Data:
    """The data with its images as they are to be kept. Raises UserError if none can be learned."""
    if decode_once and config.cache != "none":
        data = kept_decoded(data, config.cache, Path(config.data_root), config.num_workers)
    _check_positives(data, config.train_set_variant, config.val_set_variant, config.dataset_dir)
    return data


def load_uncut(config: Config) -> Data:
    """The data as its files have it: all training images are in train, and val if it has no own."""
    return _digits(config) if config.dataset == "digits" else _from_folder(config)


def split_indices(num_images: int, val_frac: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of the train and of the val images among `num_images`, each sorted.

    The official draw: the last round(val_frac * N) of RandomState(seed).permutation(N) are val.
    """
    cut = num_images - round(val_frac * num_images)
    order = np.random.RandomState(seed).permutation(num_images)
    return np.sort(order[:cut]), np.sort(order[cut:])


def subsample(
    train: np.ndarray, val: np.ndarray, frac_train: float, frac_val: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Those shares of the train and of the val places: the official draw, train first."""
    rng = np.random.RandomState(seed)
    kept = []
    for places, frac in ((train, frac_train), (val, frac_val)):
        order = rng.permutation(len(places))
        kept.append(places[np.sort(order[: round(frac * len(places))])])
    return kept[0], kept[1]


def _cut(data: Data, config: Config) -> Data:
    """The data with val cut from train, unless it has its own, and both subsampled."""
    if data.own_val:
        train, val = np.arange(len(data.train)), np.arange(len(data.val))
    else:
        train, val = split_indices(len(data.train), config.val_frac, config.split_seed)
    train, val = subsample(train, val, config.ss_frac_train, config.ss_frac_val, config.ss_seed)
    if not (len(train) and len(val)):
        cut = "this" if data.own_val else f"--val_frac {config.val_frac:g}"
        raise UserError(
            f"{cut} of {len(data.train)} images leaves {len(train)} to train and {len(val)} to "
            f"validate on: change {'' if data.own_val else 'it, '}--ss_frac_train or --ss_frac_val"
        )
    return replace(data, train=data.train.take(train), val=data.val.take(val))


def _from_folder(config: Config) -> Data:
    """The data of a formatted folder; without a `dev` part, val is not cut from train yet."""
    folder = read_folder(config.dataset_dir, config.dataset)

    def split(part: Labelled) -> Split:
        return Split(ImageFiles(folder.images, part.names, config.image_size), *part)

    train = split(folder.train)
    val = train if folder.dev is None else split(folder.dev)
    own_val, how = folder.dev is not None, drawn(config.dataset_dir, _drawn_labels(folder))
    return Data(folder.classes, train, val, split(folder.val), own_val, folder.groups, how)


def _drawn_labels(folder: Folder) -> dict[str, Labels]:
    """The observed labels that are not simply all that is known, by part."""
    return {
        name: part.observed
        for name, part in folder.parts.items()
        if part.observed is not None and part.observed is not part.truth
    }


def _digits(config: Config) -> Data:
    """The embedded set, one positive label an image unless told otherwise; val is not cut yet."""
    if config.fpc is None and config.rps is None:
        draw = Draw(num_pos=1, num_neg=0, seed=1200)
    else:
        draw = Draw(fpc=config.fpc, rps=config.rps, seed=1200)
    train, test = (_digits_part(part, config.image_size, draw) for part in PARTS)
    return Data(digits.CLASSES, train, train, test, drawn=draw.record())


def _digits_part(part: str, image_size: int, draw: Draw) -> Split:
    canvases = digits.compose(part)
    images = torch.from_numpy(canvases.images)
    if image_size != images.shape[-1]:
        from torchvision.transforms.v2.functional import resize

        images = resize(images, [image_size, image_size], antialias=True)
    names = np.array([f"{part} canvas {place}" for place in range(len(images))])
    return Split(Array(images), names, canvases.labels * 2 - 1, draw(canvases.labels))


def _check_variant(split: Split, flag: str, variant: str, folder: Path) -> None:
    if variant == "clean" and split.truth is None:
        raise UserError(
            f"{flag} clean: the truth of {folder} is unknown (dataset.json says "
            f"none): give {flag} observed"
        )
    if variant == "observed" and split.observed is None:
        raise UserError(
            f"{flag} observed: {folder} holds no formatted_*_labels_obs.npy of these images: "
            f"draw them with python -m data.observe {shlex.quote(str(folder))}"
        )


def _check_positives(
    data: Data, train_set_variant: str, val_set_variant: str, folder: Path
) -> None:
    """Raise UserError for a split without any: nothing could be learned, or measured."""
    other_val = "" if data.own_val else "--val_frac, --split_seed or "
    if not count(data.val.labels(val_set_variant), 1):
        raise UserError(
            f"{folder}: no label of the {len(data.val)} val images is positive "
            f"(--val_set_variant {val_set_variant}), no mAP can choose the epoch: change "
            f"{other_val}--val_set_variant"
        )
    known = data.val.labels(val_set_variant)
    if not count(known, -1) and share_annotated(known) < 1 and val_set_variant == "clean":
        raise UserError(
            f"{folder}: no label of the {len(data.val)} val images is known to be negative, every "
            "mAP would be 100: give --val_set_variant observed, which takes what is not annotated "
            "for negative"
        )
    if not count(data.train.labels(train_set_variant), 1):
        raise UserError(
            f"{folder}: no label of the {len(data.train)} training images is positive "
            f"(--train_set_variant {train_set_variant}), there is nothing to learn from: correct "
            "the labels, or draw the observed ones again with python -m data.observe"
        )
    if not count(data.test.best_known, 1):
        raise UserError(
            f"{folder}: no label of the {len(data.test)} test images is positive, no mAP can be "
            "measured: correct formatted_val_labels.npy"
        )
    if not count(data.test.best_known, -1) and share_annotated(data.test.best_known) < 1:
        raise UserError(
            f"{folder}: no label of the {len(data.test)} test images is known to be negative, "
            "every mAP would be 100: mark some, or say that what is left out is negative (-1)"
        )
