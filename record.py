"""The record of a run: the files in its folder that people and scripts read.

Reading a record imports no heavy package. mAP is a percentage, shares are fractions.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cli import UserError, printable
from files import append_line, is_there, read_file, read_json, write_atomically
from folder import SUMMARY

METRICS = (
    "epoch", "phase", "lr", "rate", "train_loss", "val_map", "val_map_observed",
    "selected", "selected_precision", "selected_recall",
    "loss_tp", "loss_tn", "loss_fn", "images_per_s", "seconds",
)  # fmt: skip
_RESULTS = (
    "num_epochs", "best_epoch", "val_map", "val_map_observed", "test_map", "test_map_last",
)  # fmt: skip
_NUMBERS = tuple(name for name in METRICS if name != "phase")


class RunRecord:
    """The files of a run that people and scripts read, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: list[Callable[[], None]] | None = None

    def hold(self) -> None:
        """Write nothing until `release`: what lies in the folder stands until then."""
        self._held = []

    def release(self) -> None:
        """Write what was held."""
        held, self._held = self._held or [], None
        for write in held:
            write()

    def say(self, line: str) -> None:
        """Print a line, above a progress bar if there is one, and keep it in train.log."""
        self.note(line)
        try:
            tqdm.write(printable(line))
        except OSError as error:
            raise UserError(f"cannot write to standard output: {error.strerror}") from error

    def note(self, line: str) -> None:
        """Keep a line in train.log. Raises UserError where that cannot be written."""
        self._do(partial(append_line, self.folder / "train.log", printable(line)))

    def write_config(
        self,
        settings: Mapping[str, Any],
        device: str,
        data: Mapping[str, Any],
        resumed: bool,
    ) -> None:
        """config.json: every setting, and under `environment` what else made the result.

        `data`: what is to be known of it. The environments of a run that is `resumed` are all kept.
        """
        now: dict[str, Any] = {**environment(device), **data}
        if resumed:
            first = self.read_config()["environment"]
            now = {**first, "resumed": [*first.get("resumed", []), now]}
        config = {**settings, "environment": now}
        self._do(partial(self._write_json, "config.json", config))

    def read_config(self) -> dict[str, Any]:
        """What config.json holds. Raises UserError where it cannot be read."""
        config = self._read_json("config.json")
        about = config.setdefault("environment", {})
        if not (isinstance(about, dict) and isinstance(about.get("resumed", []), list)):
            raise UserError(f"{self.folder / 'config.json'} is not what a run writes")
        return config

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """metrics.csv, whole: a row an epoch, empty where a value is unknown."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(METRICS)
        table.writerows([_cell(row.get(name)) for name in METRICS] for row in rows)
        self._write("metrics.csv", text.getvalue())

    def read_metrics(self) -> list[dict[str, float]]:
        """The numbers of metrics.csv in the last phase, NaN where unknown.

        Raises UserError if it is damaged.
        """
        path = self.folder / "metrics.csv"
        text = read_file(path)
        try:
            lines = text.decode().splitlines()
            rows = list(csv.DictReader(lines, restval="missing"))
            last = [row for row in rows if row["phase"] == rows[-1]["phase"]]
            numbers = [{name: float(row[name] or "nan") for name in _NUMBERS} for row in last]
            if not numbers:
                raise ValueError("it has no rows")
            return numbers
        except (ValueError, KeyError, csv.Error):
            raise UserError(f"{path} is not what a run writes") from None

    def remove_summary(self) -> None:
        """Remove the result. Raises UserError where that may not be."""
        path = self.folder / SUMMARY
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {path}: {error.strerror}") from None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """summary.json: the result of a finished run."""
        self._write_json(SUMMARY, summary)

    def read_summary(self) -> dict[str, Any] | None:
        """The result of a finished run, or None. Raises UserError where it cannot be read."""
        if not is_there(self.folder / SUMMARY):
            return None
        summary = self._read_json(SUMMARY)
        for name in _RESULTS:
            value = summary.get(name)
            if not (is_number(value) or (value is None and name.startswith("val_"))):
                raise UserError(f"{self.folder / SUMMARY} holds no number {name}")
        return summary

    def _do(self, write: Callable[[], None]) -> None:
        if self._held is None:
            write()
        else:
            self._held.append(write)

    def _read_json(self, name: str) -> dict[str, Any]:
        return read_json(self.folder / name)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        self._write(name, json.dumps(content, indent=2) + "\n")

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.folder / name, lambda file: file.write(text.encode()))


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _cell(value: Any) -> Any:
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def environment(device: str) -> dict[str, str]:
    """Versions, git commit, device and command line, for config.json."""
    import numpy
    import sklearn
    import torch
    import torchvision

    timm = sys.modules.get("timm")  # imported where the backbone is its own
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "sklearn": sklearn.__version__,
        **({"timm": timm.__version__} if timm else {}),
        "git_commit": git_commit(),
        "command_line": shlex.join(sys.argv),
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def git_commit() -> str:
    """The commit of this code, "-dirty" where it was changed since; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
