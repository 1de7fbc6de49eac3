"""What a phase of a run trains with, made from the settings and the data.

Letters in shapes: N training images, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from checkpoint import State
from cli import UserError
from config import Config
from data.labels import count, share_annotated
from datasets import Data
from evaluation import evaluation_loader
from features import features_of
from hardware import Hardware
from image_files import ImageFiles
from label_store import LabelStore
from loaders import Array, BatchOrder, Loader, Purpose, epoch_rng, make_loader
from losses import Scheme, build_scheme, options_of
from models import ImageClassifier, parameter_groups
from phases import Phase
from priors import read_prior
from processes import ALONE, Processes

MOST_LABELS = 500_000_000  # of which a scheme may keep a number each: 2 GB, 8 GB with Adam
_OF_ALL_LABELS = {"num_images"}  # the option of the schemes that keep one


def own_options(config: Config, data: Data) -> dict[str, Any]:
    """The options of the run's scheme, those included that the data or a file must tell.

    Raises UserError where they do not.
    """
    options = {name: value for name, value in config.options.items() if value is not None}
    if "expected_positives" in config.options and config.expected_positives is None:
        options["expected_positives"] = _mean_positives(config, data)
    if options.get("expected_positives", 0) > len(data.classes):
        raise UserError(
            f"--expected_positives {options['expected_positives']:g}: an image has at most "
            f"{len(data.classes)}, one a class"
        )
    if config.prior is not None:
        options["prior"] = _prior(Path(config.prior), data.classes)
    return options


def build_state(
    config: Config,
    data: Data,
    options: dict[str, Any],
    model: ImageClassifier,
    phase: Phase,
    rows: list[dict[str, Any]],
    processes: Processes = ALONE,
) -> State:
    """All that is new in a phase, on the device of the model; the model's weights go on.

    `options`: of the run's scheme; `rows`: of metrics.csv, from the phases before.
    """
    device = model.head.weight.device
    model.freeze(phase.is_linear or config.freeze_feature_extractor)
    labels = LabelStore(data.train.labels(config.train_set_variant), data.train.truth, device)
    torch.manual_seed(epoch_rng(config.seed, 0, Purpose.SCHEME).initial_seed())
    same = phase.scheme == config.mod_scheme
    scheme = _build_scheme(phase, options if same else {}, data, labels).to(device)
    groups = parameter_groups(model, scheme, phase.lr, phase.lr_mult)
    scales, decay, on_gpu = config.amp == "fp16", config.weight_decay, device.type == "cuda"
    optimizer: torch.optim.Optimizer
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, weight_decay=decay, fused=on_gpu)
    else:
        # fused, a first step that the scaler skips would leave the momentum uninitialised
        fused, momentum = on_gpu and not scales, config.momentum
        optimizer = torch.optim.SGD(groups, momentum=momentum, weight_decay=decay, fused=fused)
    scaler = torch.amp.GradScaler(device.type, enabled=scales)
    net: nn.Module = model.head if phase.is_linear else model
    if config.compile and not phase.is_linear:
        net.compile(dynamic=False)
    parallel = processes.parallel(net)
    return State(phase, model, net, parallel, scheme, optimizer, scaler, labels, list(rows))


def build_loaders(
    config: Config, data: Data, state: State, hardware: Hardware, processes: Processes = ALONE
) -> dict[str, Loader]:
    """Loaders of the splits' images, or of their features where only the head is trained.

    "train" is shuffled and may be augmented, "predict" is the same images in order, un-augmented.
    Each gives this process its share.
    """
    phase = state.phase
    images: dict[str, Any] = {name: split.images for name, split in data.splits.items()}
    if phase.is_linear:
        folder = Path(config.data_root) / "cache"
        images = processes.in_turn(
            lambda: features_of(images, state.model, hardware, folder, config.num_workers)
        )

    def in_order(images: ImageFiles | Array) -> Loader:
        return evaluation_loader(images, phase.bsize, config.num_workers, hardware, processes)

    purpose = Purpose.LINEAR_ORDER if phase.is_linear else Purpose.ORDER
    order = BatchOrder(len(images["train"]), phase.bsize, config.seed, purpose, processes)
    return {
        "train": make_loader(images["train"], order, config.num_workers, hardware.pins_memory),
        "predict": in_order(images["train"]),
        "val": in_order(images["val"]),
        "test": in_order(images["test"]),
    }


def _build_scheme(phase: Phase, options: dict[str, Any], data: Data, labels: LabelStore) -> Scheme:
    """The scheme of a phase, with what it must know of the labels and the phase."""
    num_images, num_classes = len(data.train), len(data.classes)
    taken = set(options_of(phase.scheme))
    facts: dict[str, Any] = {"num_images": num_images, "num_epochs": phase.epochs}
    if taken & _OF_ALL_LABELS and num_images * num_classes > MOST_LABELS:
        raise UserError(
            f"--mod_scheme {phase.scheme} keeps a number for each of {num_images:,} x "
            f"{num_classes:,} labels, at most {MOST_LABELS:,} are possible: take another scheme, "
            "or a part of the images by --ss_frac_train"
        )
    if "observed" in taken:
        facts["observed"] = labels.all_observed().cpu()
    known = {name: value for name, value in facts.items() if name in taken}
    try:
        return build_scheme(phase.scheme, num_classes=num_classes, **options, **known)
    except ValueError as error:
        raise UserError(f"--mod_scheme {phase.scheme}: {error}") from None


def _mean_positives(config: Config, data: Data) -> float:
    """Positive labels of an image, by the clean val labels. Raises UserError without any."""
    truth = data.val.truth
    if truth is None or share_annotated(truth) < 1 or not count(truth, 1):
        raise UserError(
            f"--mod_scheme {config.mod_scheme}: the val labels of {config.dataset_dir} are not all "
            "known, so the mean number of positive labels of an image is not: give "
            "--expected_positives"
        )
    return count(truth, 1) / len(data.val)


def _prior(path: Path, classes: tuple[str, ...]) -> tuple[float, ...]:
    try:
        return read_prior(path, classes)
    except UserError as error:
        raise UserError(f"--prior: {error}") from None
