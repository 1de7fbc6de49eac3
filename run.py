"""A run under way: what it is made of, built from its settings or taken up again."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from build import build_loaders, build_state, own_options
from checkpoint import Checkpoint, State, read_best, restore_best
from cli import UserError
from config import Config
from datasets import Data, load_data
from description import described
from files import is_there
from folder import BEST, LAST, SUMMARY, clear, clear_evidence, is_started, lock
from hardware import Hardware, find_hardware
from label_history import LabelHistory
from loaders import Loader
from models import ImageClassifier, build_model
from phases import Phase, phases_of
from processes import ALONE, Processes
from record import RunRecord
from resuming import ANEW, checkpoint_to_resume, facts_of
from tensorboard_files import TensorBoard


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
    loaders: dict[str, Loader] = field(default_factory=dict)  # of that phase
    board: TensorBoard | None = None
    history: LabelHistory | None = None  # of every label, where it is asked for
    processes: Processes = ALONE
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
            fresh = self.new_state(phase, before.rows)
            self.state = dataclasses.replace(
                fresh, kept=before.kept, last_is_damaged=before.last_is_damaged
            )
            self.state.scheme.continue_from(before.scheme)
        self.loaders = build_loaders(
            self.config, self.data, self.state, self.hardware, self.processes
        )

    def new_state(self, phase: Phase, rows: list[dict[str, Any]]) -> State:
        """What this phase starts with; the weights of the model go on. `rows`: as in the state."""
        model = self.state.model
        return build_state(self.config, self.data, self.options, model, phase, rows, self.processes)

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


def set_up(
    config: Config, record: RunRecord, held: contextlib.ExitStack, processes: Processes = ALONE
) -> Run:
    """Everything that training needs, and the run's folder, begun anew or taken up again.

    Nothing in the folder is touched before all else has succeeded. `held` keeps what is to be
    closed in the end, the folder's lock too. Raises UserError for what the user can mend.
    """
    hardware = find_hardware(
        config.device, config.gpu_num, config.amp, config.deterministic, processes
    )
    if config.sync_bn and hardware.device.type == "cpu":
        raise UserError("--sync_bn: PyTorch has it on GPUs alone: leave it out here")
    data = load_data(config, decode_once=True, processes=processes)
    _check_same_everywhere(data, processes)
    phases = phases_of(config)
    options = own_options(config, data)
    model = processes.in_turn(lambda: _new_model(config, len(data.classes), hardware))
    _check_last_batch(config, phases[-1], model, len(data.train), processes)
    state = build_state(config, data, options, model, phases[0], [], processes)
    run = Run(config, record, hardware, data, options, phases, state, processes=processes)
    processes.once(lambda: _add_witnesses(run, held))
    processes.once(lambda: lock(record.folder, held))
    facts = facts_of(config, data, options)
    found = processes.once(lambda: checkpoint_to_resume(config, record, facts["data"]))
    if found:
        _take_up(run, found)
    processes.once(lambda: _open_record(run, found, facts))
    return run


def _new_model(config: Config, num_classes: int, hardware: Hardware) -> ImageClassifier:
    """The model as it starts, on the device."""
    torch.manual_seed(config.seed)
    model = build_model(
        config.arch, num_classes, config.weights, False, config.image_size, config.boostlu
    )
    if config.sync_bn:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(hardware.device)


def _add_witnesses(run: Run, held: contextlib.ExitStack) -> None:
    """What watches the run, where it is asked for."""
    train, device = run.data.train, run.hardware.device
    if run.config.audit == "labels":
        run.history = LabelHistory(len(train), len(run.data.classes), device)
    if run.config.tensorboard:
        run.board = TensorBoard(run.record.folder)
        held.callback(run.board.close)


def _open_record(run: Run, found: Checkpoint | None, facts: dict[str, Any]) -> None:
    """Begin the record of the run, or go on with it; `facts`: what config.json tells."""
    record = run.record
    if found:
        run.earlier = "result" if is_there(record.folder / SUMMARY) else ""
    elif is_started(record.folder):
        run.earlier = "run"
    else:
        clear_evidence(record.folder)
    if run.earlier:
        record.hold()
    if run.processes.size > 1:
        facts = {**facts, "processes": run.processes.size}
    record.write_config(run.config.settings(), str(run.hardware), facts, bool(found))
    _say_what_is_trained(run, found)


def _say_what_is_trained(run: Run, found: Checkpoint | None) -> None:
    """Print what is trained on what, and what becomes of what lies in the folder."""
    record, state = run.record, run.state
    for line in described(run.config, run.data, run.options, run.phases, state.model, run.hardware):
        record.say(line)
    if run.processes.size > 1:
        record.say(f"{run.processes.size} processes, each with a slice of every mini-batch")
    if run.earlier:
        record.say(f"the {run.earlier} that lies there stands until the next epoch is finished")
    if found:
        damaged = f", {LAST} is damaged" if state.last_is_damaged else ""
        where = f" of the {state.phase.name} phase" if len(run.phases) > 1 else ""
        record.say(f"resumed after epoch {state.epoch}{where} ({found.path.name}{damaged})")
        record.write_metrics(state.rows)
    elif run.config.resume:
        record.say("there is nothing to resume: starting")


def _take_up(run: Run, found: Checkpoint) -> None:
    """Go on from a checkpoint. Raises UserError where it is of another run."""
    named = {phase.name: phase for phase in run.phases}
    if found.phase not in named:
        raise found.misfit()
    if named[found.phase] != run.state.phase:
        run.state = run.new_state(named[found.phase], [])
    run.state.take(found)
    if run.is_last_phase:
        run.processes.once(lambda: _restore_best(run))


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


def _check_same_everywhere(data: Data, processes: Processes) -> None:
    """Raise UserError where processes have read other data, of another machine say."""
    prints = data.fingerprint() if processes.size > 1 else {}
    first = processes.once(lambda: prints)
    processes.together(lambda: _check_equal(prints, first))


def _check_equal(prints: dict[str, str], first: dict[str, str]) -> None:
    differ = [name for name in first if prints[name] != first[name]]
    if differ:
        raise UserError(
            f"{', '.join(differ)} differ between the processes: give all of them the same data"
        )


def _check_last_batch(
    config: Config, phase: Phase, model: ImageClassifier, num_images: int, processes: Processes
) -> None:
    """Raise UserError where batch norm would see a single value a channel and fail."""
    sizes = {min(phase.bsize, num_images), num_images % phase.bsize} - {0}
    seen = [size if config.sync_bn else min(processes.lengths(size)) for size in sizes]
    trains = not (phase.is_linear or config.freeze_feature_extractor)
    normalised = any(isinstance(module, _BatchNorm) for module in model.backbone.modules())
    if min(seen) <= 1 and trains and normalised and model.places == 1:
        is_share = processes.size > 1 and not config.sync_bn
        share = f" of one of {processes.size} processes" * is_share
        raise UserError(
            f"--bsize {config.bsize}: a mini-batch{share} of the {num_images} training images "
            f"would hold one image, of which {config.arch} makes one pixel at --image_size "
            f"{config.image_size}: batch norm needs more; change one of the two"
        )
