"""Testing of a trained run, and what it ends with.

Letters in shapes: K classes.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from checkpoint import read_best
from cli import UserError
from evaluation import evaluate
from instrumentation import draw_curves, mean_average_precision, mean_of_known
from run import Run
from telling import result_line
from tensorboard_files import examples_of, naming_settings

SUMMARIZED = (
    "dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "bsize", "seed", "num_epochs",
)  # fmt: skip


def test(run: Run) -> dict[str, Any]:
    """Test the last and the best weights; the result is what summary.json holds from then on.

    Raises UserError where the weights of the best epoch are lost.
    """
    config, rows, start = run.config, run.state.phase_rows, time.perf_counter()
    processes = run.processes
    processes.once(run.take_over)
    best = processes.once(lambda: read_best(run.record.folder))
    if best.epoch != run.best_epoch:
        raise UserError(
            f"{best.path} is of epoch {best.epoch}, not of the best, {run.best_epoch}, whose "
            "weights were lost with a damaged checkpoint: give --overwrite to start anew"
        )
    last_map, _ = _test_map(run)
    best.fill(run.state.model)
    test_map, ap = _test_map(run)
    best_row = rows[best.epoch - 1]
    ap_of = zip(run.data.classes, ap.tolist(), strict=True)
    groups = {name: _or_none(mean_of_known(ap[list(columns)]))
              for name, columns in run.data.groups.items()}  # fmt: skip
    summary = {
        **{name: getattr(config, name) for name in SUMMARIZED},
        "best_epoch": best.epoch,
        "epochs_run": len(rows),
        "val_map": best_row["val_map"],
        "val_map_observed": best_row["val_map_observed"],
        "test_labels": "observed" if run.data.test.truth is None else "clean",
        "test_map": test_map,
        "test_map_last": last_map,
        "seconds": sum(row["seconds"] for row in run.state.rows) + time.perf_counter() - start,
        "empty_classes": int((ap == 0).sum()),
        "skipped_images": len(run.data.skipped),
        **({"test_map_groups": groups} if groups else {}),
        "test_ap": {name: _or_none(value) for name, value in ap_of},
    }
    processes.once(lambda: _write_result(run, summary))
    return summary


def _write_result(run: Run, summary: dict[str, Any]) -> None:
    curves, best = run.record.folder / "curves.png", summary["best_epoch"]
    draw_curves(run.state.rows, best, run.config.exp_name, curves)
    if run.board:
        examples = examples_of(run.state.model, run.data.val, run.data.classes, run.hardware)
        results = {name: summary[name] for name in ("test_map", "val_map")}
        run.board.finish(naming_settings(run.config), results, examples, len(run.state.rows))
    run.record.say(result_line(summary))
    run.record.write_summary(summary)  # the last: it says that the run is finished


def _test_map(run: Run) -> tuple[float, np.ndarray]:
    """mAP on the test split, and AP [K]."""
    scores = evaluate(run.state.net, run.loaders["test"], run.hardware, for_all=False).numpy()
    return run.processes.once(lambda: mean_average_precision(scores, run.data.test.best_known))


def _or_none(value: float) -> float | None:
    """The value, or None for NaN, which JSON has not."""
    return None if np.isnan(value) else value
