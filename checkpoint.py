"""What training changes, on disk: saved after every epoch, taken up again by --resume."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cli import UserError
from files import write_atomically
from finite import not_finite
from folder import BEST, LAST, PREVIOUS
from label_store import LabelStore
from losses import Scheme
from models import Damaged, ImageClassifier, load_tensors
from phases import Phase
from record import METRICS, is_number

_PARTS = ("model", "scheme", "optimizer", "scaler", "labels")
_MOMENTS = {"Adam": {"step", "exp_avg", "exp_avg_sq"}, "SGD": {"momentum_buffer"}}
# what PyTorch raises for a state that is not that of the part, whatever it holds instead
_MISFITS = (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError)


@dataclass
class State:
    """Everything that training changes, in one of its phases."""

    phase: Phase
    model: ImageClassifier
    net: nn.Module  # what is trained: the model, or its head alone on fixed features
    parallel: nn.Module  # the same, as a step calls it: it averages gradients over processes
    scheme: Scheme
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    labels: LabelStore
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.csv, one an epoch
    best_head: dict[str, Tensor] = field(default_factory=dict)  # of a phase that another follows
    last_is_damaged: bool = False  # then it must not take the place of the good one before it
    kept: int = 0  # how many epochs are in the checkpoint that is written, of all phases

    @property
    def phase_rows(self) -> list[dict[str, Any]]:
        """The rows of this phase."""
        return [row for row in self.rows if row["phase"] == self.phase.name]

    @property
    def epoch(self) -> int:
        """The last finished epoch of this phase."""
        return len(self.phase_rows)

    def save(self, folder: Path, make_room: Callable[[], object] = lambda: None) -> None:
        """Write last.pt; the one before it stays as last.previous.pt.

        `make_room` is called once the new one is on the disk, before it takes its place.
        """

        def before_rename() -> None:
            make_room()
            if (folder / LAST).exists() and not self.last_is_damaged:
                (folder / LAST).replace(folder / PREVIOUS)

        content = {part: getattr(self, part).state_dict() for part in _PARTS}
        kept = {**content, "best_head": self.best_head, "rows": self.rows}
        save_tensors(folder / LAST, kept, before_rename)
        self.last_is_damaged, self.kept = False, len(self.rows)

    def take(self, found: Checkpoint) -> None:
        """Take up a checkpoint of this phase. Raises UserError where it is of another run."""
        try:
            self._take(found.content)
        except _MISFITS:
            raise found.misfit() from None
        self.last_is_damaged = found.last_is_damaged

    def _take(self, content: dict[str, Any]) -> None:
        """Take up what a checkpoint holds. Raises one of _MISFITS where it is of another run."""
        groups = [dict(group) for group in self.optimizer.param_groups]
        for before, saved in zip(groups, content["optimizer"]["param_groups"], strict=True):
            saved["fused"] = before["fused"]  # a matter of the device: the run may change it
        for part in _PARTS:
            getattr(self, part).load_state_dict(content[part])
        for before, after in zip(groups, self.optimizer.param_groups, strict=True):
            if any(after[name] != before[name] for name in before if name != "params"):
                raise ValueError("the optimizer's settings are those of another run")
        for parameter, values in self.optimizer.state.items():
            _check_moments(type(self.optimizer).__name__, parameter, values)
        best_head = content.get("best_head", {})
        fits = not best_head or best_head.keys() == self.model.head.state_dict().keys()
        if not fits or not_finite(self.model.state_dict() | best_head):
            raise ValueError("the weights are no finite numbers, or not those of this model")
        self.best_head = best_head
        self.rows, self.kept = content["rows"], len(content["rows"])

    def keep_head(self) -> None:
        """Remember the head of this epoch, for the phase that follows."""
        weights = self.model.head.state_dict()
        self.best_head = {name: weight.detach().clone() for name, weight in weights.items()}

    def save_model(self, path: Path, classes: tuple[str, ...]) -> None:
        """Write bestmodel.pt: the weights alone, with the names of the classes."""
        save_tensors(
            path,
            {"model": self.model.state_dict(), "classes": list(classes), "epoch": self.epoch},
        )


@dataclass(frozen=True)
class Checkpoint:
    """The last good checkpoint of a run, as it was read."""

    path: Path
    content: dict[str, Any]
    last_is_damaged: bool  # then this is the one before it

    @property
    def phase(self) -> str:
        """The name of the phase of its last epoch."""
        return self.content["rows"][-1]["phase"]

    def misfit(self) -> UserError:
        """What to tell the user where it is of another run."""
        return UserError(
            f"{self.path} does not fit this run (its data or model is another): "
            "give --overwrite, or another --exp_name"
        )


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The last good checkpoint in the folder, or None where there is none.

    Raises UserError where every checkpoint is damaged, or is not what a run writes.
    """
    present = [name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for name in present:
        try:
            content = load_tensors(folder / name)
        except Damaged:
            continue
        found = Checkpoint(folder / name, content, name != LAST and LAST in present)
        try:
            fits = _are_rows(content["rows"])
        except _MISFITS:
            fits = False
        if not fits:
            raise found.misfit()
        return found
    if present:
        raise UserError(
            f"{folder}: {' and '.join(present)} are damaged, nothing is left to go on from: "
            "give --overwrite to start anew (save bestmodel.pt and metrics.csv first)"
        )
    return None


def _are_rows(rows: Any) -> bool:
    """Whether these are the rows of a metrics.csv: an epoch each, numbers or None."""
    names = set(METRICS) - {"phase"}
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row["phase"]] += 1
        known = all(row[name] is None or is_number(row[name]) for name in names)
        if not (known and row["epoch"] == seen[row["phase"]]):
            return False
    return bool(rows)


