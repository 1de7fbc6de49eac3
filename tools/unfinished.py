"""Runs that have no full result: under way, failed or stopped, missing, or damaged since.

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
from config import Config, command, flag_words, read_config, resolve
from files import is_locked, is_there, read_file
from folder import LOCK, SUMMARY
from settings import FLAGS

RUNNING, FAILED, STOPPED, MISSING, FOREIGN = "running", "failed", "stopped", "missing", "not a run"
DAMAGED = "damaged"  # it has a result, and its epochs are lost
PLAN = "runs.txt"
MARKS = (SUMMARY, "config.json")  # a folder that holds one of them is a run, or looks like one
_SAID = "failed: "  # how train.log begins the reason


class Unfinished(NamedTuple):
    """A run without a full result, or a folder that looks like one and is none."""

    folder: Path
    status: str
    why: str  # how far it came, and what stopped it
    config: Config | None = None  # None where it is not a run

    @property
    def settings(self) -> str:
        """What is the same in all runs that differ in the seed alone: their command."""
        return command(dataclasses.replace(self.config, seed=0)) if self.config else ""


def again(run: Unfinished) -> str:
    """The command line that trains it, or goes on with it; nothing where it is not a run."""
    if run.config is None:
        return ""
    how = "--overwrite" if run.status == DAMAGED else "--resume"
    return (
        f"{run.settings} {shlex.join(['--seed', str(run.config.seed), *_beside(run.config), how])}"
    )


def _beside(config: Config) -> Iterator[str]:
    """The flags that change no result and are not as usual: where to write, how to compute."""
    for name, flag in FLAGS.items():
        meta, value = flag.metadata, getattr(config, name)
        if meta["saved"] and not meta["names_run"] and value != meta["default"]:
            yield from flag_words(name, value)


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
    """The runs that the plan of this folder names and that have written nothing yet."""
    plan = folder / PLAN
    if not os.path.isfile(plan):
        return
    planned: dict[Path, Config] = {}
    for number, line in enumerate(read_plan(plan), start=1):
        if not line.strip():
            continue
        try:
            config, _ = resolve([*shlex.split(line), "--save_path", str(folder)])
        except ValueError as error:  # of shlex too
            yield foreign(plan, UserError(f"line {number}: {error}"))
        else:
            planned.setdefault(config.run_dir, config)
    for run_dir, config in planned.items():
        if not any(is_there(run_dir / mark) for mark in MARKS):
            begins = is_locked(run_dir / LOCK)
            status, why = (RUNNING, "it begins") if begins else (MISSING, "it never began")
            yield Unfinished(run_dir, status, why, config)


def read_plan(plan: Path) -> list[str]:
    """The lines of a plan, a run each. Raises UserError where it cannot be read."""
    return os.fsdecode(read_file(plan)).removesuffix("\n").split("\n")


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
