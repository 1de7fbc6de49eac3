"""What a run tells people as it trains and as it ends."""

from __future__ import annotations

import signal
from typing import Any

from finite import NotFinite
from loaders import BatchOrder
from run import Run

NAMED = 16  # images that a message names at most


def epoch_line(run: Run, row: dict[str, Any]) -> str:
    """A finished epoch; `*` marks the best so far."""
    phase = run.state.phase
    line = (
        f"{'linear ' * phase.is_linear}epoch {row['epoch']:>2}/{phase.epochs}  "
        f"loss {row['train_loss']:.4f}  val mAP {row[run.config.chosen_by]:5.2f}"
        f"{'*' if run.best_epoch == row['epoch'] else ' '}"
    )
    if row["selected"]:
        line += f"  {row['selected']:,} labels selected"
    if row["selected_precision"] is not None:
        line += f", {row['selected_precision']:.0%} truly positive"
    return f"{line}  {row['seconds']:.1f} s"


def result_line(summary: dict[str, Any]) -> str:
    """The last line of a run."""
    return f"Test mAP : {summary['test_map']:.3f} when trained until epoch {summary['best_epoch']}"


def learning_rate(run: Run) -> str:
    """The flag that says how fast this phase learns, and its value."""
    name = "--linear_lr" if run.state.phase.is_linear and run.config.linear_init else "--lr"
    return f"{name} (it is {getattr(run.config, name[2:]):g})"


def not_finite_loss(run: Run, epoch: int, error: NotFinite) -> str:
    """A loss that is no number: where, in which images, what to do."""
    order = run.loaders["train"].batch_sampler
    assert isinstance(order, BatchOrder)
    names = run.data.train.names[order.whole()[error.step - 1].numpy()]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"epoch {epoch}, step {error.step} of {len(order)}: the loss is {error.loss}: lower "
        f"{learning_rate(run)}, or look at the images of the mini-batch "
        f"({', '.join(names[:NAMED])}{more})"
    )


def kept(run: Run) -> str:
    """What a run that ends early leaves, and how to go on."""
    state = run.state
    if state.kept:
        how = "--resume instead of --overwrite" if run.config.overwrite else "--resume"
        last = state.rows[state.kept - 1]
        which = f" of the {last['phase']} phase" if len(run.phases) > 1 else ""
        epochs = f"epochs 1 to {last['epoch']}{which} are kept"
        return f"{epochs}: the same command with {how} goes on"
    stands = ", the earlier run stands" if run.earlier == "run" else ""
    return f"no epoch is finished yet{stands}: the same command starts anew"


def stopped(run: Run, stop: KeyboardInterrupt) -> str:
    """The end by Ctrl-C or a signal."""
    by = f" by {signal.Signals(stop.args[0]).name}" if stop.args else ""
    return f"stopped{by}, {kept(run)}"
