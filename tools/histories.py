"""What became of single training labels, from the runs that kept it (`--audit labels`).

Letters in shapes: N images of the training split, K classes, T epochs of a run's last phase, S
seeds. Labels are 1 positive, -1 negative, 0 not annotated (truth: unknown).
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cli import UserError
from phases import phases_of
from record import RunRecord
from settings import FLAGS
from tools.finished import Run, group_by_method, method_name

if TYPE_CHECKING:
    from datasets import Data
    from label_history import History
    from settings import Config

_DATA = ("data", "labels")  # the groups of flags that say what the data is


class Kept(NamedTuple):
    """A run's label history with the labels that it is of."""

    history: History
    truth: np.ndarray  # int8 [N, K]
    human: np.ndarray  # int8 [N, K], what the run was given
    data: Data


class Shares(NamedTuple):
    """Share (%) of a kind's labels whose loss is highest in epoch 1, and later."""

    first: float  # mean over seeds
    first_std: float | None  # sample standard deviation; None for one seed
    later: float
    later_std: float | None
    seeds: int


def kinds(truth: np.ndarray, human: np.ndarray) -> dict[str, np.ndarray]:
    """Which labels are true positives, true negatives, false negatives: bool [N, K] by kind.

    As the columns loss_tp, loss_tn and loss_fn of metrics.csv count them.
    """
    positive = truth == 1
    return {"tp": positive & (human == 1), "tn": truth == -1, "fn": positive & (human == 0)}


def highest_loss_epoch(loss: np.ndarray) -> np.ndarray:
    """The epoch, from 1, in which each label's loss is highest, int [N, K]; of ties the first.

    `loss` [T, N, K].
    """
    return 1 + loss.argmax(axis=0)


