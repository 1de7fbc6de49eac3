"""A run under way: what it is made of, built from its settings or taken up again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from checkpoint import PREVIOUS, State, clear, has_checkpoint, is_started
from cli import UserError
from config import FLAGS, Config
from datasets import Data, load_data
from evaluation import evaluate, evaluation_loader
from hardware import Hardware, find_hardware
from instrumentation import RunRecord
from label_store import LabelStore
from loaders import Array, BatchOrder, ImageFiles, make_loader
from losses import build_scheme
from models import ImageClassifier, build_model, parameter_groups


@dataclass
class Run:
    """A run under way."""

    config: Config
    record: RunRecord
    hardware: Hardware
    data: Data
    state: State
    loaders: dict[str, DataLoader]  # "train", "val", "test"

    @property
    def chosen_by(self) -> str:
        """The column of metrics.csv whose maximum chooses the epoch."""
        return "val_map" if self.config.val_set_variant == "clean" else "val_map_observed"

    @property
    def best_epoch(self) -> int:
        """The first epoch with the highest validation mAP so far."""
        return 1 + int(np.argmax([row[self.chosen_by] for row in self.state.rows]))

    @property
    def is_trained(self) -> bool:
        """Whether the last epoch is done, or val mAP fell so far that the run stops early."""
        maps = [row[self.chosen_by] for row in self.state.rows]
        fallen = bool(maps) and max(maps) - maps[-1] > self.config.early_stop_drop
        return fallen or self.state.epoch >= self.config.num_epochs


def finished(config: Config, record: RunRecord) -> dict[str, Any] | None:
    """The summary of a run that is finished already. Raises UserError if it must not go on."""
    if config.overwrite or not is_started(record.folder):
        return None
    if not config.resume:
        raise UserError(
            f"{record.folder} holds a run already: add --resume to go on with it, "
            "--overwrite to start anew, or another --exp_name"
        )
    _check_unchanged(config, record)
    summary = record.read_summary()
    if summary and summary["num_epochs"] == config.num_epochs:
        return summary
    if not has_checkpoint(record.folder):
        raise UserError(
            f"--resume: {record.folder} holds a result but no checkpoint to go on from: "
            "give --overwrite, or another --exp_name"
        )
    return None


def _check_unchanged(config: Config, record: RunRecord) -> None:
    """Raise UserError if a setting that changes results is not what the run was started with."""
    saved = record.read_settings()
    for name, value in config.settings().items():
        grown = name == "num_epochs" and value >= saved.get(name, 0)
        if FLAGS[name].metadata["names_run"] and value != saved.get(name) and not grown:
            raise UserError(
                f"--resume: {record.folder} was started with --{name} "
                f"{saved.get(name)}, not {value}: give that, or another --exp_name"
            )


def set_up(config: Config, record: RunRecord) -> Run:
    """Everything that training needs, and the run's folder, begun anew or taken up again."""
    hardware = find_hardware(config.device, config.gpu_num, config.amp)
    data = load_data(config)
    torch.manual_seed(config.seed)
    state = _build_state(config, data, hardware.device)
    loaders = _build_loaders(config, data, state, hardware)
    try:
        record.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {record.folder}: {error.strerror}") from None
    if config.overwrite:
        clear(record.folder)
    record.write_config(config.settings(), str(hardware))
    record.say(_describe(config, data, state.model, hardware))
    source = state.load(record.folder)
    if source:
        damaged = ", the newer one is damaged" if source == PREVIOUS else ""
        record.say(f"resumed after epoch {state.epoch} ({source}{damaged})")
    return Run(config, record, hardware, data, state, loaders)


def _build_state(config: Config, data: Data, device: torch.device) -> State:
    num_classes = len(data.classes)
    frozen = config.freeze_feature_extractor or config.use_feats
    model = build_model(config.arch, num_classes, config.weights, frozen).to(device)
    scheme = build_scheme(num_classes=num_classes, **config.scheme_options).to(device)
    groups = parameter_groups(model, scheme, config.lr, config.lr_mult)
    decay = config.weight_decay
    optimizer: torch.optim.Optimizer
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(groups, momentum=config.momentum, weight_decay=decay)
    scaler = torch.amp.GradScaler(device.type, enabled=config.amp == "fp16")
    labels = LabelStore(data.train.labels(config.train_set_variant), data.train.truth, device)
    net = model.head if config.use_feats else model
    return State(model, net, scheme, optimizer, scaler, labels)


def _build_loaders(
    config: Config, data: Data, state: State, hardware: Hardware
) -> dict[str, DataLoader]:
    """Loaders of the splits' images, or of their features where only the head is trained."""

    def in_order(images: ImageFiles | Array) -> DataLoader:
        return evaluation_loader(images, config.bsize, config.num_workers, hardware)

    splits = {"train": data.train, "val": data.val, "test": data.test}
    images: dict[str, ImageFiles | Array] = {name: split.images for name, split in splits.items()}
    if config.use_feats:
        state.model.eval()
        for name, source in images.items():
            images[name] = Array(evaluate(state.model.features, in_order(source), hardware))
    order = BatchOrder(len(images["train"]), config.bsize, config.seed)
    return {
        "train": make_loader(images["train"], order, config.num_workers, hardware.pins_memory),
        "val": in_order(images["val"]),
        "test": in_order(images["test"]),
    }


def _describe(config: Config, data: Data, model: ImageClassifier, hardware: Hardware) -> str:
    observed = (data.train.labels(config.train_set_variant) != 0).mean()
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    start = "from scratch" if config.weights == "none" else f"from {config.weights}"
    return (
        f"{config.dataset}: {len(data.train):,} train, {len(data.val):,} val and "
        f"{len(data.test):,} test images, {len(data.classes)} classes, "
        f"{observed:.1%} of the training labels observed\n"
        f"{config.arch} {start}, {millions:.2f} M parameters, on {hardware}\n"
        f"{config.mod_scheme}, delta_rel {config.delta_rel:g} %, {config.optimizer}, "
        f"lr {config.lr:g}, in {config.run_dir}"
    )
