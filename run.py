"""A run under way: what it is made of, built from its settings or taken up again."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from build import build_loaders, build_state, own_options
from checkpoint import Checkpoint, State, read_best, read_checkpoint, restore_best
from cli import UserError
from config import FLAGS, Config, read_config
from datasets import SKIPPED, Data, load_data
from description import described
from files import is_there
from folder import BEST, LAST, SUMMARY, clear, clear_evidence, has_checkpoint, is_started, lock
from hardware import Hardware, find_hardware
from instrumentation import TensorBoard
from label_history import LabelHistory
from losses import options_of
from models import ImageClassifier, build_model
from naming import written
from phases import Phase, phases_of
from record import RunRecord

ANEW = "give --overwrite to start anew, or another --exp_name"


@dataclass
class Run:
    """A run under way."""

    config: Config
    record: RunRecord
    hardware: Hardware
    data: Data
    options: dict[str, Any]  # of the scheme
    phases: tuple[Phase, ...]
    state: State  # in one of them
    loaders: dict[str, DataLoader] = field(default_factory=dict)  # of that phase
    board: TensorBoard | None = None
    history: LabelHistory | None = None  # of every label, where it is asked for
    earlier: str = ""  # what still stands in the folder: "result" to add to, "run" to overwrite

    def take_over(self) -> None:
        """Remove what this run takes the place of, and write what was held back until then."""
        if self.earlier == "run":
            clear(self.record.folder)
        elif self.earlier:
            self.record.remove_summary()
        self.record.release()
        self.earlier = ""

    def make_room(self) -> None:
        """Take over, and write what became of the labels in the epoch that is about to be saved."""
        if self.history:
            phase, epoch = self.state.phase.name, self.state.epoch
            self.history.write(self.record.folder, phase, epoch, before_rename=self.take_over)
        else:
            self.take_over()

    def begin(self, phase: Phase) -> None:
        """Go on with this phase: what it trains with, unless that is taken up, and its loaders.

        It starts from the best head of the phase before, and what a scheme may keep of it.
        """
        if phase != self.state.phase:
            before = self.state
            if before.best_head:  # a checkpoint of earlier times has none
                before.model.head.load_state_dict(before.best_head)
            fresh = build_state(
                self.config, self.data, self.options, before.model, phase, before.rows
            )
            self.state = dataclasses.replace(
                fresh, kept=before.kept, last_is_damaged=before.last_is_damaged
            )
            self.state.scheme.continue_from(before.scheme)
        self.loaders = build_loaders(self.config, self.data, self.state, self.hardware)

    @property
    def is_last_phase(self) -> bool:
        """Whether it is the phase whose best epoch is the result."""
        return self.state.phase == self.phases[-1]

    @property
    def phases_left(self) -> tuple[Phase, ...]:
        """The phases that are not over; the last one is among them in any case."""
        is_over = self.is_trained and not self.is_last_phase
        return self.phases[self.phases.index(self.state.phase) + is_over :]

    @property
    def best_epoch(self) -> int:
        """The first epoch of the phase with the highest validation mAP so far."""
        return 1 + int(np.argmax([row[self.config.chosen_by] for row in self.state.phase_rows]))

    @property
    def is_trained(self) -> bool:
        """Whether the phase's last epoch is done, or val mAP fell so far that it stops early."""
        maps = [row[self.config.chosen_by] for row in self.state.phase_rows]
        fallen = bool(maps) and max(maps) - maps[-1] > self.config.early_stop_drop
        return fallen or self.state.epoch >= self.state.phase.epochs


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
            prints = _about(config, data, own_options(config, data))["data"]
        except UserError:  # the data is gone, the result still holds
            return summary
        _check_same_data(prints, record, but=SKIPPED)
        return summary
    if not has_checkpoint(record.folder):
        raise UserError(
            f"--resume: {record.folder} holds a result but no checkpoint to go on from: {ANEW}"
        )
    return None


