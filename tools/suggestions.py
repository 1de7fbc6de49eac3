"""Which unobserved training labels are most likely missing positives, by a run's own evidence.

The score of a label is a mean of what the network thought of it while it trained,

    score = sum over epochs t of t^2 * p_t  /  sum over epochs t of t^2,

where p_t = 1 - exp(-loss_t) is the probability that the network gave the label when its image was
trained on in epoch t, as --audit labels keeps the loss. docs/suggest.md says why.

Letters in shapes: N training images, K classes, T epochs, S suggestions.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cli import UserError, did_you_mean
from files import check_writable, is_there, read_file, read_json, write_atomically
from phases import phases_of
from record import RunRecord

if TYPE_CHECKING:
    from datasets import Data
    from label_history import History
    from settings import Config

CSV, ABOUT = "suggestions.csv", "suggestions.json"
OF_TRAINING = ("classes", "train images", "train observed")  # digests that must be the same
COLUMNS = (
    "image", "label", "score", "final_score", "early_score",
    "epochs_selected", "first_epoch_selected", "truth",
)  # fmt: skip


class Evidence(NamedTuple):
    """What a run tells of its training labels."""

    config: Config
    data: Data
    unobserved: np.ndarray  # bool [N, K]
    truth: np.ndarray | None  # int8 [N, K]; None where it is unknown
    history: History


class Ranked(NamedTuple):
    """Unobserved labels, the likeliest missing positive first, each array [S]."""

    row: np.ndarray  # of the training images
    column: np.ndarray  # of the classes
    score: np.ndarray  # in [0, 1]

    def take(self, places: np.ndarray | slice) -> Ranked:
        """Those at these places alone."""
        return Ranked(*(array[places] for array in self))


def probabilities(loss: np.ndarray) -> np.ndarray:
    """What the network thought of unobserved labels, from their Assume Negative loss: float32."""
    return -np.expm1(-loss.astype(np.float32))


def score(loss: np.ndarray) -> np.ndarray:
    """How likely each unobserved label is a missing positive, float32 [N, K] in [0, 1].

    The mean of its probabilities, weighted by the square of the epoch. `loss` [T, N, K].
    """
    total = np.zeros(loss.shape[1:], np.float32)
    weights = np.arange(1, len(loss) + 1, dtype=np.float32) ** 2
    for weight, of_epoch in zip(weights / weights.sum(), loss, strict=True):
        total += weight * probabilities(of_epoch)
    return total.clip(0, 1)


def early_score(loss: np.ndarray) -> np.ndarray:
    """The mean probability in the first half of the epochs, float32; `loss` [T, ...]."""
    return probabilities(loss[: (len(loss) + 1) // 2]).mean(axis=0)


def rank(scores: np.ndarray, unobserved: np.ndarray, columns: Sequence[int] = ()) -> Ranked:
    """The unobserved labels by falling score, of these classes alone where any are given.

    Equal scores stay in the order of images and classes. `scores` [N, K], `unobserved` bool [N, K].
    """
    asked = unobserved
    if columns:
        asked = np.zeros_like(unobserved)
        asked[:, columns] = unobserved[:, columns]
    row, column = np.nonzero(asked)
    found = scores[row, column]
    return Ranked(row, column, found).take(np.argsort(-found, kind="stable"))


def columns_of(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The columns of the classes with these names. Raises UserError for an unknown name."""
    for name in names:
        if name not in classes:
            raise UserError(f"--label: {name!r} is no class{did_you_mean(name, classes)}")
    return sorted({classes.index(name) for name in names})


def read_evidence(
    run_dir: Path, data_root: str | None = None, dataset: str | None = None
) -> Evidence:
    """What the run, finished or not, tells of its training labels in its last phase.

    The data is read again, from where `settings_of` says. Raises UserError where the run kept no
    history, its data is gone or is another, or every label of it is observed.
    """
    from data.labels import to_dense
    from label_history import read_history

    config = settings_of(run_dir, data_root, dataset)
    data = _data_as_trained(run_dir, config)
    check_same_training(recorded_digests(run_dir), data.fingerprint(), str(run_dir))
    human = to_dense(data.train.labels(config.train_set_variant))
    if human.all():
        raise UserError(f"{run_dir} was trained on labels that are all observed: none is missing")
    epochs = len(RunRecord(run_dir).read_metrics())
    history = read_history(run_dir, phases_of(config)[-1].name, epochs, human.shape)
    truth = None if data.train.truth is None else to_dense(data.train.truth)
    return Evidence(config, data, human == 0, truth, history)


