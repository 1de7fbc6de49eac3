"""A run for TensorBoard: scalars by epoch, and at its end hyperparameters and example images.

Letters in shapes: B images, K classes, H x W pixels.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cli import UserError, printable
from config import Config, unusual
from naming import written

if TYPE_CHECKING:
    from datasets import Split
    from hardware import Hardware
    from models import ImageClassifier

_MAIN = ("dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "seed")
EXAMPLES, TOP = 8, 3  # validation images that are shown, and the predictions of each
_CHARTS = {  # of the tab Custom Scalars: what belongs together, as patterns of tags
    "mAP on validation (%)": ["^val_map(_observed)?$"],
    "mean loss of true positives, true and false negatives": ["^loss_(tp|tn|fn)$"],
    "share of the selected that is positive, of the false negatives found": [
        "^selected_(precision|recall)$"
    ],
}


class TensorBoard:
    """The rows of metrics.csv as TensorBoard scalars. Raises UserError if it is not installed.

    Written where it is asked for: SummaryWriter does so in a thread, which on a full disk would
    print a traceback of its own.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
            from torch.utils.tensorboard import summary
        except ImportError:
            raise UserError("--tensorboard needs a package: pip install tensorboard") from None
        self._events, self._summaries = event_pb2, summary_pb2
        self._records_in, self._make = RecordWriter, summary
        self._folder = folder / "tensorboard"
        self._records: Any = None

    def write(self, row: Mapping[str, Any], step: int) -> None:
        """Add the numbers of an epoch; those of the same step before a stop are dropped.

        `step`: epochs so far, of all phases. Raises UserError where they cannot be written.
        """
        numbers = {
            name: value
            for name, value in row.items()
            if isinstance(value, (int, float)) and name != "epoch"
        }
        with self._told(step):
            self._put_scalars(numbers, step)

    def finish(
        self,
        settings: Mapping[str, str | float],
        results: Mapping[str, float | None],
        examples: bytes,
        epochs: int,
    ) -> None:
        """Add how the run ended: `results` by name beside its settings, and a PNG of examples.

        They are the step after the last of its `epochs`, and what an earlier end wrote there is
        dropped. Raises UserError where they cannot be written.
        """
        known = {f"final/{name}": value for name, value in results.items() if value is not None}
        image = self._summaries.Summary.Image(encoded_image_string=examples, colorspace=3)
        image.width, image.height = (
            int.from_bytes(examples[at : at + 4], "big") for at in (16, 20)
        )
        step = epochs + 1
        with self._told(step):
            self._put_scalars(known, step)
            # without the list of all names: TensorBoard would take one run's for that of every run
            _, *parts = self._make.hparams(dict(settings), known)
            for part in parts:
                self._put(step=step, summary=part)
            shown = self._summaries.Summary.Value(tag="validation images", image=image)
            self._put(step=step, summary=self._summaries.Summary(value=[shown]))

    def close(self) -> None:
        """Close the file."""
        if self._records is not None:
            self._records.close()

    @contextlib.contextmanager
    def _told(self, step: int) -> Iterator[None]:
        """Within this events of that step are put; they are on the disk after it."""
        try:
            if self._records is None:
                self._open(step)
            yield
            self._records.flush()
        except OSError as error:
            raise UserError(
                f"--tensorboard: cannot write in {self._folder}: {error.strerror}"
            ) from error

    def _open(self, step: int) -> None:
        """Begin a file whose first step this is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._records = self._records_in((self._folder / name).open("wb"))
        self._put(file_version="brain.Event:2")
        started = self._events.SessionLog(status=self._events.SessionLog.START)
        self._put(step=step, session_log=started)
        charts = {title: ["Multiline", tags] for title, tags in _CHARTS.items()}
        self._put(step=0, summary=self._make.custom_scalars({"by epoch": charts}))

    def _put_scalars(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._put(step=step, summary=self._make.scalar(name, value))

    def _put(self, **event: Any) -> None:
        self._records.write(self._events.Event(wall_time=time.time(), **event).SerializeToString())


def naming_settings(config: Config) -> dict[str, str | float]:
    """The settings that the name of a run is made of, numbers as such."""
    named = {name: getattr(config, name) for name in _MAIN} | dict(unusual(config))
    return {
        name: value
        if isinstance(value, int | float) and not isinstance(value, bool)
        else written(value)
        for name, value in named.items()
    }


def examples_of(
    model: ImageClassifier, split: Split, classes: Sequence[str], hardware: Hardware
) -> bytes:
    """A PNG of the first images of a split, with what is given, true and predicted of each.

    The model, on its device, is put into evaluation mode. Raises UserError for an image that cannot
    be read.
    """
    model.eval()
    shown = split.take(np.arange(min(EXAMPLES, len(split))))
    batch = shown.images.__getitems__(range(len(shown)))
    if isinstance(batch, UserError):
        raise batch
    with torch.inference_mode(), hardware.autocast():
        logits = model.forward(batch[0].to(hardware.device))  # not compiled for so few images
    captions = [
        "\n".join([
            *_names("given", _row(shown.observed, place), classes),
            *_names("true", _row(shown.truth, place), classes),
            f"predicted: {_top(scores, classes)}",
        ])
        for place, scores in enumerate(logits.float().sigmoid().cpu())
    ]  # fmt: skip
    return _drawn(batch[0], captions)


def _row(labels: Any, place: int) -> np.ndarray | None:
    """The labels [K] of an image, from a dense or sparse table; None where there is no table."""
    if labels is None:
        return None
    row = labels[[place]]
    return np.asarray(row.toarray() if hasattr(row, "toarray") else row)[0]


def _names(what: str, labels: np.ndarray | None, classes: Sequence[str]) -> list[str]:
    """The positive classes in a line, or no line where there are no such labels."""
    if labels is None:
        return []
    names = ", ".join(classes[k] for k in np.flatnonzero(labels == 1).tolist())
    return [f"{what}: {_short(names or 'none')}"]


def _top(scores: Tensor, classes: Sequence[str]) -> str:
    """The classes with the highest of the probabilities [K]."""
    best = scores.topk(min(TOP, len(scores)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return ", ".join(f"{_short(classes[k], 16)} {value:.0%}" for k, value in pairs)


def _short(text: str, width: int = 40) -> str:
    return textwrap.shorten(printable(text), width, placeholder="…")


def _drawn(images: Tensor, captions: Sequence[str]) -> bytes:
    """A PNG of the images, uint8 [B, 3, H, W], each above its caption."""
    from matplotlib.figure import Figure

    across = min(4, len(images))
    down = -(-len(images) // across)
    figure = Figure(figsize=(3 * across, 3.4 * down), layout="constrained")
    grid = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in grid:
        axes.axis("off")
    for axes, image, caption in zip(grid, images, captions, strict=False):
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(caption, fontsize="x-small", loc="left", parse_math=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100, format="png")
    return picture.getvalue()
