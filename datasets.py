"""What training sees of the data: the formatted arrays, split into train, val and test.

Letters in shapes: N images of a split, K classes. Labels are 1 positive, -1 negative and 0 not
annotated (int8), whatever the files hold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cli import UserError
from config import Config
from data import class_names, digits
from data.observe import observe_labels
from loaders import Array, ImageFiles

# Where the official layout keeps the pictures, and the classes where their names are fixed.
DATASETS: dict[str, dict[str, Any]] = {
    "pascal": {"images": "VOCdevkit/VOC2012/JPEGImages", "classes": class_names.PASCAL},
    "coco": {"images": ".", "classes": class_names.COCO},
    "nuswide": {"images": "Flickr"},
    "cub": {"images": "CUB_200_2011/images"},
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


def load_data(config: Config) -> Data:
    """The data of a run. Raises UserError where files are missing, wrong, or disagree."""
    if config.dataset == "digits":
        classes: tuple[str, ...] = digits.CLASSES
        official, test = (_digits(part, config.image_size) for part in ("train", "val"))
    else:
        classes, official, test = read_formatted(
            config.dataset_dir, config.dataset, config.image_size
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
    train, test = (_read_part(folder, part, about, image_size) for part in ("train", "val"))
    num_classes = [
        (part.truth if part.truth is not None else part.observed).shape[1] for part in (train, test)
    ]
    if num_classes[0] != num_classes[1]:
        raise UserError(
            f"{folder}: the train labels have {num_classes[0]} columns, the val labels "
            f"{num_classes[1]}: make both from the same class list"
        )
    classes = about["classes"] or [f"class {column}" for column in range(num_classes[0])]
    if len(classes) != num_classes[0]:
        raise UserError(
            f"{folder}: {len(classes)} class names for {num_classes[0]} label columns: "
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
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if not isinstance(about, dict):
        raise UserError(f"{path} must hold an object with name, classes, images and truth")
    rules = {
        "classes": lambda v: isinstance(v, list) and all(isinstance(name, str) for name in v),
        "images": lambda v: isinstance(v, str),
        "truth": lambda v: v in TRUTHS,
    }
    known = {key: about[key] for key in rules if key in about}
    for key, value in known.items():
        if not rules[key](value):
            expected = {"classes": "a list of names", "images": "a sub-folder"}
            raise UserError(
                f"{path}: {key} is {value!r}, not {expected.get(key, ' or '.join(TRUTHS))}"
            )
    return known


def _read_part(folder: Path, part: str, about: dict[str, Any], image_size: int) -> Split:
    names = _read_array(folder / f"formatted_{part}_images.npy", ("U", "S"), dimensions=1)
    names = names.astype(str)
    truth = observed = None
    if about["truth"] != "none":
        path = folder / f"formatted_{part}_labels.npy"
        truth = _read_labels(path, len(names), TRUTHS[about["truth"]])
        if about["truth"] == "full":
            truth = truth * 2 - 1
    paths = [
        folder / f"formatted_{part}_{kind}.npy" for kind in ("labels_obs", "uniform_labels_obs")
    ]
    path = next((path for path in paths if path.exists()), paths[0])
    if path.exists() or truth is None:
        observed = _read_labels(path, len(names), (-1, 0, 1))
        if truth is not None and truth.shape != observed.shape:
            raise UserError(
                f"{path} has {observed.shape[1]} columns, the true labels "
                f"{truth.shape[1]}: draw it anew with python -m data.observe"
            )
    return Split(ImageFiles(folder / about["images"], names, image_size), truth, observed)


def _read_labels(path: Path, num_images: int, values: tuple[int, ...]) -> np.ndarray:
    labels = _read_array(path, ("i", "u", "f", "b"), dimensions=2)
    if len(labels) != num_images:
        raise UserError(
            f"{path} has {len(labels)} rows for {num_images} images: "
            "both must come from the same preparation"
        )
    if labels.shape[1] == 0 or num_images == 0:
        raise UserError(f"{path} is empty: shape {labels.shape}")
    strange = labels[~np.isin(labels, values)]
    if len(strange):
        raise UserError(f"{path} holds {strange[0]}: labels must be one of {values}")
    return labels.astype(np.int8)


def _read_array(path: Path, kinds: tuple[str, ...], dimensions: int) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {_how_to_make(path.parent)}") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is no plain numpy array: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
        raise UserError(
            f"{path} holds {getattr(array, 'dtype', 'an archive')} where numbers or names belong"
        )
    if array.ndim != dimensions:
        raise UserError(f"{path} has shape {array.shape}: {dimensions} dimensions are expected")
    return array


def _how_to_make(folder: Path) -> str:
    if folder.name in ("pascal", "coco", "cub"):
        root = "" if folder.parent == Path("data") else f" --data_root {folder.parent}"
        return f"make it with python -m data.prepare {folder.name}{root}"
    return "see data/README.md for the files that belong there"
