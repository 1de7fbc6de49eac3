"""What is evaluated: the best model of a run, on images of its own or of another set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import stopping
from cli import UserError, printable
from tools import loading

if TYPE_CHECKING:
    import numpy as np

    from data.read import Folder
    from datasets import Split
    from hardware import Hardware
    from models import ImageClassifier
    from settings import Config

_PARTS = {"test": "val", "val": "dev", "train": "train"}  # of a formatted folder, by split


class Subject(NamedTuple):
    """A model, the images to measure it on, and those that choose its thresholds."""

    model: ImageClassifier
    config: Config
    hardware: Hardware
    classes: tuple[str, ...]
    groups: Mapping[str, Sequence[int]]  # columns, by name
    split: Split
    val: Split | None  # None where no thresholds are wanted, or the run's data is gone
    names: dict[str, str]  # of the run, the data set and the split

    @property
    def title(self) -> str:
        """The run and the data set, for people."""
        return f"{Path(self.names['run']).name} on {Path(self.names['dataset']).name}"

    @property
    def val_labels(self) -> np.ndarray:
        """The labels of val that chose the best epoch, [N, K]."""
        assert self.val is not None, "it is asked for where there is a val alone"
        if self.config.val_set_variant == "clean":
            return self.val.labels("clean")
        labels = self.val.observed_or_negative
        assert labels is not None, "load_data refuses a variant that the files do not hold"
        return labels

    def logits(self, split: Split) -> np.ndarray:
        """What the model makes of the images of a split, float32 [N, K]."""
        with stopping.at_next_step():
            from evaluation import evaluate, evaluation_loader
            from failures import explained
        how, hardware = self.config, self.hardware
        with explained(how.bsize, how.image_size, how.num_workers):
            loader = evaluation_loader(split.images, how.bsize, how.num_workers, hardware)
            return evaluate(self.model.to(hardware.device), loader, hardware).numpy()

    def facts(self) -> dict[str, Any]:
        """What was measured, for JSON."""
        labels = "observed" if self.split.truth is None else "clean"
        of_val = self.config.val_set_variant if self.val else None
        return {**self.names, "images": len(self.split), "labels": labels, "val_labels": of_val}


def subject_of(args: argparse.Namespace, wants_val: bool) -> Subject:
    """What `run_dir`, `dataset` and `split` name; with `wants_val`, the run's val images too.

    Raises UserError where there is none, or the data set has other classes.
    """
    model, config, classes, hardware = loading.load_model(args)
    names = {"run": args.run_dir, "dataset": args.dataset or config.dataset, "split": args.split}
    val: Split | None = None
    if args.dataset:
        split, groups = _of_another(args, config, classes)
        if wants_val:
            try:
                val = loading.data_of(args.run_dir, config, classes).val
            except UserError as error:
                said = f"warning: no thresholds are chosen on the run's val images: {error}"
                print(printable(said), file=sys.stderr)
    else:
        data = loading.data_of(args.run_dir, config, classes)
        split, groups = data.splits[args.split], data.groups
        val = data.val if wants_val else None
    return Subject(model, config, hardware, classes, groups, split, val, names)


def _of_another(
    args: argparse.Namespace, config: Config, classes: tuple[str, ...]
) -> tuple[Split, Mapping[str, Sequence[int]]]:
    """A split of another data set of the same classes, and the groups of these."""
    from data.check import bad_images
    from data.formatted import dataset_folder
    from data.labels import count
    from data.read import read_folder
    from datasets import Split
    from image_files import ImageFiles

    if args.dataset == "digits":
        raise UserError("--dataset digits: these images lie in no folder: leave the flag out")
    path = dataset_folder(args.dataset, config.data_root)
    folder = read_folder(path, args.dataset)
    _check_classes(folder, path, classes)
    part = folder.parts.get(_PARTS[args.split])
    if part is None:
        raise UserError(f"{path} has no val images of its own: give --split test or train")
    files = ImageFiles(folder.images, part.names, config.image_size)
    split = Split(files, *part)
    if config.on_bad_image == "skip":
        split = split.without(bad_images(files, config.num_workers))
    if not count(split.best_known, 1):
        raise UserError(f"{path}: no label of the {args.split} images is positive: correct them")
    return split, folder.groups


def _check_classes(folder: Folder, path: Path, classes: tuple[str, ...]) -> None:
    """Raise UserError unless the folder's classes are these, in this order."""
    if folder.classes == classes:
        return
    if len(folder.classes) != len(classes):
        how = f"it has {len(folder.classes):,}, the run {len(classes):,}"
    else:
        pairs = enumerate(zip(folder.classes, classes, strict=True))
        place, own, theirs = next((k, a, b) for k, (a, b) in pairs if a != b)
        how = f"number {place} is {own!r}, of the run {theirs!r}"
    raise UserError(
        f"--dataset {path} has other classes than the run: {how} (see its dataset.json)"
    )
