"""What training sees of the data: the formatted arrays, split into train, val and test.

Letters in shapes: N images of a split, K classes. Labels are 1 positive, -1 negative and 0 not
annotated (int8), whatever the files hold.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cli import UserError
from config import Config
from data import class_names, digits
from data.cache import keep_decoded
from data.formatted import IMAGE_FOLDERS, PARTS, array_path, load_array
from data.observe import observe_labels
from data.prepare import RELEASES
from loaders import Array, ImageFiles

# What holds for a known set where its folder has no dataset.json.
DATASETS: dict[str, dict[str, Any]] = {
    "pascal": {"images": IMAGE_FOLDERS["pascal"], "classes": class_names.PASCAL},
    "coco": {"images": IMAGE_FOLDERS["coco"], "classes": class_names.COCO},
    "nuswide": {"images": IMAGE_FOLDERS["nuswide"]},
    "cub": {"images": IMAGE_FOLDERS["cub"]},
}
TRUTHS = {"full": (0, 1), "partial": (-1, 0, 1), "none": ()}  # values of formatted_*_labels.npy


@dataclass(frozen=True)
class Split:
    """Images with their labels."""

    images: ImageFiles | Array
    truth: np.ndarray | None  # int8 [N, K]; None where only annotations are at hand
    observed: np.ndarray | None  # int8 [N, K]; None where only the truth is at hand

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
        return Split(self.images.take(places), truth, observed)


@dataclass(frozen=True)
class Data:
    """A data set: train and val are cut from the official training set, test is its val set."""

    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split

    def fingerprint(self) -> str:
        """A digest of the classes and of all labels: other labels, another digest."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        for split in (self.train, self.val, self.test):
            for array in (split.truth, split.observed):
                digest.update(b"none" if array is None else f"{array.shape}".encode())
                digest.update(b"" if array is None else array.astype(np.int8).tobytes())
        return digest.hexdigest()[:16]


def load_data(config: Config, decode_once: bool = False) -> Data:
    """The data of a run; `decode_once`: with the images kept as its `cache` setting says.

    Raises UserError where files are missing, wrong, or disagree.
    """
    if config.dataset == "digits":
        classes: tuple[str, ...] = digits.CLASSES
        official, test = (_digits(part, config.image_size) for part in PARTS)
    else:
        classes, official, test = read_formatted(
            config.dataset_dir, config.dataset, config.image_size
        )
        if decode_once:
            folder, workers = Path(config.data_root) / "cache", config.num_workers
            official, test = (
                replace(part, images=keep_decoded(part.images, config.cache, folder, workers))
                for part in (official, test)
            )
    for flag, variant in (
        ("--train_set_variant", config.train_set_variant),
        ("--val_set_variant", config.val_set_variant),
    ):
        _check_variant(official, flag, variant, config.dataset_dir)
    train, val = split_indices(len(official), config.val_frac, config.split_seed)
    train, val = subsample(train, val, config.ss_frac_train, config.ss_frac_val, config.ss_seed)
    if not (len(train) and len(val)):
        raise UserError(
            f"--val_frac {config.val_frac:g} of {len(official)} images leaves {len(train)} to "
            f"train and {len(val)} to validate on: change it, --ss_frac_train or --ss_frac_val"
        )
    return Data(classes, official.take(train), official.take(val), test)


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


def read_formatted(
    folder: Path, name: str, image_size: int
) -> tuple[tuple[str, ...], Split, Split]:
    """The class names, the official training part and the official val part (our test split).

    `folder` holds the official formatted_*.npy files and perhaps a dataset.json; `name` is a key
    of DATASETS, or anything else for a folder of the user's own.
    """
    about = {"images": ".", "classes": None, "truth": "full", **DATASETS.get(name, {})}
    about.update(_read_about(folder))
    train, test = (_read_part(folder, part, about, image_size) for part in PARTS)
    num_classes, in_test = (part.best_known.shape[1] for part in (train, test))
    if num_classes != in_test:
        raise UserError(
            f"{folder}: the train labels have {num_classes} columns, the val labels {in_test}: "
            "make both from the same class list"
        )
    classes = about["classes"] or [f"class {column}" for column in range(num_classes)]
    if len(classes) != num_classes:
        raise UserError(
            f"{folder}: {len(classes)} class names for {num_classes} label columns: "
            "correct `classes` in dataset.json"
        )
    return tuple(classes), train, test


