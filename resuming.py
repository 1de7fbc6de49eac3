"""Whether a run may go on where one lies, and from which checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from build import own_options
from checkpoint import Checkpoint, read_checkpoint
from cli import UserError
from config import FLAGS, Config, read_config
from datasets import SKIPPED, Data, load_data
from folder import has_checkpoint, is_started
from losses import options_of
from naming import written
from record import RunRecord

ANEW = "give --overwrite to start anew, or another --exp_name"


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
            prints = facts_of(config, data, own_options(config, data))["data"]
        except UserError:  # the data is gone, the result still holds
            return summary
        _check_same_data(prints, record, but=SKIPPED)
        return summary
    if not has_checkpoint(record.folder):
        raise UserError(
            f"--resume: {record.folder} holds a result but no checkpoint to go on from: {ANEW}"
        )
    return None


def facts_of(config: Config, data: Data, options: dict[str, Any]) -> dict[str, Any]:
    """What config.json tells of the data, and of the options that come from it."""
    prints = data.fingerprint()
    if options.get("prior") is not None:
        prints["prior"] = hashlib.sha256(repr(options["prior"]).encode()).hexdigest()[:16]
    facts: dict[str, Any] = {"data": prints, "drawn": data.drawn, "skipped": data.skipped}
    if "expected_positives" in options and config.expected_positives is None:
        facts["expected_positives"] = options["expected_positives"]
    return facts


def checkpoint_to_resume(
    config: Config, record: RunRecord, prints: dict[str, str]
) -> Checkpoint | None:
    """The checkpoint in the folder, if it is to be resumed. Raises UserError if it may not be."""
    if config.overwrite or not has_checkpoint(record.folder):
        return None
    _check_resume_is_asked(config, record.folder)  # the run may have come between
    _check_same_settings(config, record)
    _check_same_audit(config, record.folder)
    _check_same_data(prints, record)
    return read_checkpoint(record.folder)


def _check_resume_is_asked(config: Config, folder: Path) -> None:
    if not config.resume:
        raise UserError(
            f"{folder} holds a run already: add --resume to go on with it, "
            "--overwrite to start anew, or another --exp_name"
        )


def _check_same_settings(config: Config, record: RunRecord) -> None:
    """Raise UserError if a setting that changes results is not what the run was started with."""
    try:
        saved = read_config(record.folder / "config.json")
    except UserError as error:
        raise UserError(f"--resume: {error}: {ANEW}") from None
    differ = [
        name
        for name, f in FLAGS.items()
        if f.metadata["names_run"]
        and getattr(config, name) != getattr(saved, name)
        and not (name == "num_epochs" and _may_go_on(config, saved.num_epochs))
    ]
    if differ:
        before, now = (
            " ".join(f"--{name} {written(getattr(settings, name))}" for name in differ)
            for settings in (saved, config)
        )
        raise UserError(
            f"--resume: {record.folder} has {before}, not {now}: give what "
            "it has (--config RUN/config.json does), or another --exp_name"
        )


def _check_same_audit(config: Config, folder: Path) -> None:
    """Raise UserError where some epochs would have what the others lack."""
    saved = read_config(folder / "config.json").audit
    if saved != config.audit:
        raise UserError(
            f"--resume: {folder} has --audit {saved}, not {config.audit}: give what it has, or "
            "--overwrite to start anew"
        )


def _may_go_on(config: Config, saved: int) -> bool:
    """Whether a run of so many epochs may be continued to these: its epochs would be the same."""
    counts_on_them = "num_epochs" in options_of(config.mod_scheme)
    return config.num_epochs >= saved > 0 and not counts_on_them


def _check_same_data(now: dict[str, str], record: RunRecord, but: str = "") -> None:
    """Raise UserError if classes, images, labels or prior are not those the run was started with.

    `now`: their digests; the one called `but` may differ.
    """
    before = record.read_config()["environment"].get("data")
    if before is None:  # a run of an earlier version
        return
    known = before if isinstance(before, dict) else {}
    differ = [name for name in now if known.get(name) != now[name] and name != but]
    if differ:
        raise UserError(
            f"--resume: {', '.join(differ)} are not those that {record.folder} was started with: "
            "restore them, or give another --exp_name"
        )
