"""Runs that have no result: which are under way, which failed or were stopped, which are missing.

A script writes the command lines of the runs it is about to train into the file `runs.txt` of its
results, so that a run that never began is missed too.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cli import UserError
from config import Config, command, read_config, resolve
from files import is_locked, read_file
from folder import LOCK

RUNNING, FAILED, STOPPED, MISSING, FOREIGN = "running", "failed", "stopped", "missing", "not a run"
PLAN = "runs.txt"
_SAID = "failed: "  # how train.log begins the reason


class Unfinished(NamedTuple):
    """A run without a result, or a folder that looks like one and is none."""

    folder: Path
    status: str
    why: str  # how far it came, and what stopped it
    config: Config | None = None  # None where it is not a run

    @property
    def settings(self) -> str:
        """What is the same in all runs that differ in the seed alone: their command."""
        return command(dataclasses.replace(self.config, seed=0)) if self.config else ""


def foreign(folder: Path, error: UserError) -> Unfinished:
    """What to tell of a folder that holds a result, or settings, that no run of ours wrote."""
    return Unfinished(folder, FOREIGN, str(error))


def look_at(folder: Path) -> Unfinished:
    """What became of the run in this folder, which holds no summary.json."""
    try:
        config = read_config(folder / "config.json")
    except UserError as error:
        return foreign(folder, error)
    config = dataclasses.replace(config, save_path=str(folder.parent), exp_name=folder.name)
    done, planned = _epochs_in(folder), config.linear_init + config.num_epochs
    far = f"{done} of {planned} epochs"
    if is_locked(folder / LOCK):
        return Unfinished(folder, RUNNING, far, config)
    reason = _failure_in(folder)
    if reason:
        return Unfinished(folder, FAILED, f"{far}: {reason}", config)
    return Unfinished(folder, STOPPED, far, config)


def missing_in(folder: Path) -> Iterator[Unfinished]:
    """The runs that the plan of this folder names and that never began."""
    plan = folder / PLAN
    if not os.path.isfile(plan):
        return
    lines = read_file(plan).decode(errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            config, _ = resolve([*shlex.split(line), "--save_path", str(folder)])
        except ValueError as error:  # of shlex too
            yield foreign(plan, UserError(f"line {number}: {error}"))
            continue
        if not os.path.isdir(config.run_dir):
            yield Unfinished(config.run_dir, MISSING, "it never began", config)


def _epochs_in(folder: Path) -> int:
    """How many epochs metrics.csv has, of all phases."""
    try:
        return max(0, read_file(folder / "metrics.csv").count(b"\n") - 1)
    except UserError:
        return 0


def _failure_in(folder: Path) -> str:
    """Why the run failed, by the last line of its train.log, or nothing."""
    try:
        lines = read_file(folder / "train.log").decode(errors="replace").splitlines()
    except UserError:
        return ""
    last = lines[-1] if lines else ""
    return last.removeprefix(_SAID) if last.startswith(_SAID) else ""