def settings_of(run_dir: Path, data_root: str | None, dataset: str | None) -> Config:
    """The settings of a run, its data below `data_root`, or in the folder `dataset`, if given.

    Raises UserError where there is no run, or no such folder.
    """
    from config import config_of

    moved = {"data_root": data_root, "dataset": dataset}
    given: dict[str, Any] = {name: value for name, value in moved.items() if value is not None}
    config = dataclasses.replace(config_of(run_dir), **given)
    if config.dataset != "digits" and not is_there(config.dataset_dir):
        raise UserError(
            f"{config.dataset_dir}, the data of {run_dir}, is missing: say by --dataset where it "
            "is, or by --data_root where all sets are"
        )
    return config


def _data_as_trained(run_dir: Path, config: Config) -> Data:
    """The data of a run, without the images that it left out then; no image is looked at."""
    from datasets import load_data

    unread = dataclasses.replace(config, check_images=False, on_bad_image="stop")
    data = load_data(unread)
    skipped = RunRecord(run_dir).read_config()["environment"].get("skipped")
    if not (skipped and isinstance(skipped, list)):
        return data
    splits = data.splits.items()
    return data.without({name: np.flatnonzero(np.isin(split.names, skipped)).tolist()
                         for name, split in splits})  # fmt: skip


def recorded_digests(run_dir: Path) -> dict[str, str]:
    """The digests of the run's training data. Raises UserError in a record without."""
    found = RunRecord(run_dir).read_config()["environment"].get("data")
    if not (isinstance(found, dict) and all(name in found for name in OF_TRAINING)):
        raise UserError(f"{run_dir / 'config.json'} has no digests of its data: train it again")
    return {name: str(found[name]) for name in OF_TRAINING}


def check_same_training(known: Mapping[str, Any], now: Mapping[str, str], whose: str) -> None:
    """Raise UserError where digests of the training data differ from those of `whose`."""
    differ = [name for name in OF_TRAINING if known.get(name) != now[name]]
    if differ:
        raise UserError(
            f"{', '.join(differ)} are not those of {whose}: restore them, or say by --dataset or "
            "--data_root where they are"
        )


def digest_of(run: str, pairs: Sequence[tuple[str, str]]) -> str:
    """16 hex digits that are other ones for other suggestions, or for those of another run."""
    return hashlib.sha256(json.dumps([run, pairs]).encode()).hexdigest()[:16]


def write_table(folder: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """Write suggestions.csv and, beside it, whose they are."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    content = text.getvalue().encode("utf-8", "surrogatepass")
    write_atomically(folder / CSV, lambda file: file.write(content))
    record = (json.dumps(about, indent=2) + "\n").encode()
    write_atomically(folder / ABOUT, lambda file: file.write(record))


def check_is_free(out: Path) -> None:
    """Raise UserError for a folder that cannot be written, or holds what others wrote."""
    taken = is_there(out) and (not out.is_dir() or any(out.iterdir()))
    if taken and not is_there(out / ABOUT):
        raise UserError(f"--out {out} holds something else: give a new folder, or remove it")
    check_writable(out, is_folder=True)


def read_table(path: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Whose the suggestions of a suggestions.csv are, and their images and labels, best first.

    Raises UserError where it is not what tools.suggest writes.
    """
    if not is_there(path.with_name(ABOUT)):
        raise UserError(f"{path} is no table of tools.suggest: there is no {ABOUT} beside it")
    about = read_json(path.with_name(ABOUT))
    try:
        text = read_file(path).decode("utf-8", "surrogatepass")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        pairs = [(row["image"], row["label"]) for row in rows]
        run, digest = about["run"], about["digest"]
    except (UnicodeDecodeError, csv.Error, KeyError):
        raise UserError(f"{path} is not what tools.suggest writes: make it again") from None
    if digest != digest_of(run, pairs):
        raise UserError(f"{path} and {ABOUT} beside it do not belong together: make them again")
    return about, pairs
