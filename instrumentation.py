"""The evidence of a run: mAP, the label audit, curves.

Letters in shapes: B images of a mini-batch, N of a split, K classes. mAP and AP are percentages,
shares are fractions. What the data cannot tell stays empty, never 0.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cli import UserError
from data.labels import Labels, annotated_by_class
from files import write_atomically


def mean_average_precision(scores: np.ndarray, labels: Labels) -> tuple[float, np.ndarray]:
    """The mean over classes of the average precision, and that of each class [K], in percent.

    `scores` float [N, K]; `labels` [N, K] in {-1, 0, 1}, dense or sparse, entries of 0 are left
    out. A class without annotated entries is NaN and left out of the mean; one without positives
    counts 0. Raises UserError for scores that are no finite numbers, and ValueError where scores
    and labels are not of one shape.
    """
    scores = np.asarray(scores)
    if not hasattr(labels, "tocsc"):
        labels = np.asarray(labels)
    if scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} differ in shape")
    if not np.isfinite(scores).all():
        raise UserError("the network's scores are no finite numbers: train it with a lower --lr")
    annotated = enumerate(annotated_by_class(labels))
    ap = np.array(
        [_average_precision(scores[rows, k], positive) for k, (rows, positive) in annotated]
    )
    return mean_of_known(ap), ap


def mean_of_known(ap: np.ndarray) -> float:
    """The mean of the APs that are not NaN, or NaN."""
    known = ap[~np.isnan(ap)]
    return float(known.mean()) if len(known) else float("nan")


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

    Epochs of the last phase count from 1, the last one of a phase before it is 0. A panel for
    which the run has no numbers is left out.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    def known(panel: Mapping[str, Any]) -> list[str]:
        return [column for column in panel if any(row[column] is not None for row in rows)]

    panels = {label: panel for label, panel in CURVES.items() if known(panel)}
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    before = sum(row["phase"] != rows[-1]["phase"] for row in rows)
    phases = [slice(before), slice(before, None)]  # a line for each: what it counts begins anew
    epochs = [place - before for place in range(1, len(rows) + 1)]
    grid = figure.subplots(1, len(panels), squeeze=False)
    for axes, (label, panel) in zip(grid[0], panels.items(), strict=True):
        for column in known(panel):
            name, color = panel[column]
            values = [np.nan if row[column] is None else row[column] for row in rows]
            for phase, shown in zip(phases, (None, name), strict=True):
                style = {"marker": "o", "markersize": 3, "color": color, "label": shown}
                axes.plot(epochs[phase], values[phase], **style)
        axes.axvline(best_epoch, color="0.7", linewidth=1, linestyle=":", label="best epoch")
        axes.set(xlabel="epoch of fine-tuning" if before else "epoch", ylabel=label, ylim=(0, None))
        if before:
            axes.axvspan(epochs[0] - 0.5, 0.5, color="0.94", zorder=0)
            axes.set_title("head alone, then all", fontsize="small", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.suptitle(title, fontsize="medium", parse_math=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format="png")
    write_atomically(path, lambda file: file.write(picture.getvalue()))
