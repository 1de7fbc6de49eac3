"""The evidence of a run: mAP, the label audit, the files it leaves, its curves.

Letters in shapes: B images of a mini-batch, N of a split, K classes. mAP and AP are percentages,
shares are fractions. What the data cannot tell stays empty, never 0.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cli import UserError
from files import write_atomically

METRICS = (
    "epoch", "phase", "lr", "rate", "train_loss", "val_map", "val_map_observed",
    "selected", "selected_precision", "selected_recall",
    "loss_tp", "loss_tn", "loss_fn", "images_per_s", "seconds",
)  # fmt: skip


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over classes of the average precision, and that of each class [K], in percent.

    `scores` float [N, K]; `labels` [N, K] in {-1, 0, 1}, entries of 0 are left out. A class
    without annotated entries is NaN and left out of the mean; one without positives counts 0.
    """
    columns = zip(np.asarray(scores).T, np.asarray(labels).T, strict=True)
    ap = np.array([_average_precision(score[label != 0], label[label != 0] == 1)
                   for score, label in columns])  # fmt: skip
    known = ap[~np.isnan(ap)]
    return (float(known.mean()) if len(known) else float("nan")), ap


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    if not len(positive):
        return float("nan")
    return 100 * float(average_precision_score(positive, scores)) if positive.any() else 0.0


class LabelAudit:
    """What an epoch did to the labels, summed on the device and read once, at its end.

    The losses of true positives, true negatives and false negatives (a truly positive label that
    is not annotated) are the plain Assume Negative losses on the human labels.
    """

    _KINDS = ("tp", "tn", "fn")

    def __init__(self, device: torch.device | str) -> None:
        self._sums = torch.zeros(10, dtype=torch.float64, device=device)
        self._selects = False

    @torch.no_grad()
    def update(
        self, step_loss: Tensor, loss: Tensor, human: Tensor, truth: Tensor, selected: Tensor | None
    ) -> None:
        """Add a mini-batch: the scheme's loss (scalar), then [B, K] each.

        `loss`: Assume Negative on the human labels; `human`, `truth` in {-1, 0, 1}, truth 0 where
        unknown; `selected` bool or None.
        """
        self._selects |= selected is not None
        positive = truth == 1
        kinds = torch.stack([positive & (human == 1), truth == -1, positive & (human == 0)])
        chosen = torch.zeros_like(positive) if selected is None else selected
        counts = [chosen, chosen & (truth != 0), chosen & positive]
        self._sums += torch.cat([
            kinds.flatten(1).sum(1),
            (kinds * loss).flatten(1).sum(1),
            torch.stack([count.sum() for count in counts]),
            (step_loss * len(loss)).view(1),
        ])  # fmt: skip

    def result(self, num_images: int, found: Tensor | None, missing: Tensor) -> dict[str, Any]:
        """The columns of metrics.csv that the audit fills.

        `missing`: all false negatives of the split; `found`: those that are corrected for good so
        far, or None to count the ones selected in this epoch.
        """
        sums = torch.cat([self._sums, missing.view(1)]).tolist()
        counts, losses, (selected, known, true, total_loss, missing_count) = (
            sums[:3], sums[3:6], sums[6:])  # fmt: skip
        reached = true if found is None else float(found)
        row = {f"loss_{kind}": _share(loss, count)
               for kind, loss, count in zip(self._KINDS, losses, counts, strict=True)}  # fmt: skip
        return row | {
            "train_loss": total_loss / num_images,
            "selected": int(selected),
            "selected_precision": _share(true, known),
            "selected_recall": _share(reached, missing_count) if self._selects else None,
        }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class RunRecord:
    """The files of a run that people and scripts read, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def say(self, line: str) -> None:
        """Print a line, above a progress bar if there is one, and keep it in train.log."""
        tqdm.write(line)
        with (self.folder / "train.log").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def write_config(
        self, settings: Mapping[str, Any], device: str, fingerprint: str, resumed: bool
    ) -> None:
        """config.json: every setting, and under `environment` what else made the result.

        `fingerprint`: of the data. The environments of a run that is `resumed` are all kept.
        """
        now: dict[str, Any] = {**environment(device), "data": fingerprint}
        if resumed:
            first = self.read_config()["environment"]
            now = {**first, "resumed": [*first.get("resumed", []), now]}
        self._write_json("config.json", {**settings, "environment": now})

    def read_config(self) -> dict[str, Any]:
        """What config.json holds. Raises UserError where it cannot be read."""
        config = self._read_json("config.json")
        return {**config, "environment": config.get("environment") or {}}

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """metrics.csv, whole: a row an epoch, empty where a value is unknown."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(METRICS)
        table.writerows([_cell(row.get(name)) for name in METRICS] for row in rows)
        self._write("metrics.csv", text.getvalue())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """summary.json: the result of a finished run."""
        self._write_json("summary.json", summary)

    def read_summary(self) -> dict[str, Any] | None:
        """The result of a finished run, or None. Raises UserError where it cannot be read."""
        there = (self.folder / "summary.json").exists()
        return self._read_json("summary.json") if there else None

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read ({error}): give --overwrite") from None
        if not isinstance(content, dict):
            raise UserError(f"{path} is not what a run writes: give --overwrite")
        return content

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self._write(name, json.dumps(content, indent=2) + "\n")

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.folder / name, lambda file: file.write(text.encode()))