def _check_moments(optimizer: str, parameter: Tensor, values: dict[str, Tensor | None]) -> None:
    """Raise ValueError if this is not what such an optimizer keeps of a parameter."""
    tensors = {name: value for name, value in values.items() if value is not None}
    alike = all(value.shape in (parameter.shape, ()) for value in tensors.values())
    negative = any((tensors[name] < 0).any() for name in tensors.keys() & {"step", "exp_avg_sq"})
    if set(values) != _MOMENTS[optimizer] or not alike or negative or not_finite(tensors):
        raise ValueError("the optimizer's state is that of another model")


def restore_best(state: State, folder: Path, epoch: int, classes: tuple[str, ...]) -> bool:
    """Write bestmodel.pt from the checkpoint of that epoch; the result says if there is one."""
    if epoch == state.epoch:
        state.save_model(folder / BEST, classes)
        return True
    try:
        content = load_tensors(folder / PREVIOUS)
        last = content["rows"][-1]
        if (last["phase"], last["epoch"]) != (state.phase.name, epoch):
            return False
    except (UserError, *_MISFITS):
        return False
    best = {"model": content["model"], "classes": list(classes), "epoch": epoch}
    save_tensors(folder / BEST, best)
    return True


@dataclass(frozen=True)
class BestModel:
    """What bestmodel.pt holds."""

    path: Path
    weights: dict[str, Tensor]
    classes: tuple[str, ...]
    epoch: int

    def fill(self, model: ImageClassifier) -> ImageClassifier:
        """The model with these weights. Raises UserError where they do not fit."""
        try:
            model.load_state_dict(self.weights)
        except _MISFITS:
            raise UserError(f"{self.path} does not fit the model of its config.json") from None
        return model


def read_best(folder: Path) -> BestModel:
    """The best model of a run. Raises UserError where it is missing, damaged or something else."""
    path = folder / BEST
    content = load_tensors(path)
    weights, classes, epoch = (content.get(key) for key in ("model", "classes", "epoch"))
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not (named and classes and isinstance(weights, dict) and isinstance(epoch, int)):
        raise UserError(f"{path} is not what a run writes: it must hold model, classes and epoch")
    return BestModel(path, weights, tuple(classes), epoch)


def save_tensors(
    path: Path, content: dict[str, Any], before_rename: Callable[[], object] = lambda: None
) -> None:
    """Write tensors and plain values to a file, whole or not at all."""
    packed = io.BytesIO()  # written at one go: torch.save hides what the system says
    torch.save(content, packed)
    write_atomically(path, lambda file: file.write(packed.getbuffer()), before_rename)
