"""Finished runs as their records tell of them: which are one method's, and what it is called."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cli import UserError, printable
from config import Config, command, read_config, resolve
from data.draw import Draw
from files import is_there
from folder import SUMMARY
from naming import written
from recipes import SCHEMES
from record import RunRecord
from tools.unfinished import (
    DAMAGED,
    FOREIGN,
    MARKS,
    PLAN,
    Unfinished,
    foreign,
    look_at,
    missing_in,
)

PAPERS, ALL, NOT_RECORDED = "1+, 0-", "all", "not recorded"  # labels that need no column
AS_ANNOTATED = "as annotated"


class Run(NamedTuple):
    """A finished run: its settings, its folder being where it was found, and its summary."""

    config: Config
    summary: dict[str, Any]
    data: Mapping[str, Any]  # digests of all its data, by name; none in a record of earlier times
    drawn: Any  # how the observed labels were drawn, as `Draw.record` says it, where known
    hardware: str = ""  # what it was trained on, where known

    @property
    def used(self) -> dict[str, Any]:
        """The digests of the data that made the result: of two kinds of labels, the one in use."""
        other = {"clean": "observed", "observed": "truth"}
        unused = {
            f"train {other[self.config.train_set_variant]}",
            f"val {other[self.config.val_set_variant]}",
            "test truth" if self.data.get("test truth") == "none" else "test observed",
        }
        return {name: digest for name, digest in self.data.items() if name not in unused}

    @property
    def kind(self) -> tuple[str, str]:
        """What is the same in all runs that differ in the seed alone: settings, and data."""
        settings = dataclasses.replace(self.config, seed=0)
        return command(settings), json.dumps(self.used, sort_keys=True)


class Found(NamedTuple):
    """What lies below some folders."""

    runs: list[Run]  # those that are finished
    others: list[Unfinished]  # those that are not, and of the finished ones those that are damaged

    @property
    def whole(self) -> list[Run]:
        """The finished runs whose epochs are all on record."""
        damaged = {other.folder for other in self.others if other.status == DAMAGED}
        return [run for run in self.runs if run.config.run_dir not in damaged]


def read_runs(*folders: Path) -> list[Run]:
    """The finished, whole runs below these folders; of what is left out, a warning tells.

    Raises UserError where they hold none.
    """
    found = find_runs(*folders)
    if not found.whole:
        names = " and ".join(map(str, folders))
        why = next((other.why for other in found.others if other.status == DAMAGED), "")
        state = f"finished and whole ({why})" if why else "finished"
        raise UserError(f"no run below {names} is {state}: python -m tools.report tells of each")
    for other in found.others:
        warn(f"{other.folder} is {other.status} ({other.why}): left out")
    return found.whole


def find_runs(*folders: Path) -> Found:
    """Everything below these folders that is a run, or looks like one.

    Of a run that repeats another's kind and seed, and of a folder that holds none, a warning tells.
    Raises UserError where there is no such folder, and where none of them holds a run.
    """
    found = [_find_in(folder) for folder in folders]
    reasons = [_lacks_runs(*pair) for pair in zip(folders, found, strict=True)]
    if all(reasons):
        raise UserError(reasons[0])
    for reason in filter(None, reasons):
        warn(f"{reason}: left out")
    runs = _once_each([run for part in found for run in part.runs])
    others = [other for part in found for other in part.others]
    return Found(runs, [*others, *(damage for run in runs for damage in _damage_of(run))])


def _find_in(folder: Path) -> Found:
    if not os.path.isdir(folder):
        raise UserError(f"there is no folder {folder}")
    found = Found([], [])
    for place in sorted({path.parent for mark in MARKS for path in folder.glob(f"**/{mark}")}):
        if not is_there(place / SUMMARY):
            found.others.append(look_at(place))
            continue
        try:
            run = _read_run(place)
        except UserError as error:
            found.others.append(foreign(place, error))
            continue
        found.runs.append(run)
    plans = sorted(path.parent for path in folder.glob(f"**/{PLAN}"))
    found.others.extend(lost for place in plans for lost in missing_in(place))
    return found


def _lacks_runs(folder: Path, found: Found) -> str:
    """Why nothing in the folder is a run, or nothing where something is."""
    if found.runs or any(other.status != FOREIGN for other in found.others):
        return ""
    if found.others:
        return found.others[0].why
    return f"{folder} holds no finished run (no summary.json below it)"


def _read_run(folder: Path) -> Run:
    """The finished run in this folder. Raises UserError where it is not what a run writes."""
    record = RunRecord(folder)
    summary = record.read_summary()
    assert summary is not None, "whoever calls has seen summary.json"
    config = read_config(folder / "config.json")
    _check_fits(config, summary, folder / SUMMARY)
    about = record.read_config()["environment"]
    data = about["data"] if isinstance(about.get("data"), dict) else {}
    config = dataclasses.replace(config, save_path=str(folder.parent), exp_name=folder.name)
    return Run(config, summary, data, about.get("drawn"), str(about.get("device", "")))


def _damage_of(run: Run) -> Iterator[Unfinished]:
    """What is to be told of a finished run whose metrics.csv is not as it wrote it."""
    why = ""
    try:
        known = len(RunRecord(run.config.run_dir).read_metrics())
    except UserError as error:
        why = str(error)
    else:
        planned = run.summary.get("epochs_run", known)
        if known != planned:
            why = f"metrics.csv has {known} of {planned} epochs"
    if why:
        yield Unfinished(run.config.run_dir, DAMAGED, why, run.config)


def _once_each(runs: Sequence[Run]) -> list[Run]:
    """The runs without those that repeat another's kind and seed, of which a warning tells."""
    first: dict[tuple, Run] = {}
    for run in runs:
        kept = first.setdefault((run.kind, run.config.seed), run)
        if kept is not run:
            warn(f"{run.config.run_dir} repeats {kept.config.run_dir}: left out")
    return list(first.values())