def _digits(part: str, image_size: int) -> Split:
    canvases = digits.compose(part)
    images = torch.from_numpy(canvases.images)
    if image_size != images.shape[-1]:
        from torchvision.transforms.v2.functional import resize

        images = resize(images, [image_size, image_size], antialias=True)
    observed = observe_labels(canvases.labels, num_pos=1, num_neg=0, seed=1200)
    return Split(Array(images), canvases.labels * 2 - 1, observed)


def _check_variant(split: Split, flag: str, variant: str, folder: Path) -> None:
    if variant == "clean" and split.truth is None:
        raise UserError(
            f"{flag} clean: the truth of {folder} is unknown (dataset.json says "
            f"none): give {flag} observed"
        )
    if variant == "observed" and split.observed is None:
        raise UserError(
            f"{flag} observed: {folder} holds no formatted_train_labels_obs.npy: "
            f"draw it with python -m data.observe {folder}"
        )


def _read_about(folder: Path) -> dict[str, Any]:
    """The known keys of dataset.json, checked; nothing where there is no such file."""
    path = folder / "dataset.json"
    if not path.exists():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(about, dict):
        raise UserError(f"{path} must hold an object with name, classes, images and truth")
    rules = {
        "classes": lambda v: (
            isinstance(v, list)
            and all(isinstance(name, str) for name in v)
            and len(set(v)) == len(v)
        ),
        "images": lambda v: isinstance(v, str),
        "truth": lambda v: isinstance(v, str) and v in TRUTHS,
    }
    known = {key: about[key] for key in rules if key in about}
    for key, value in known.items():
        if not rules[key](value):
            expected = {"classes": "a list of different names", "images": "a sub-folder"}
            raise UserError(
                f"{path}: {key} is {value!r}, not {expected.get(key, ' or '.join(TRUTHS))}"
            )
    return known


def _read_part(folder: Path, part: str, about: dict[str, Any], image_size: int) -> Split:
    path = array_path(folder, part, "images")
    try:
        names = _read(path, "US", dimensions=1).astype(str)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} holds names that are not ASCII bytes ({error}): use text"
        ) from None
    truth = observed = None
    if about["truth"] != "none":
        truth = _read_labels(array_path(folder, part, "labels"), len(names), TRUTHS[about["truth"]])
        truth = truth * 2 - 1 if about["truth"] == "full" else truth
    kinds = ("labels_obs", "uniform_labels_obs")  # the latter in the newer files of SPML
    paths = [array_path(folder, part, kind) for kind in kinds]
    path = next((path for path in paths if path.exists()), paths[0])
    if path.exists() or truth is None:
        observed = _read_labels(path, len(names), (-1, 0, 1))
    if truth is not None and observed is not None and truth.shape != observed.shape:
        raise UserError(
            f"{path} has {observed.shape[1]} columns, the true labels {truth.shape[1]}: "
            f"draw it anew with python -m data.observe {folder}"
        )
    return Split(ImageFiles(folder / about["images"], names, image_size), truth, observed)


def _read_labels(path: Path, num_images: int, values: tuple[int, ...]) -> np.ndarray:
    labels = _read(path, "iufb", dimensions=2)
    if len(labels) != num_images:
        raise UserError(
            f"{path} has {len(labels)} rows for {num_images} images: "
            "both must come from the same preparation"
        )
    if not labels.size:
        raise UserError(f"{path} is empty, of shape {labels.shape}: make it again")
    strange = labels[~np.isin(labels, values)]
    if len(strange):
        raise UserError(f"{path} holds {strange[0]}: a label is one of {values}")
    return labels.astype(np.int8)


def _read(path: Path, kinds: str, dimensions: int) -> np.ndarray:
    """The array in a file, if its dtype is of these kinds and it has so many dimensions."""
    if not path.exists() and path.parent.name in RELEASES:
        name, root = path.parent.name, path.parent.parent
        where = "" if root == Path("data") else f" --data_root {root}"
        raise UserError(f"{path} is missing: make it with python -m data.prepare {name}{where}")
    array = load_array(path)
    if array.dtype.kind not in kinds or array.ndim != dimensions:
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}, where "
            f"{'names [N]' if dimensions == 1 else 'labels [N, K]'} belong"
        )
    return array
