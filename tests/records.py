"""Records of finished runs as tests make them, in the form in which runs write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from label_history import LabelHistory
from record import RunRecord
from settings import FLAGS

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "results" / "digits" / "digits_LL-R_2.5_adam_0.001_seed1"
PAPERS = {"num_pos": 1, "num_neg": 0, "seed": 1200}
DIGESTS = {
    "classes": "c0" * 8,
    **{
        f"{split} {kind}": f"{place:x}{split[0].encode().hex()}" + "0" * 13
        for split in ("train", "val", "test")
        for place, kind in enumerate(("images", "truth", "observed"))
    },
    "skipped images": "5c" * 8,
}


def write_run(
    folder: Path,
    seed: int = 1,
    drawn: Any = PAPERS,
    data: Any = None,
    test_labels: str | None = None,
    metrics: Sequence[Mapping[str, Any]] | None = None,
    **settings: Any,
) -> None:
    """A finished run with these settings and facts; `data`: digests that differ, False: none.

    `metrics`: its epochs, those of a committed run where they are not given. Of `settings`, what is
    no setting of a run is a result, as is `val_map`.
    """
    config = json.loads((RECORD / "config.json").read_text())
    summary = json.loads((RECORD / "summary.json").read_text())
    if not settings.get("mod_scheme", "LL-R").startswith("LL-"):
        settings.setdefault("delta_rel", 0.0)
    results = {name: settings.pop(name) for name in [*settings] if name not in FLAGS}
    config.update(seed=seed, **settings)
    summary.update(seed=seed, test_map=90.0 + seed, test_labels=test_labels)
    summary.update((name, value) for name, value in settings.items() if name in summary)
    if metrics is not None:
        summary["epochs_run"] = len(metrics)
    summary.update(results)
    if data is False:
        config["environment"] = {"python": "3"}
    else:
        config["environment"].update(data={**DIGESTS, **(data or {})}, drawn=drawn)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    if metrics is None:
        (folder / "metrics.csv").write_bytes((RECORD / "metrics.csv").read_bytes())
    else:
        RunRecord(folder).write_metrics(metrics)


def epochs(**columns: Sequence[float | None]) -> list[dict[str, Any]]:
    """The rows of metrics.csv with these columns, an epoch for each value."""
    values = zip(*columns.values(), strict=True)
    return [
        {"epoch": place, "phase": "finetune", **dict(zip(columns, row, strict=True))}
        for place, row in enumerate(values, start=1)
    ]


def write_history(folder: Path, loss: np.ndarray, selected: np.ndarray | None = None) -> None:
    """What --audit labels keeps: `loss` float [T, N, K], `selected` bool [T, N, K]."""
    for epoch in range(len(loss)):
        history = LabelHistory(loss.shape[1], loss.shape[2], "cpu")
        chosen = None if selected is None else torch.from_numpy(selected[epoch])
        history.update(torch.arange(loss.shape[1]), torch.from_numpy(loss[epoch]), chosen)
        history.write(folder, "finetune", epoch + 1, before_rename=lambda: None)
