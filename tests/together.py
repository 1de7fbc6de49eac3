"""What processes make together: `torchrun --nproc_per_node=N -m tests.together FOLDER OUT`

Trains the folder with every scheme, batch norms in evaluation mode, and with one as it is, and
writes what each step saw and what was left in the end: `tests/test_processes.py` compares them.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import train as training
from evaluation import evaluate
from losses import SCHEMES
from models import ImageClassifier
from processes import Processes, joined
from record import RunRecord
from run import Run, set_up
from tests import tiny

EPOCHS = 2
# a last mini-batch of one image, which all but one process go without
COMMON = ("--bsize", "6", "--optimizer", "sgd", "--lr", "0.01", "--num_epochs", str(EPOCHS))
LEFT_OUT = ("phase", "images_per_s", "seconds")
OPTIONS = {"EM+APL": ("--apl_start", "1"), "CSL": ("--topk", "1")}


def run_of(folder: Path, out: Path, scheme: str, processes: Processes, held: Any) -> Run:
    """The run of that scheme, ready to train."""
    more = ("--mod_scheme", scheme, "--exp_name", scheme, *COMMON, *OPTIONS.get(scheme, ()))
    config = tiny.settings(folder, out, *more)
    run = set_up(config, RunRecord(config.run_dir), held, processes)
    run.begin(run.phases[0])
    return run


def witnessed(run: Run) -> dict[str, Any]:
    """Losses and selections of every step, and all that is left after the last epoch."""
    state, steps = run.state, []

    def keep(module: nn.Module, given: Any, out: Any) -> None:
        chosen = None if out.selected is None else out.selected.clone()
        steps.append({"loss": out.loss.detach().clone(), "selected": chosen})

    def scores() -> dict[str, Any]:
        splits = ("predict", "val", "test")
        return {name: evaluate(state.net, run.loaders[name], run.hardware) for name in splits}

    untrained = scores()
    state.scheme.register_forward_hook(keep)
    for _ in range(EPOCHS):
        state.rows.append(training._run_epoch(run))
    return {
        "untrained": untrained,
        "steps": steps,
        "scores": scores(),
        "weights": state.model.state_dict(),
        "scheme": state.scheme.state_dict(),
        "labels": state.labels.state_dict(),
        "rows": [{name: row[name] for name in row if name not in LEFT_OUT} for row in state.rows],
    }


def with_a_spare(self: ImageClassifier, backbone: nn.Module, *args: Any, **options: Any) -> None:
    """A classifier with a parameter that nothing uses, as some backbones have one."""
    backbone.spare = nn.Parameter(torch.zeros(1))
    usual(self, backbone, *args, **options)


usual = ImageClassifier.__init__


def main(folder: Path, out: Path) -> None:
    """Write what the schemes made, a file a process."""
    ImageClassifier.__init__ = with_a_spare  # type: ignore[method-assign]
    norm = nn.BatchNorm2d
    trains = norm.train
    norm.train = lambda self, mode=True: nn.Module.train(self, False)  # type: ignore[method-assign]
    with joined("cpu") as processes, contextlib.ExitStack() as held:
        found = {name: witnessed(run_of(folder, out, name, processes, held)) for name in SCHEMES}
        norm.train = trains  # type: ignore[method-assign]
        found["as it is"] = witnessed(run_of(folder, out / "as it is", "LL-R", processes, held))
        torch.save(found, out / f"{processes.rank}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
