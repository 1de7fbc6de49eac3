"""A run under way: what it is made of, built from its settings or taken up again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from checkpoint import State, read_best, restore_best
from cli import UserError
from config import FLAGS, Config
from data.labels import share_annotated
from datasets import SKIPPED, Data, load_data
from evaluation import evaluate, evaluation_loader
from files import is_there
from folder import BEST, LAST, SUMMARY, clear, has_checkpoint, is_started, lock
from hardware import Hardware, find_hardware
from instrumentation import TensorBoard
from label_store import LabelStore
from loaders import Array, BatchOrder, ImageFiles, make_loader
from losses import build_scheme
from models import ImageClassifier, build_model, parameter_groups
from naming import written
from record import RunRecord

ANEW = "give --overwrite to start anew, or another --exp_name"


@dataclass
class Run:
    """A run under way."""

    config: Config
    record: RunRecord
    hardware: Hardware
    data: Data
    state: State
    loaders: dict[str, DataLoader]  # "train", "val", "test"
    board: TensorBoard | None = None
    earlier: str = ""  # what still stands in the folder: "result" to add to, "run" to overwrite

    def take_over(self) -> None:
        """Remove what this run takes the place of, and write what was held back until then."""
        if self.earlier == "run":
            clear(self.record.folder)
        elif self.earlier:
            self.record.remove_summary()
        self.record.release()
        self.earlier = ""

    @property
    def best_epoch(self) -> int:
        """The first epoch with the highest validation mAP so far."""
        return 1 + int(np.argmax([row[self.config.chosen_by] for row in self.state.rows]))

    @property
    def is_trained(self) -> bool:
        """Whether the last epoch is done, or val mAP fell so far that the run stops early."""
        maps = [row[self.config.chosen_by] for row in self.state.rows]
        fallen = bool(maps) and max(maps) - maps[-1] > self.config.early_stop_drop
        return fallen or self.state.epoch >= self.config.num_epochs


def finished(config: Config, record: RunRecord) -> dict[str, Any] | None:
    """The summary of a run that is finished already. Raises UserError if it must not go on."""
    if config.overwrite or not is_started(record.folder):
        return None
    _check_resume_is_asked(config, record.folder)
    _check_same_settings(config, record)
    try:
        summary = record.read_summary()
    except UserError as error:
        if not has_checkpoint(record.folder):
            raise UserError(f"--resume: {error}: {ANEW}") from None
        summary = None  # it is damaged, and can be had again
    if summary and summary["num_epochs"] == config.num_epochs:
        unread = dataclasses.replace(config, check_images=False, on_bad_image="stop")
        try:
            data = load_data(unread)
        except UserError:  # the data is gone, the result still holds
            return summary
        _check_same_data(data, record, but=SKIPPED)
        return summary
    if not has_checkpoint(record.folder):
        raise UserError(
            f"--resume: {record.folder} holds a result but no checkpoint to go on from: {ANEW}"
        )
    return None


def set_up(config: Config, record: RunRecord, held: contextlib.ExitStack) -> Run:
    """Everything that training needs, and the run's folder, begun anew or taken up again.

    Nothing in the folder is touched before all else has succeeded. `held` keeps the folder's lock.
    """
    hardware = find_hardware(config.device, config.gpu_num, config.amp, config.deterministic)
    data = load_data(config, decode_once=True)
    _check_last_batch(config, len(data.train))
    torch.manual_seed(config.seed)
    state = _build_state(config, data, hardware.device)
    loaders = _build_loaders(config, data, state, hardware)
    board = TensorBoard(record.folder) if config.tensorboard else None
    lock(record.folder, held)
    source = _open_folder(config, record, state, data)
    run = Run(config, record, hardware, data, state, loaders, board)
    if source:
        _restore_best(run)
        run.earlier = "result" if is_there(record.folder / SUMMARY) else ""
    elif is_started(record.folder):
        run.earlier = "run"
    if run.earlier:
        record.hold()
    about = {"data": data.fingerprint(), "drawn": data.drawn, "skipped": data.skipped}
    record.write_config(config.settings(), str(hardware), about, bool(source))
    for line in _describe(config, data, state.model, hardware):
        record.say(line)
    if run.earlier:
        record.say(f"the {run.earlier} that lies there stands until the next epoch is finished")
    if config.resume and not source:
        record.say("there is nothing to resume: starting")
    if source:
        damaged = f", {LAST} is damaged" if state.last_is_damaged else ""
        record.say(f"resumed after epoch {state.epoch} ({source}{damaged})")
        record.write_metrics(state.rows)
    return run


def _open_folder(config: Config, record: RunRecord, state: State, data: Data) -> str:
    """Take up the checkpoint in the folder, if it is to be resumed; its name is the result."""
    if config.overwrite or not has_checkpoint(record.folder):
        return ""
    _check_resume_is_asked(config, record.folder)  # the run may have come between
    _check_same_settings(config, record)
    _check_same_data(data, record)
    return state.load(record.folder)


def _restore_best(run: Run) -> None:
    """Write bestmodel.pt where it is not that of the best epoch, from the checkpoint that is.

    Raises UserError where the weights of the best epoch are nowhere to be had.
    """
    folder, state = run.record.folder, run.state
    try:
        saved, lost = read_best(folder).epoch, ""
    except UserError as error:
        saved, lost = 0, str(error)
    if saved == run.best_epoch or saved > state.epoch:  # that epoch's checkpoint was damaged
        return
    if not restore_best(state, folder, run.best_epoch, run.data.classes):
        lost = lost or f"{folder / BEST} is of epoch {saved}, not of the best, {run.best_epoch}"
        raise UserError(f"--resume: {lost}: {ANEW}")


def _check_resume_is_asked(config: Config, folder: Path) -> None:
    if not config.resume:
        raise UserError(
            f"{folder} holds a run already: add --resume to go on with it, "
            "--overwrite to start anew, or another --exp_name"
        )


def _check_same_settings(config: Config, record: RunRecord) -> None:
    """Raise UserError if a setting that changes results is not what the run was started with."""
    try:
        saved = record.read_config()
    except UserError as error:
        raise UserError(f"--resume: {error}: {ANEW}") from None
    differ = {
        name: value
        for name, value in config.settings().items()
        if FLAGS[name].metadata["names_run"]
        and value != saved.get(name)
        and not (name == "num_epochs" and _is_at_least(value, saved.get(name)))
    }
    if differ:
        before = " ".join(f"--{name} {written(saved.get(name))}" for name in differ)
        now = " ".join(f"--{name} {written(value)}" for name, value in differ.items())
        raise UserError(
            f"--resume: {record.folder} has {before}, not {now}: give what "
            "it has (--config RUN/config.json does), or another --exp_name"
        )


def _is_at_least(epochs: int, saved: Any) -> bool:
    return isinstance(saved, int) and epochs >= saved


def _check_same_data(data: Data, record: RunRecord, but: str = "") -> None:
    """Raise UserError if classes, images or labels are not those the run was started with.

    What the fingerprint calls `but` may differ.
    """
    before = record.read_config()["environment"].get("data")
    if before is None:  # a run of an earlier version
        return
    now = data.fingerprint()
    known = before if isinstance(before, dict) else {}
    differ = [name for name in now if known.get(name) != now[name] and name != but]
    if differ:
        raise UserError(
            f"--resume: {', '.join(differ)} are not those that {record.folder} was started with: "
            "restore them, or give another --exp_name"
        )


def _check_last_batch(config: Config, num_images: int) -> None:
    """Raise UserError where batch norm would see a single value a channel and fail."""
    alone = config.bsize == 1 or num_images % config.bsize == 1
    trains = not (config.freeze_feature_extractor or config.use_feats)
    if alone and trains and config.image_size <= 32 and config.arch != "resnet8":
        raise UserError(
            f"--bsize {config.bsize}: a mini-batch of the {num_images} training images would hold "
            f"one image, of which {config.arch} makes one pixel at --image_size "
            f"{config.image_size}: batch norm needs more; change one of the two"
        )


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


def _describe(
    config: Config, data: Data, model: ImageClassifier, hardware: Hardware
) -> Iterator[str]:
    """What is trained on what, a line each."""
    observed = share_annotated(data.train.labels(config.train_set_variant))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    start = "from scratch" if config.weights == "none" else f"from {config.weights}"
    yield (
        f"{config.dataset}: {len(data.train):,} train, {len(data.val):,} val and "
        f"{len(data.test):,} test images, {len(data.classes)} classes, "
        f"{observed:.{1 if observed >= 0.001 else 3}%} of the training labels observed"
    )
    if data.own_val:
        yield "val: the set's own images, --val_frac cuts none from train"
    yield from (f"warning: {line}" for line in data.warnings())
    yield f"{config.arch} {start}, {millions:.2f} M parameters, on {hardware}"
    yield (
        f"{config.mod_scheme}, delta_rel {config.delta_rel:g} %, {config.optimizer}, "
        f"lr {config.lr:g}, in {config.run_dir}"
    )
