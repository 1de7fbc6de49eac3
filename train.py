"""Training and testing of a run, from its settings to its summary.

Letters in shapes: B images of a mini-batch, N of a split, K classes, D features.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from checkpoint import BEST, PREVIOUS, State, clear, is_started
from cli import UserError
from config import FLAGS, Config, parse_args
from datasets import Data, Split, load_data
from instrumentation import (
    LabelAudit,
    RunRecord,
    TensorBoard,
    draw_curves,
    mean_average_precision,
)
from label_store import LabelStore
from loaders import Array, BatchOrder, batches, epoch_rng, make_loader
from losses import assume_negative_loss, build_scheme
from models import ImageClassifier, build_model, load_tensors, parameter_groups

FLIPS, LAYERS = 1, 2  # what the random numbers of an epoch are for; 0 is the order of the images


@dataclass(frozen=True)
class Hardware:
    """Where to compute, and in which precision."""

    device: torch.device
    half: torch.dtype | None  # of the forward pass under autocast; None: float32

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return f"{name}, {str(self.half or torch.float32).removeprefix('torch.')}"


@dataclass(frozen=True)
class Loaders:
    """One loader a split."""

    train: DataLoader
    val: DataLoader
    test: DataLoader


def run_train(config: Config) -> dict[str, Any]:
    """Train, choose the best epoch on val, test; the result is what summary.json holds.

    A finished run is not trained again under `resume`. Raises UserError for whatever the user
    can mend; KeyboardInterrupt leaves a run that `resume` continues from its last epoch.
    """
    record = RunRecord(config.run_dir)
    summary = _finished(config, record)
    if summary is None:
        hardware = find_hardware(config.device, config.gpu_num, config.amp)
        data = load_data(config)
        torch.manual_seed(config.seed)
        state = _build_state(config, data, hardware.device)
        loaders = _build_loaders(config, data, state, hardware)
        _open_folder(config, record, hardware)
        record.say(_describe(config, data, state.model, hardware))
        try:
            _train_epochs(config, record, state, data, loaders, hardware)
        except KeyboardInterrupt:
            record.say(f"stopped in epoch {state.epoch + 1}: {_kept(state)}--resume goes on")
            raise
        summary = _test(config, record, state, data, loaders, hardware)
    print(f"Test mAP : {summary['test_map']:.3f} when trained until epoch {summary['best_epoch']}")
    return summary


def train_one_epoch(
    state: State, images: DataLoader, epoch: int, flips: torch.Generator | None, hardware: Hardware
) -> dict[str, Any]:
    """Take every training image once; the result is the audit's part of a metrics.csv row.

    `flips`: draws which images are flipped left-right; None: none is.
    """
    state.net.train()
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
    return audit.result(images.batch_sampler.num_images, found, state.labels.false_negatives())


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


def flip(images: Tensor, rng: torch.Generator) -> Tensor:
    """The images [B, 3, H, W], each flipped left-right with probability 0.5."""
    chosen = (torch.rand(len(images), generator=rng) < 0.5).to(images.device, non_blocking=True)
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def load_run(run_dir: str | Path) -> tuple[ImageClassifier, Config, tuple[str, ...]]:
    """The best model of a run, in evaluation mode on the CPU, its settings, its class names.

    Raises UserError where the folder holds no such run.
    """
    folder = Path(run_dir)
    config = parse_args(["--config", str(folder / "config.json")])
    saved = load_tensors(folder / BEST)
    model = build_model(config.arch, len(saved["classes"]))
    model.load_state_dict(saved["model"])
    return model.eval(), config, tuple(saved["classes"])


def find_hardware(device: str, gpu_num: int, amp: str) -> Hardware:
    """The device and precision that the settings mean here. Raises UserError if not to be had."""
    gpus = torch.cuda.device_count()
    if device == "cuda" and not gpus:
        raise UserError("--device cuda: PyTorch finds no GPU here: give --device cpu or auto")
    if device == "cpu" or not gpus:
        if amp == "fp16":
            raise UserError("--amp fp16 needs a GPU: give bf16 or off")
        return Hardware(torch.device("cpu"), torch.bfloat16 if amp == "bf16" else None)
    if gpu_num >= gpus:
        raise UserError(f"--gpu_num {gpu_num}: this machine has {gpus} GPUs, counted from 0")
    known = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    half = known.get(amp, torch.bfloat16 if torch.cuda.is_bf16_supported() else None)
    return Hardware(torch.device("cuda", gpu_num), half)


def _finished(config: Config, record: RunRecord) -> dict[str, Any] | None:
    """The summary of a run that is finished already. Raises UserError if it must not go on."""
    if config.overwrite or not is_started(record.folder):
        return None
    if not config.resume:
        raise UserError(
            f"{record.folder} holds a run already: add --resume to go on with it, "
            "--overwrite to start anew, or another --exp_name"
        )
    saved = record.read_settings()
    for name, value in config.settings().items():
        grown = name == "num_epochs" and value >= saved[name]
        if FLAGS[name].metadata["names_run"] and value != saved.get(name) and not grown:
            raise UserError(
                f"--resume: {record.folder} was started with --{name} "
                f"{saved.get(name)}, not {value}: give that, or another --exp_name"
            )
    summary = record.read_summary()
    return summary if summary and summary["num_epochs"] == config.num_epochs else None


def _build_state(config: Config, data: Data, device: torch.device) -> State:
    num_classes = len(data.classes)
    model = build_model(
        config.arch,
        num_classes,
        config.weights,
        config.freeze_feature_extractor or config.use_feats,
    ).to(device)
    scheme = build_scheme(num_classes=num_classes, **config.scheme_options).to(device)
    groups = parameter_groups(model, scheme, config.lr, config.lr_mult)
    optimizer: torch.optim.Optimizer
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            groups, momentum=config.momentum, weight_decay=config.weight_decay
        )
    scaler = torch.amp.GradScaler(device.type, enabled=config.amp == "fp16")
    labels = LabelStore(data.train.labels(config.train_set_variant), data.train.truth, device)
    net = model.head if config.use_feats else model
    return State(model, net, scheme, optimizer, scaler, labels)


def _build_loaders(config: Config, data: Data, state: State, hardware: Hardware) -> Loaders:
    """Loaders of the images, or of their features where only the head is trained."""
    pin = hardware.device.type == "cuda"

    def loader(split: Split, seed: int | None = None) -> DataLoader:
        size = config.bsize if seed is not None else 2 * config.bsize
        order = BatchOrder(len(split), size, seed)
        return make_loader(split.images, order, config.num_workers, pin)

    splits = [data.train, data.val, data.test]
    if config.use_feats:
        state.model.eval()
        features = [evaluate(state.model.features, loader(split), hardware) for split in splits]
        splits = [
            replace(split, images=Array(rows)) for split, rows in zip(splits, features, strict=True)
        ]
    train, val, test = splits
    return Loaders(loader(train, config.seed), loader(val), loader(test))


def _open_folder(config: Config, record: RunRecord, hardware: Hardware) -> None:
    try:
        record.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {record.folder}: {error.strerror}") from None
    if config.overwrite:
        clear(record.folder)
    record.write_config(config.settings(), str(hardware))


def _train_epochs(
    config: Config,
    record: RunRecord,
    state: State,
    data: Data,
    loaders: Loaders,
    hardware: Hardware,
) -> None:
    """Train until the last epoch or the early stop, from the checkpoint if there is one."""
    source = state.load(record.folder, hardware.device)
    if source:
        damaged = ", the newer one is damaged" if source == PREVIOUS else ""
        record.say(f"resumed from epoch {state.epoch} ({source}{damaged})")
    board = TensorBoard(record.folder, state.epoch + 1) if config.tensorboard else None
    chosen_by = _chosen_by(config)
    while state.epoch < config.num_epochs and not _has_fallen(
        state.rows, chosen_by, config.early_stop_drop
    ):
        row = _run_epoch(config, state, data.val, loaders, hardware)
        state.rows.append(row)
        best = best_epoch(state.rows, chosen_by)
        if best == state.epoch:
            state.save_model(record.folder / BEST, data.classes)
        state.save(record.folder)
        record.write_metrics(state.rows)
        record.say(_epoch_line(row, config.num_epochs, chosen_by, best))
        if board:
            board.write(row)


def _run_epoch(
    config: Config, state: State, val: Split, loaders: Loaders, hardware: Hardware
) -> dict[str, Any]:
    """Train and validate once; the result is the row of metrics.csv."""
    epoch, start = state.epoch + 1, time.perf_counter()
    loaders.train.batch_sampler.epoch = epoch  # type: ignore[union-attr]
    torch.manual_seed(epoch_rng(config.seed, epoch, LAYERS).initial_seed())
    flips = epoch_rng(config.seed, epoch, FLIPS) if config.flip and not config.use_feats else None
    audit = train_one_epoch(state, loaders.train, epoch, flips, hardware)
    trained = time.perf_counter() - start
    if not np.isfinite(audit["train_loss"]):
        raise UserError(
            f"the loss is {audit['train_loss']} in epoch {epoch} at --lr "
            f"{config.lr:g}: lower it; earlier epochs are kept"
        )
    scores = evaluate(state.net, loaders.val, hardware).numpy()
    return {
        "epoch": epoch,
        "phase": "linear" if config.use_feats else "finetune",
        "lr": config.lr,
        "rate": state.scheme.rate(epoch),
        "val_map": None if val.truth is None else mean_average_precision(scores, val.truth)[0],
        "val_map_observed": None
        if val.observed is None
        else mean_average_precision(scores, np.where(val.observed == 1, 1, -1))[0],
        **audit,
        "images_per_s": loaders.train.batch_sampler.num_images / trained,  # type: ignore[union-attr]
        "seconds": time.perf_counter() - start,
    }


def _test(
    config: Config,
    record: RunRecord,
    state: State,
    data: Data,
    loaders: Loaders,
    hardware: Hardware,
) -> dict[str, Any]:
    """Test the last and the best weights, and write what the run ends with."""
    start = time.perf_counter()
    labels = data.test.truth if data.test.truth is not None else data.test.labels("observed")
    last_map, _ = mean_average_precision(
        evaluate(state.net, loaders.test, hardware).numpy(), labels
    )
    best = load_tensors(record.folder / BEST, hardware.device)
    state.model.load_state_dict(best["model"])
    test_map, ap = mean_average_precision(
        evaluate(state.net, loaders.test, hardware).numpy(), labels
    )
    settings = (
        "dataset",
        "mod_scheme",
        "delta_rel",
        "optimizer",
        "lr",
        "bsize",
        "seed",
        "num_epochs",
    )
    summary = {
        **{name: getattr(config, name) for name in settings},
        "best_epoch": best["epoch"],
        "epochs_run": state.epoch,
        "val_map": state.rows[best["epoch"] - 1][_chosen_by(config)],
        "test_map": test_map,
        "test_map_last": last_map,
        "seconds": sum(row["seconds"] for row in state.rows) + time.perf_counter() - start,
        "empty_classes": int((ap == 0).sum()),
        "test_ap": {
            name: None if np.isnan(value) else value
            for name, value in zip(data.classes, ap.tolist(), strict=True)
        },
    }
    draw_curves(state.rows, best["epoch"], config.exp_name, record.folder / "curves.png")
    record.write_summary(summary)
    return summary


def best_epoch(rows: list[dict[str, Any]], chosen_by: str) -> int:
    """The first epoch with the highest mAP in that column."""
    return 1 + int(np.argmax([row[chosen_by] for row in rows]))


def _has_fallen(rows: list[dict[str, Any]], chosen_by: str, drop: float) -> bool:
    """Whether the last mAP is more than `drop` below the best."""
    maps = [row[chosen_by] for row in rows]
    return bool(maps) and max(maps) - maps[-1] > drop


def _chosen_by(config: Config) -> str:
    return "val_map" if config.val_set_variant == "clean" else "val_map_observed"


def _progress(steps: Iterable, total: int, title: str) -> Iterable:
    return tqdm(steps, title, total, leave=False, disable=not sys.stderr.isatty())


def _describe(config: Config, data: Data, model: ImageClassifier, hardware: Hardware) -> str:
    labels = data.train.labels(config.train_set_variant)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    start = "from scratch" if config.weights == "none" else f"from {config.weights}"
    return (
        f"{config.dataset}: {len(data.train):,} train, {len(data.val):,} val and "
        f"{len(data.test):,} test images, {len(data.classes)} classes, "
        f"{(labels != 0).mean():.1%} of the training labels observed\n"
        f"{config.arch} {start}, {millions:.2f} M parameters, on {hardware}\n"
        f"{config.mod_scheme}, delta_rel {config.delta_rel:g} %, {config.optimizer}, "
        f"lr {config.lr:g} -> {record_path(config)}"
    )


def record_path(config: Config) -> str:
    return f"{config.run_dir}"


def _epoch_line(row: dict[str, Any], num_epochs: int, chosen_by: str, best: int) -> str:
    line = (
        f"epoch {row['epoch']:>2}/{num_epochs}  loss {row['train_loss']:.4f}  "
        f"val mAP {row[chosen_by]:5.2f}{' *' if best == row['epoch'] else '  '}"
    )
    if row["selected"]:
        line += f"  {row['selected']:,} labels selected"
        if row["selected_precision"] is not None:
            line += f", {row['selected_precision']:.0%} truly positive"
    return f"{line}  {row['seconds']:.1f} s"


def _kept(state: State) -> str:
    return f"epochs 1 to {state.epoch} are kept, " if state.epoch else ""