def shares_by_epoch(loss: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share (%) of the `labels` (bool [N, K]) whose loss is highest in each epoch, [T].

    NaN where there are no such labels. `loss` [T, N, K].
    """
    epochs = highest_loss_epoch(loss)[labels]
    if not len(epochs):
        return np.full(len(loss), np.nan)
    return 100 * np.bincount(epochs - 1, minlength=len(loss)) / len(epochs)


def selection_by_class(
    selected: np.ndarray, truth: np.ndarray, human: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of what is selected, each [T, K], as fractions.

    Precision: of the selected labels whose truth is known, those that are positive. Recall: of the
    false negatives of the class, those that are selected. NaN where there are no such labels.
    `selected` bool [T, N, K].
    """
    positive = (selected & (truth == 1)).sum(axis=1)
    known = (selected & (truth != 0)).sum(axis=1)
    missing = kinds(truth, human)["fn"]
    return _ratio(positive, known), _ratio((selected & missing).sum(axis=1), missing.sum(axis=0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def so_far(selected: np.ndarray) -> np.ndarray:
    """Which labels were selected in an epoch or before, bool [T, N, K]: LL-Cp's corrections."""
    return np.logical_or.accumulate(selected, axis=0)


def has_history(run: Run) -> bool:
    """Whether the run kept its labels."""
    from label_history import history_path

    return history_path(run.config.run_dir, phases_of(run.config)[-1].name, 1).is_file()


def with_history(runs: Iterable[Run]) -> list[Run]:
    """Those of the runs that kept their labels, by seed. Raises UserError where none did."""
    tried = sorted(runs, key=lambda run: run.config.seed)
    kept = [run for run in tried if has_history(run)]
    if not kept:
        raise UserError(
            f"{tried[0].config.run_dir} holds no history of its labels, nor does a run of another "
            "seed: train it with --audit labels"
        )
    return kept


def assume_negative(runs: Sequence[Run]) -> list[Run]:
    """The runs of plain Assume Negative that kept their labels, by seed.

    Where they are of several settings, those of the first that has such a run. Raises UserError
    where there are none.
    """
    groups = [group for group in group_by_method(runs) if method_name(group[0].config) == "AN"]
    if not groups:
        raise UserError(
            f"none of the {len(runs)} finished runs is of AN, whose labels are shown: train one "
            "with --mod_scheme AN --audit labels"
        )
    kept = [group for group in groups if any(map(has_history, group))]
    return with_history((kept or groups)[0])


def read_run_history(run: Run, data_root: str | None = None) -> Kept:
    """The history of the run's last phase, with the labels and the images that it is of.

    The data is read again, below `data_root` where that is given. Raises UserError where the run
    kept no history, its data is gone or is not that of the run, or its truth is unknown.
    """
    return next(read_histories([run], data_root))


def read_histories(runs: Iterable[Run], data_root: str | None = None) -> Iterator[Kept]:
    """The histories of several runs, one by one; data that they share is loaded once."""
    from datasets import load_data

    loaded: dict[Config, Data] = {}
    for run in runs:
        with_history([run])
        asked = _of_data(run.config, data_root)
        if asked not in loaded:
            loaded = {asked: load_data(asked)}
        yield _read(run, loaded[asked])


def _of_data(config: Config, data_root: str | None) -> Config:
    """The settings that say what the data is, None in place of all others."""
    others = {name: None for name, f in FLAGS.items() if f.metadata["group"] not in _DATA}
    return dataclasses.replace(config, **{**others, "data_root": data_root or config.data_root})  # type: ignore[arg-type]


def _read(run: Run, data: Data) -> Kept:
    """The history of a run on that data."""
    from data.labels import to_dense
    from label_history import read_history

    config = run.config
    _check_is_of(run, data.fingerprint())
    if data.train.truth is None:
        raise UserError(
            f"{config.run_dir}: the truth of its training labels is unknown, which of them are "
            "false negatives cannot be told"
        )
    truth = to_dense(data.train.truth)
    human = to_dense(data.train.labels(config.train_set_variant))
    epochs = len(RunRecord(config.run_dir).read_metrics())
    phase = phases_of(config)[-1].name
    return Kept(read_history(config.run_dir, phase, epochs, truth.shape), truth, human, data)


def _check_is_of(run: Run, now: Mapping[str, str]) -> None:
    """Raise UserError where the data is not what the run was trained on; `now`: its digests."""
    differ = [name for name in now if run.data.get(name) != now[name]]
    if differ:
        raise UserError(
            f"{', '.join(differ)} are not those that {run.config.run_dir} was trained with: "
            "restore them, or say by --data_root where they are"
        )


def no_selections(run: Run) -> UserError:
    """What to say of a run of a scheme that selects labels whose history holds none."""
    return UserError(f"{run.config.run_dir}: its history holds no selections: train it again")


def highest_loss_by_epoch(
    runs: Sequence[Run], data_root: str | None = None
) -> dict[str, np.ndarray]:
    """Share (%) of the labels whose loss under AN is highest in each epoch, [S, T] by kind.

    Of the runs `assume_negative` finds. A run that stopped early has 0 in the epochs after.
    """
    found: dict[str, list[np.ndarray]] = {}
    for kept in read_histories(assume_negative(runs), data_root):
        for kind, labels in kinds(kept.truth, kept.human).items():
            found.setdefault(kind, []).append(shares_by_epoch(kept.history.loss, labels))
    longest = max(len(shares) for every in found.values() for shares in every)
    return {
        kind: np.stack([np.pad(shares, (0, longest - len(shares))) for shares in every])
        for kind, every in found.items()
    }


def highest_loss_shares(runs: Sequence[Run], data_root: str | None = None) -> dict[str, Shares]:
    """Table 1 of Kim et al., by kind ("tp", "tn", "fn"), of the AN runs that kept their labels."""
    return {kind: in_two(shares) for kind, shares in highest_loss_by_epoch(runs, data_root).items()}


def in_two(shares: np.ndarray) -> Shares:
    """Epoch 1 and later; `shares` [S, T] in percent."""
    first = shares[:, 0].tolist()
    later = shares[:, 1:].sum(axis=1).tolist()
    stds = [statistics.stdev(values) if len(values) > 1 else None for values in (first, later)]
    return Shares(statistics.mean(first), stds[0], statistics.mean(later), stds[1], len(first))
