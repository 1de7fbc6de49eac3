"""Training of a run, from its settings to its result.

Letters in shapes: B images of a mini-batch, N of a split, K classes, D features.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import result
import stopping
from checkpoint import State, read_best
from cli import OwnTrouble, ToldElsewhere, UserError
from config import Config, config_of
from data.labels import share_annotated
from evaluation import evaluate
from failures import explained
from finite import LossWatch, NotFinite, not_finite
from folder import BEST
from hardware import Hardware
from instrumentation import LabelAudit, mean_average_precision
from label_history import LabelHistory
from loaders import BatchOrder, Purpose, batches, epoch_rng, progress
from losses import assume_negative_loss
from models import ImageClassifier, build_model
from processes import joined, peers
from record import RunRecord
from resuming import finished
from run import Run, set_up
from telling import epoch_line, kept, learning_rate, not_finite_loss, result_line, stopped


def run_train(config: Config) -> dict[str, Any]:
    """Train, choose the best epoch on val, test; the result is what summary.json holds.

    A finished run is not trained again under `resume`. Raises UserError for whatever the user
    can mend; KeyboardInterrupt leaves a run that `resume` continues from its last epoch.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(explained(config.bsize, config.image_size, config.num_workers))
        processes = held.enter_context(joined(config.device))
        held.enter_context(peers())
        if processes.follow_others():
            config = dataclasses.replace(config, resume=True, overwrite=False)
        record = RunRecord(config.run_dir)
        summary = processes.once(lambda: finished(config, record))
        if summary is not None:
            print(result_line(summary))
            return summary
        with stopping.at_next_step():
            run = set_up(config, record, held, processes)
        with _noted(run), peers(), stopping.at_next_step():
            _train(run)
            return result.test(run)


@contextlib.contextmanager
def _noted(run: Run) -> Iterator[None]:
    """Note in the run's log how it ends, where that is before it is finished."""
    try:
        yield
    except (KeyboardInterrupt, Exception) as end:
        if run.processes.is_first:
            with contextlib.suppress(UserError):  # the log may be what cannot be written
                _note_end(run, end)
        if isinstance(end, UserError) and not isinstance(end, ToldElsewhere):
            kind = OwnTrouble if isinstance(end, OwnTrouble) else UserError
            raise kind(f"{end}; {kept(run)}") from end
        raise


def _note_end(run: Run, end: BaseException) -> None:
    """Write down how a run ends early. Raises UserError where that is not possible."""
    if isinstance(end, KeyboardInterrupt):
        run.record.say(stopped(run, end))  # Ctrl-C may have ended the reader of a pipe too
    else:
        name = "" if isinstance(end, UserError) else f"{type(end).__name__}: "
        run.record.note(f"failed: {name}{end}")