def set_up(config: Config, record: RunRecord, held: contextlib.ExitStack) -> Run:
    """Everything that training needs, and the run's folder, begun anew or taken up again.

    Nothing in the folder is touched before all else has succeeded. `held` keeps what is to be
    closed in the end, the folder's lock too.
    """
    hardware = find_hardware(config.device, config.gpu_num, config.amp, config.deterministic)
    data = load_data(config, decode_once=True)
    phases = phases_of(config)
    options = own_options(config, data)
    torch.manual_seed(config.seed)
    model = build_model(
        config.arch, len(data.classes), config.weights, False, config.image_size, config.boostlu
    ).to(hardware.device)
    _check_last_batch(config, phases[-1], model, len(data.train))
    state = build_state(config, data, options, model, phases[0], [])
    history = None
    if config.audit == "labels":
        history = LabelHistory(len(data.train), len(data.classes), hardware.device)
    board = TensorBoard(record.folder) if config.tensorboard else None
    if board:
        held.callback(board.close)
    lock(record.folder, held)
    about = _about(config, data, options)
    found = _checkpoint_to_resume(config, record, about["data"])
    run = Run(config, record, hardware, data, options, phases, state, board=board, history=history)
    if found:
        _take_up(run, found)
        run.earlier = "result" if is_there(record.folder / SUMMARY) else ""
    elif is_started(record.folder):
        run.earlier = "run"
    else:
        clear_evidence(record.folder)
    if run.earlier:
        record.hold()
    record.write_config(config.settings(), str(hardware), about, bool(found))
    _say_what_is_trained(run, found)
    return run


def _about(config: Config, data: Data, options: dict[str, Any]) -> dict[str, Any]:
    """What config.json tells of the data, and of the options that come from it."""
    prints = data.fingerprint()
    if options.get("prior") is not None:
        prints["prior"] = hashlib.sha256(repr(options["prior"]).encode()).hexdigest()[:16]
    about: dict[str, Any] = {"data": prints, "drawn": data.drawn, "skipped": data.skipped}
    if "expected_positives" in options and config.expected_positives is None:
        about["expected_positives"] = options["expected_positives"]
    return about


def _say_what_is_trained(run: Run, found: Checkpoint | None) -> None:
    """Print what is trained on what, and what becomes of what lies in the folder."""
    record, state = run.record, run.state
    for line in described(run.config, run.data, run.options, run.phases, state.model, run.hardware):
        record.say(line)
    if run.earlier:
        record.say(f"the {run.earlier} that lies there stands until the next epoch is finished")
    if found:
        damaged = f", {LAST} is damaged" if state.last_is_damaged else ""
        where = f" of the {state.phase.name} phase" if len(run.phases) > 1 else ""
        record.say(f"resumed after epoch {state.epoch}{where} ({found.path.name}{damaged})")
        record.write_metrics(state.rows)
    elif run.config.resume:
        record.say("there is nothing to resume: starting")


def _checkpoint_to_resume(
    config: Config, record: RunRecord, prints: dict[str, str]
) -> Checkpoint | None:
    """The checkpoint in the folder, if it is to be resumed."""
    if config.overwrite or not has_checkpoint(record.folder):
        return None
    _check_resume_is_asked(config, record.folder)  # the run may have come between
    _check_same_settings(config, record)
    _check_same_audit(config, record.folder)
    _check_same_data(prints, record)
    return read_checkpoint(record.folder)


def _take_up(run: Run, found: Checkpoint) -> None:
    """Go on from a checkpoint. Raises UserError where it is of another run."""
    named = {phase.name: phase for phase in run.phases}
    if found.phase not in named:
        raise found.misfit()
    if named[found.phase] != run.state.phase:
        run.state = build_state(
            run.config, run.data, run.options, run.state.model, named[found.phase], []
        )
    run.state.take(found)
    if run.is_last_phase:
        _restore_best(run)


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


def _check_last_batch(
    config: Config, phase: Phase, model: ImageClassifier, num_images: int
) -> None:
    """Raise UserError where batch norm would see a single value a channel and fail."""
    alone = phase.bsize == 1 or num_images % phase.bsize == 1
    trains = not (phase.is_linear or config.freeze_feature_extractor)
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in model.backbone.modules())
    if alone and trains and normalised and model.places == 1:
        raise UserError(
            f"--bsize {config.bsize}: a mini-batch of the {num_images} training images would hold "
            f"one image, of which {config.arch} makes one pixel at --image_size "
            f"{config.image_size}: batch norm needs more; change one of the two"
        )
