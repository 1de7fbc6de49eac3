"""What training changes, on disk: saved after every epoch, taken up again by --resume."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cli import UserError
from files import write_atomically
from label_store import LabelStore
from losses import Scheme
from models import ImageClassifier, load_tensors

LAST, PREVIOUS, BEST = "last.pt", "last.previous.pt", "bestmodel.pt"
_PARTS = ("model", "scheme", "optimizer", "scaler", "labels")


@dataclass
class State:
    """Everything that training changes."""

    model: ImageClassifier
    net: nn.Module  # what is trained: the model, or its head alone on fixed features
    scheme: Scheme
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    labels: LabelStore
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.csv, one an epoch
    _last_is_damaged: bool = False  # then it must not take the place of the good one before it

    kept: int = 0  # the last epoch whose checkpoint is written

    @property
    def epoch(self) -> int:
        """The last finished epoch."""
        return len(self.rows)

    def save(self, folder: Path) -> None:
        """Write last.pt; the one before it stays as last.previous.pt."""
        content = {part: getattr(self, part).state_dict() for part in _PARTS}
        if (folder / LAST).exists() and not self._last_is_damaged:
            (folder / LAST).replace(folder / PREVIOUS)
        save_tensors(folder / LAST, {**content, "rows": self.rows})
        self._last_is_damaged, self.kept = False, self.epoch

    def load(self, folder: Path) -> str:
        """Take up the last good checkpoint; the result is its file's name, "" if none is there.

        Raises UserError where every checkpoint is damaged.
        """
        present = [name for name in (LAST, PREVIOUS) if (folder / name).exists()]
        for name in present:
            try:
                content = load_tensors(folder / name)
            except UserError:
                self._last_is_damaged = name == LAST
                continue
            try:
                for part in _PARTS:
                    getattr(self, part).load_state_dict(content[part])
                self.rows = content["rows"]
            except (KeyError, RuntimeError, ValueError):
                raise UserError(
                    f"{folder / name} does not fit this run (its data or model is another): "
                    "give --overwrite, or another --exp_name"
                ) from None
            self.kept = self.epoch
            return name
        if present:
            raise UserError(f"{folder}: {' and '.join(present)} are damaged: give --overwrite")
        return ""

    def save_model(self, path: Path, classes: tuple[str, ...]) -> None:
        """Write bestmodel.pt: the weights alone, with the names of the classes."""
        save_tensors(
            path,
            {"model": self.model.state_dict(), "classes": list(classes), "epoch": self.epoch},
        )


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to a file, whole or not at all."""
    write_atomically(path, lambda file: torch.save(content, file))


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to resume from."""
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def is_started(folder: Path) -> bool:
    """Whether a run with a finished epoch lies in the folder."""
    return has_checkpoint(folder) or (folder / "summary.json").exists()


def clear(folder: Path) -> None:
    """Remove the files of a run, nothing else."""
    names = (LAST, PREVIOUS, BEST, "summary.json", "metrics.csv", "train.log", "curves.png")
    for path in (*map(folder.joinpath, names), *folder.glob("tensorboard/events.out.tfevents.*")):
        path.unlink(missing_ok=True)