def train_one_epoch(
    state: State,
    images: DataLoader,
    epoch: int,
    flips: torch.Generator | None,
    hardware: Hardware,
    history: LabelHistory | None = None,
    then: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Take every training image once; the result is the audit's part of a metrics.csv row.

    `flips`: draws which images are flipped left-right; None: none is. `history`: takes down what
    becomes of every label. `then`: as in `batches`. Raises NotFinite.
    """
    state.net.train()
    order, device = images.batch_sampler, hardware.device
    assert isinstance(order, BatchOrder)
    order.epoch = epoch
    processes = order.processes
    audit, watch, rate = LabelAudit(device), LossWatch(), state.scheme.rate(epoch)
    steps = progress(batches(images, device, then), len(images), f"epoch {epoch}")
    for (x, own), places in zip(steps, order.whole(), strict=True):
        assert torch.equal(own, processes.own(places)), "the labels are those of the images"
        if flips is not None:
            x = flip(x, processes.own(torch.rand(len(places), generator=flips) < 0.5))
        with hardware.autocast():
            logits = state.parallel(x).float()
        logits = processes.gather(logits, processes.lengths(len(places)))
        index = places.to(device, non_blocking=True)
        observed, human = state.labels.observed(places), state.labels.human(index)
        out = state.scheme(logits, observed, epoch=epoch, index=index)
        watch.see(out.loss)
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(out.loss).backward()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.scheme.permanent:
            state.labels.correct(places, out.selected, math.ceil(rate * logits.numel()))
        loss = assume_negative_loss(logits.detach(), human)
        audit.update(out.loss, loss, human, state.labels.truth(index), out.selected)
        if history:
            history.update(index, loss, out.selected)
    watch.finish()
    found = state.labels.corrected_false_negatives() if state.scheme.permanent else None
    return audit.result(order.num_images, found, state.labels.false_negatives())


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """The images [B, 3, H, W], those that are `chosen`, bool [B], flipped left-right."""
    chosen = chosen.to(images.device, non_blocking=True)
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def load_run(run_dir: str | Path) -> tuple[ImageClassifier, Config, tuple[str, ...]]:
    """The best model of a run, in evaluation mode on the CPU, its settings, its class names.

    Raises UserError where the folder holds no such run.
    """
    config = config_of(run_dir)
    best = read_best(Path(run_dir))
    size, boost = config.image_size, config.boostlu
    model = best.fill(build_model(config.arch, len(best.classes), "none", False, size, boost))
    return model.eval(), config, best.classes


def _train(run: Run) -> None:
    """Train the phases that are left, each until its last epoch or the early stop."""
    for phase in run.phases_left:
        run.begin(phase)
        while not run.is_trained:
            run.state.rows.append(_run_epoch(run))
            run.processes.once(lambda: _keep(run))
            run.state.kept = len(run.state.rows)
            run.processes.note_epoch()


def _keep(run: Run) -> None:
    """Write down the epoch that has just been finished."""
    state, record = run.state, run.record
    is_best = run.best_epoch == state.epoch
    if is_best and not run.is_last_phase:
        state.keep_head()
    state.save(record.folder, run.make_room)
    if is_best and run.is_last_phase:
        state.save_model(record.folder / BEST, run.data.classes)
    record.write_metrics(state.rows)
    record.say(epoch_line(run, state.rows[-1]))
    if run.board:
        run.board.write(state.rows[-1], len(state.rows))


def _run_epoch(run: Run) -> dict[str, Any]:
    """Train and validate once; the result is the row of metrics.csv."""
    config, state = run.config, run.state
    epoch, start = state.epoch + 1, time.perf_counter()
    augments = config.flip and not state.phase.is_linear
    flips = epoch_rng(config.seed, epoch, Purpose.FLIPS) if augments else None
    layers = epoch_rng(config.seed, epoch, Purpose.LAYERS)
    torch.manual_seed(layers.initial_seed() + run.processes.rank)
    then = run.loaders["predict" if state.scheme.predicts_after(epoch) else "val"].begin
    try:
        audit = train_one_epoch(
            state, run.loaders["train"], epoch, flips, run.hardware, run.history, then
        )
    except NotFinite as error:
        raise UserError(not_finite_loss(run, epoch, error)) from None
    run.processes.share_buffers(state.net)
    _check_same_labels(run, epoch)
    trained = time.perf_counter() - start
    if names := not_finite(state.model.state_dict()):
        raise UserError(
            f"epoch {epoch} left numbers that are not finite in {', '.join(names[:3])} "
            f"({len(names)} tensors): lower {learning_rate(run)}"
        )
    _learn_from_predictions(run, epoch)
    return {
        "epoch": epoch,
        "phase": state.phase.name,
        "lr": state.phase.lr,
        "rate": state.scheme.rate(epoch),
        **audit,
        **_validate(run),
        "images_per_s": len(run.data.train) / trained,
        "seconds": time.perf_counter() - start,
    }


def _check_same_labels(run: Run, epoch: int) -> None:
    """Raise UserError where processes have made of the labels what the first, which saves, has not.

    Each finds the large losses, and learns what a scheme learns of labels, by itself.
    """
    if run.processes.size > 1:
        parts = (run.state.scheme, run.state.labels)
        tensors = [tensor for part in parts for tensor in part.state_dict().values()]
        run.processes.check_same(tensors, f"the labels that epoch {epoch} has made")


def _learn_from_predictions(run: Run, epoch: int) -> None:
    """Show the scheme what the network predicts on the training images, if it wants to see it."""
    state = run.state
    if state.scheme.predicts_after(epoch):
        logits = evaluate(state.net, run.loaders["predict"], run.hardware, run.loaders["val"].begin)
        state.scheme.after_epoch(epoch, logits.sigmoid(), state.labels.all_observed())


def _validate(run: Run) -> dict[str, float | None]:
    """Val mAP on the clean and on the observed labels, each None where there are none."""
    val, coming = run.data.val, run.state.epoch + 2  # the epoch is not in the state yet
    is_last = coming > run.state.phase.epochs
    then = None if is_last else partial(run.loaders["train"].begin, coming)
    scores = evaluate(run.state.net, run.loaders["val"], run.hardware, then, for_all=False).numpy()
    kinds = (("val_map", val.truth), ("val_map_observed", val.observed_or_negative))
    return run.processes.once(
        lambda: {
            name: mean_average_precision(scores, labels)[0]
            if labels is not None and share_annotated(labels)
            else None
            for name, labels in kinds
        }
    )
