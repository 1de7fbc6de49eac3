"""Training and testing of a run, from its settings to its summary.

Letters in shapes: B images of a mini-batch, N of a split, K classes, D features.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from checkpoint import BEST, PREVIOUS, State, clear, has_checkpoint, is_started
from cli import UserError
from config import FLAGS, Config, read_config
from datasets import Data, load_data
from hardware import Hardware, find_hardware
from instrumentation import (
    LabelAudit,
    RunRecord,
    TensorBoard,
    draw_curves,
    mean_average_precision,
)
from label_store import LabelStore
from loaders import Array, BatchOrder, ImageFiles, batches, epoch_rng, make_loader
from losses import assume_negative_loss, build_scheme
from models import ImageClassifier, build_model, load_tensors, parameter_groups

EVALUATE_AT_ONCE = 2  # times the training batch: no gradients, so more images fit
SUMMARIZED = (
    "dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "bsize", "seed", "num_epochs",
)  # fmt: skip
FLIPS, LAYERS = 1, 2  # what the random numbers of an epoch are for; 0 is the order of the images


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


def run_train(config: Config) -> dict[str, Any]:
    """Train, choose the best epoch on val, test; the result is what summary.json holds.

    A finished run is not trained again under `resume`. Raises UserError for whatever the user
    can mend; KeyboardInterrupt leaves a run that `resume` continues from its last epoch.
    """
    record = RunRecord(config.run_dir)
    summary = _finished(config, record)
    if summary is None:
        run = _set_up(config, record)
        try:
            _train(run)
        except KeyboardInterrupt:
            kept = f"epochs 1 to {run.state.epoch} are kept, " if run.state.epoch else ""
            record.say(f"stopped in epoch {run.state.epoch + 1}: {kept}--resume goes on")
            raise
        summary = _test(run)
    print(f"Test mAP : {summary['test_map']:.3f} when trained until epoch {summary['best_epoch']}")
    return summary


def train_one_epoch(
    state: State, images: DataLoader, epoch: int, flips: torch.Generator | None, hardware: Hardware
) -> dict[str, Any]:
    """Take every training image once; the result is the audit's part of a metrics.csv row.

    `flips`: draws which images are flipped left-right; None: none is.
    """
    state.net.train()
    order = images.batch_sampler
    assert isinstance(order, BatchOrder)
    order.epoch = epoch
    audit = LabelAudit(hardware.device)
    for x, index in _progress(batches(images, hardware.device), len(images), f"epoch {epoch}"):
        observed, human = state.labels.observed(index), state.labels.human(index)
        with hardware.autocast():
            logits = state.net(x if flips is None else flip(x, flips)).float()
        out = state.scheme(logits, observed, epoch=epoch, index=index)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(out.loss).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.scheme.permanent:
            state.labels.correct(index, out.selected)
        loss = assume_negative_loss(logits.detach(), human)
        audit.update(out.loss, loss, human, state.labels.truth(index), out.selected)
    found = state.labels.corrected_false_negatives() if state.scheme.permanent else None
    return audit.result(order.num_images, found, state.labels.false_negatives())


@torch.inference_mode()
def evaluate(forward: Callable[[Tensor], Tensor], images: DataLoader, hardware: Hardware) -> Tensor:
    """What `forward` makes of every image, float [N, ...] on the CPU, in the order of the split.

    A module is put into evaluation mode.
    """
    if isinstance(forward, nn.Module):
        forward.eval()
    results = []
    for x, _ in _progress(batches(images, hardware.device), len(images), "evaluate"):
        with hardware.autocast():
            results.append(forward(x).float())
    return torch.cat(results).cpu()


def evaluation_loader(
    images: ImageFiles | Array, batch_size: int, num_workers: int, hardware: Hardware
) -> DataLoader:
    """A loader of the images in their order; `batch_size` is that of training."""
    order = BatchOrder(len(images), EVALUATE_AT_ONCE * batch_size)
    return make_loader(images, order, num_workers, hardware.pins_memory)


def flip(images: Tensor, rng: torch.Generator) -> Tensor:
    """The images [B, 3, H, W], each flipped left-right with probability 0.5."""
    chosen = (torch.rand(len(images), generator=rng) < 0.5).to(images.device, non_blocking=True)
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def load_run(run_dir: str | Path) -> tuple[ImageClassifier, Config, tuple[str, ...]]:
    """The best model of a run, in evaluation mode on the CPU, its settings, its class names.

    Raises UserError where the folder holds no such run.
    """
    folder = Path(run_dir)
    config = read_config(folder / "config.json")
    saved = load_tensors(folder / BEST)
    model = build_model(config.arch, len(saved["classes"]))
    model.load_state_dict(saved["model"])
    return model.eval(), config, tuple(saved["classes"])


def _finished(config: Config, record: RunRecord) -> dict[str, Any] | None:
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


def _set_up(config: Config, record: RunRecord) -> Run:
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
    source = state.load(record.folder, hardware.device)
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


def _train(run: Run) -> None:
    """Train until the last epoch or the early stop, keeping each finished epoch."""
    state, record = run.state, run.record
    board = TensorBoard(record.folder, state.epoch + 1) if run.config.tensorboard else None
    while not run.is_trained:
        row = _run_epoch(run)
        state.rows.append(row)
        if run.best_epoch == state.epoch:
            state.save_model(record.folder / BEST, run.data.classes)
        state.save(record.folder)
        record.write_metrics(state.rows)
        record.say(_epoch_line(row, run.chosen_by, run.best_epoch, run.config.num_epochs))
        if board:
            board.write(row)


def _run_epoch(run: Run) -> dict[str, Any]:
    """Train and validate once; the result is the row of metrics.csv."""
    config, state = run.config, run.state
    epoch, start = state.epoch + 1, time.perf_counter()
    flips = epoch_rng(config.seed, epoch, FLIPS) if config.flip and not config.use_feats else None
    torch.manual_seed(epoch_rng(config.seed, epoch, LAYERS).initial_seed())
    audit = train_one_epoch(state, run.loaders["train"], epoch, flips, run.hardware)
    trained = time.perf_counter() - start
    if not np.isfinite(audit["train_loss"]):
        raise UserError(
            f"the loss is {audit['train_loss']} in epoch {epoch} at --lr {config.lr:g}: "
            "lower it; the epochs before are kept"
        )
    return {
        "epoch": epoch,
        "phase": "linear" if config.use_feats else "finetune",
        "lr": config.lr,
        "rate": state.scheme.rate(epoch),
        **audit,
        **_validate(run),
        "images_per_s": len(run.data.train) / trained,
        "seconds": time.perf_counter() - start,
    }


def _validate(run: Run) -> dict[str, float | None]:
    """Val mAP on the clean and on the observed labels, each None where there are none."""
    val = run.data.val
    scores = evaluate(run.state.net, run.loaders["val"], run.hardware).numpy()
    observed = None if val.observed is None else np.where(val.observed == 1, 1, -1)
    return {
        name: None if labels is None else mean_average_precision(scores, labels)[0]
        for name, labels in (("val_map", val.truth), ("val_map_observed", observed))
    }


def _test(run: Run) -> dict[str, Any]:
    """Test the last and the best weights, and write down what the run ends with."""
    config, rows, start = run.config, run.state.rows, time.perf_counter()
    last_map, _ = _test_map(run)
    best = load_tensors(run.record.folder / BEST, run.hardware.device)
    run.state.model.load_state_dict(best["model"])
    test_map, ap = _test_map(run)
    ap_of = zip(run.data.classes, ap.tolist(), strict=True)
    summary = {
        **{name: getattr(config, name) for name in SUMMARIZED},
        "best_epoch": best["epoch"],
        "epochs_run": len(rows),
        "val_map": rows[best["epoch"] - 1][run.chosen_by],
        "test_map": test_map,
        "test_map_last": last_map,
        "seconds": sum(row["seconds"] for row in rows) + time.perf_counter() - start,
        "empty_classes": int((ap == 0).sum()),
        "test_ap": {name: None if np.isnan(value) else value for name, value in ap_of},
    }
    draw_curves(rows, best["epoch"], config.exp_name, run.record.folder / "curves.png")
    run.record.write_summary(summary)
    return summary


def _test_map(run: Run) -> tuple[float, np.ndarray]:
    """mAP on the test split, and AP [K]."""
    scores = evaluate(run.state.net, run.loaders["test"], run.hardware).numpy()
    return mean_average_precision(scores, run.data.test.best_known)


def _progress(steps: Iterable, total: int, title: str) -> Iterable:
    return tqdm(steps, title, total, leave=False, disable=not sys.stderr.isatty())


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


def _epoch_line(row: dict[str, Any], chosen_by: str, best_epoch: int, num_epochs: int) -> str:
    """A finished epoch, for people; `*` marks the best so far."""
    line = (
        f"epoch {row['epoch']:>2}/{num_epochs}  loss {row['train_loss']:.4f}  "
        f"val mAP {row[chosen_by]:5.2f}{'*' if best_epoch == row['epoch'] else ' '}"
    )
    if row["selected"]:
        line += f"  {row['selected']:,} labels selected"
    if row["selected_precision"] is not None:
        line += f", {row['selected_precision']:.0%} truly positive"
    return f"{line}  {row['seconds']:.1f} s"
