"""What training sees of the data: the formatted arrays, split into train, val and test.

Letters in shapes: N images of a split, K classes. Labels are 1 positive, -1 negative and 0 not
annotated (int8), whatever the files hold.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cli import UserError, printable
from config import Config
from data import digits
from data.cache import keep_decoded
from data.check import bad_images
from data.formatted import PARTS
from data.observe import observe_labels
from data.read import Labelled, read_folder
from loaders import Array, BadImage, ImageFiles

SKIPPED = "skipped images"


@dataclass(frozen=True)
class Split:
    """Images with their labels."""

    images: ImageFiles | Array
    names: np.ndarray  # str [N], of the images
    truth: np.ndarray | None  # int8 [N, K]; None where only annotations are at hand
    observed: np.ndarray | None  # int8 [N, K]; None where only the truth is at hand
    skipped: tuple[str, ...] = ()  # names of images left out because they cannot be read
    whole: dict[str, str] | None = None  # the digests before that

    def __len__(self) -> int:
        return len(self.images)

    def labels(self, variant: str) -> np.ndarray:
        """The labels of a variant, "clean" or "observed", int8 [N, K]."""
        labels = self.truth if variant == "clean" else self.observed
        assert labels is not None, "load_data refuses a variant that the files do not hold"
        return labels

    @property
    def observed_or_negative(self) -> np.ndarray | None:
        """The observed labels, int8 [N, K], with -1 where nothing is annotated."""
        return None if self.observed is None else np.where(self.observed == 1, 1, -1)

    @property
    def best_known(self) -> np.ndarray:
        """The labels to measure by, int8 [N, K]: the truth, or else `observed_or_negative`."""
        labels = self.observed_or_negative if self.truth is None else self.truth
        assert labels is not None, "a split has at least one kind of labels"
        return labels

    def take(self, places: np.ndarray) -> Split:
        """The images at these places alone, in that order."""
        truth = None if self.truth is None else self.truth[places]
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
        labels = {"truth": self.truth, "observed": self.observed}
        found = {kind: "none" if a is None else _digest(a) for kind, a in labels.items()}
        return {"images": _digest_of_names(self.names.tolist()), **found}


def _digest_of_names(names: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _digest(array: np.ndarray) -> str:
    content = f"{array.shape}".encode() + array.astype(np.int8).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


@dataclass(frozen=True)
class Data:
    """A data set: train and val are cut from the official training set, test is its val set."""

    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def skipped(self) -> tuple[str, ...]:
        """The names of all images that were left out because they cannot be read."""
        return self.train.skipped + self.val.skipped + self.test.skipped

    def fingerprint(self) -> dict[str, str]:
        """Digests of the classes, and of the names and labels of each split, "train truth".

        Other names or labels, or another order, another digest; "none" for labels that are absent.
        The digest SKIPPED is that of the names of the images left out.
        """
        classes = hashlib.sha256(json.dumps(self.classes).encode()).hexdigest()[:16]
        prints = {"classes": classes}
        for name, split in self.splits.items():
            prints.update({f"{name} {kind}": digest for kind, digest in split.digests().items()})
        return {**prints, SKIPPED: _digest_of_names(self.skipped)}

    def warnings(self) -> Iterator[str]:
        """What is odd about the data although it can be trained on, a line each."""
        for name, split in self.splits.items():
            yield from _oddities(name, split)
        train, val, test = (set(split.names.tolist()) for split in self.splits.values())
        shared = {"in train and in val": train & val}
        shared["in training (train or val) and in test"] = (train | val) & test
        for where, names in shared.items():
            if names:
                yield f"images both {where}: {len(names):,}, {min(names)!r} for one"
        empty = np.flatnonzero(~(self.test.best_known == 1).any(axis=0))
        if len(empty):
            name = self.classes[empty[0]]
            yield f"test: classes without a positive label, whose AP is 0: {len(empty)}, {name!r}"


def _oddities(name: str, split: Split) -> Iterator[str]:
    if split.skipped:
        yield f"{name}: images left out because they cannot be read: {len(split.skipped):,}"
    names, counts = np.unique(split.names, return_counts=True)
    repeated, again = int((counts - 1).sum()), str(names[counts.argmax()])
    if repeated:
        yield f"{name}: images that stand there more than once: {repeated:,}, {again!r} for one"
    if split.truth is not None and split.observed is not None:
        wrong_positives = int(((split.observed == 1) & (split.truth == -1)).sum())
        wrong_negatives = int(((split.observed == -1) & (split.truth == 1)).sum())
        if wrong_positives or wrong_negatives:
            yield (
                f"{name}: {wrong_positives:,} labels are observed positive but negative in truth, "
                f"{wrong_negatives:,} the other way round"
            )


def load_data(config: Config, decode_once: bool = False) -> Data:
    """The data of a run; `decode_once`: with the images kept as its `cache` setting says.

    With `check_images`, or `on_bad_image` skip, every image is read first. Raises UserError where
    files are missing, wrong, or disagree.
    """
    classes, official, test = _read(config)
    _check_variant(official, "--train_set_variant", config.train_set_variant, config.dataset_dir)
    _check_variant(official, "--val_set_variant", config.val_set_variant, config.dataset_dir)
    train, val = split_indices(len(official), config.val_frac, config.split_seed)
    train, val = subsample(train, val, config.ss_frac_train, config.ss_frac_val, config.ss_seed)
    if not (len(train) and len(val)):
        raise UserError(
            f"--val_frac {config.val_frac:g} of {len(official)} images leaves {len(train)} to "
            f"train and {len(val)} to validate on: change it, --ss_frac_train or --ss_frac_val"
        )
    data = Data(classes, official.take(train), official.take(val), test)
    if config.check_images or config.on_bad_image == "skip":
        data = _checked(data, config.num_workers, config.on_bad_image)
    if decode_once:
        data = _kept_decoded(data, config.cache, Path(config.data_root), config.num_workers)
    _check_positives(data, config.train_set_variant, config.val_set_variant, config.dataset_dir)
    return data


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


def _read(config: Config) -> tuple[tuple[str, ...], Split, Split]:
    """The class names, the official training part and the official val part (our test split)."""
    size = config.image_size
    if config.dataset == "digits":
        train, test = (_digits(part, size) for part in PARTS)
        return digits.CLASSES, train, test
    folder = read_folder(config.dataset_dir, config.dataset)

    def split(part: Labelled) -> Split:
        return Split(ImageFiles(folder.images, part.names, size), *part)

    return folder.classes, split(folder.train), split(folder.val)


def _digits(part: str, image_size: int) -> Split:
    canvases = digits.compose(part)
    images = torch.from_numpy(canvases.images)
    if image_size != images.shape[-1]:
        from torchvision.transforms.v2.functional import resize

        images = resize(images, [image_size, image_size], antialias=True)
    observed = observe_labels(canvases.labels, num_pos=1, num_neg=0, seed=1200)
    names = np.array([f"{part} canvas {place}" for place in range(len(images))])
    return Split(Array(images), names, canvases.labels * 2 - 1, observed)


def _check_variant(split: Split, flag: str, variant: str, folder: Path) -> None:
    if variant == "clean" and split.truth is None:
        raise UserError(
            f"{flag} clean: the truth of {folder} is unknown (dataset.json says "
            f"none): give {flag} observed"
        )
    if variant == "observed" and split.observed is None:
        raise UserError(
            f"{flag} observed: {folder} holds no formatted_train_labels_obs.npy: "
            f"draw it with python -m data.observe {shlex.quote(str(folder))}"
        )


def _check_positives(
    data: Data, train_set_variant: str, val_set_variant: str, folder: Path
) -> None:
    """Raise UserError for a split without any: nothing could be learned, or measured."""
    if not (data.val.labels(val_set_variant) == 1).any():
        raise UserError(
            f"{folder}: no label of the {len(data.val)} val images is positive "
            f"(--val_set_variant {val_set_variant}), no mAP can choose the epoch: change "
            "--val_frac, --split_seed or --val_set_variant"
        )
    if not (data.train.labels(train_set_variant) == 1).any():
        raise UserError(
            f"{folder}: no label of the {len(data.train)} training images is positive "
            f"(--train_set_variant {train_set_variant}), there is nothing to learn from: correct "
            "the labels, or draw the observed ones again with python -m data.observe"
        )
    if not (data.test.best_known == 1).any():
        raise UserError(
            f"{folder}: no label of the {len(data.test)} test images is positive, no mAP can be "
            "measured: correct formatted_val_labels.npy"
        )


def _checked(data: Data, num_workers: int, on_bad_image: str) -> Data:
    """The data without the images that cannot be read; every file is tried.

    Raises UserError where there are such images and `on_bad_image` is not "skip".
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
    return Data(
        data.classes, **{name: data.splits[name].without(found) for name, found in bad.items()}
    )


def _kept_decoded(data: Data, mode: str, data_root: Path, num_workers: int) -> Data:
    """The data with its images decoded once, as far as `mode` says so (`keep_decoded`).

    Train and val share theirs, in the order of the names: another cut, the same file on disk.
    """
    kept = data.splits
    for names in (("train", "val"), ("test",)):
        splits = {name: data.splits[name] for name in names}
        files = np.unique(np.concatenate([split.names for split in splits.values()]))
        images = splits[names[0]].images
        if isinstance(images, ImageFiles):
            images = ImageFiles(images.folder, files, images.size)
            images = keep_decoded(images, mode, data_root / "cache", num_workers)
            for name, split in splits.items():
                own = images.take(np.searchsorted(files, split.names))
                kept[name] = replace(split, images=own)
    return Data(data.classes, **kept)