def warn(line: str) -> None:
    """Say on stderr what is left out."""
    print(f"warning: {printable(line)}", file=sys.stderr)


def _check_fits(config: Config, summary: dict[str, Any], path: Path) -> None:
    """Raise UserError where the settings and the result beside them are not of the same run.

    Nor may the validation mAP be missing by which the epoch was chosen.
    """
    if summary.get(config.chosen_by) is None:
        raise UserError(f"{path} holds no {config.chosen_by}: run it again")
    for name in ("dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "bsize", "seed"):
        if name in summary and summary[name] != getattr(config, name):
            raise UserError(
                f"{path} is of a run with {name} {summary[name]}, its config.json says "
                f"{getattr(config, name)}: run it again"
            )


def with_explain(command: str) -> str:
    """The command that trains a run, and after it the one that plays the pointing game with it."""
    run_dir = resolve(shlex.split(command)[2:])[0].run_dir
    return f"{command} && {shlex.join(['python', '-m', 'tools.explain', str(run_dir)])}"


def group_by_method(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in the seed alone together, ordered by scheme, full labels last."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.kind, []).append(run)
    return sorted(groups.values(), key=lambda group: rank(group[0]))


def method_name(config: Config) -> str:
    """What the papers call the method: the scheme, and what is done beside it."""
    name = " ".join(filter(None, [config.mod_scheme, config.mode]))
    if config.mod_scheme == "AN" and config.train_set_variant == "clean":
        name = "full labels"
    if config.boostlu != 1:
        name = f"BoostLU + {name}"
    if config.use_feats or (config.linear_init and not config.num_epochs):
        return f"linear {name}"
    return f"LinearInit + {name}" if config.linear_init else name


def setting(config: Config) -> str:
    """The scheme's options that the run used, BoostLU's factor, and a learning rate of its own.

    What the method's name says is left out, and a word that is the default.
    """
    usual = SCHEMES[config.mod_scheme]
    shown = {
        name: Path(value).name if name == "prior" else value
        for name, value in config.options.items()
        if value is not None and not (isinstance(value, str) and value == usual[name])
    }
    shown.pop("mode", None)
    if config.boostlu != 1:
        shown["boostlu"] = config.boostlu
    if "--lr" in shlex.split(command(config)):
        shown["lr"] = config.lr
    return "; ".join(f"{name} {written(value)}" for name, value in shown.items())


def labels_name(run: Run) -> str:
    """Which labels of the training images a run was given, in short."""
    truth, observed = (run.data.get(f"train {kind}") for kind in ("truth", "observed"))
    draw = _draw(run.drawn)
    if observed is None:
        return NOT_RECORDED
    if draw is None and truth in (observed, "none"):
        return AS_ANNOTATED
    if run.config.train_set_variant == "clean":
        return ALL
    return str(observed)[:6] if draw is None else _in_short(draw)


def _draw(drawn: Any) -> Draw | None:
    """The draw that a record tells of, or None."""
    try:
        return Draw(**drawn)
    except (TypeError, UserError):  # there is none, or it is not what a run writes
        return None


def _in_short(draw: Draw) -> str:
    if draw.fpc is not None:
        kept = f"FPC {draw.fpc}"
    elif draw.rps is not None:
        kept = f"RPS {draw.rps:g}"
    elif draw.share is not None:
        kept = f"share {100 * draw.share:g} %"
    else:
        numbers = (ALL if n == -1 else n for n in (draw.num_pos, draw.num_neg))
        kept = "{}+, {}-".format(*numbers)
    return kept if draw.seed == Draw.seed else f"{kept}, seed {draw.seed}"


def rank(run: Run) -> tuple:
    """A method alone comes before what is done beside it, and "topk 2" before "topk 10"."""
    config, labels, name = run.config, labels_name(run), method_name(run.config)
    full = name.endswith("full labels")
    unusual = labels not in (PAPERS, NOT_RECORDED)
    method = list(SCHEMES).index(config.mod_scheme), name.count(" + "), name
    words = re.split(r"(\d+(?:\.\d+)?)", setting(config))  # every other one is a number
    numbers = [float(word) if place % 2 else word for place, word in enumerate(words)]
    return config.dataset, full, labels if unusual else "", *method, numbers