def _cell(value: Any) -> Any:
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def environment(device: str) -> dict[str, str]:
    """Versions, git commit, device and command line, for config.json."""
    import sklearn
    import torchvision

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "sklearn": sklearn.__version__,
        "git_commit": _git_commit(),
        "command_line": shlex.join(sys.argv),
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def _git_commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


class TensorBoard:
    """The rows of metrics.csv as TensorBoard scalars. Raises UserError if it is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("--tensorboard needs a package: pip install tensorboard") from None
        self._open = partial(SummaryWriter, str(folder / "tensorboard"))
        self._writer: Any = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Add the numbers of an epoch; those of the same epoch before a stop are dropped."""
        self._writer = self._writer or self._open(purge_step=row["epoch"])
        for name, value in row.items():
            if isinstance(value, (int, float)) and name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()


CURVES: dict[str, dict[str, tuple[str, str]]] = {  # panel: {column: (name, colour)}
    "mAP on validation (%)": {
        "val_map": ("clean labels", "#0072B2"),
        "val_map_observed": ("observed labels", "#56B4E9"),
    },
    "mean loss, unobserved labels": {
        "loss_fn": ("false negatives", "#D55E00"),
        "loss_tn": ("true negatives", "#0072B2"),
    },
    "mean loss, observed positives": {"loss_tp": ("true positives", "#009E73")},
    "share": {
        "selected_precision": ("of the selected labels, truly positive", "#CC79A7"),
        "selected_recall": ("of all false negatives, selected", "#E69F00"),
    },
}


def draw_curves(rows: Sequence[Mapping[str, Any]], best_epoch: int, title: str, path: Path) -> None:
    """curves.png: mAP, the audit's losses and the quality of the selection, by epoch.

    A panel for which the run has no numbers is left out.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    def known(panel: Mapping[str, Any]) -> list[str]:
        return [column for column in panel if any(row[column] is not None for row in rows)]

    panels = {label: panel for label, panel in CURVES.items() if known(panel)}
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    grid = figure.subplots(1, len(panels), squeeze=False)
    for axes, (label, panel) in zip(grid[0], panels.items(), strict=True):
        for column in known(panel):
            name, color = panel[column]
            values = [np.nan if row[column] is None else row[column] for row in rows]
            axes.plot(epochs, values, marker="o", markersize=3, color=color, label=name)
        axes.axvline(best_epoch, color="0.7", linewidth=1, linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.suptitle(title, fontsize="medium", parse_math=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format="png")
    write_atomically(path, lambda file: file.write(picture.getvalue()))
