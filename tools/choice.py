"""Which setting of a method is chosen: by validation mAP, never by test."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from recipes import OPTIONS
from settings import FLAGS
from tools.finished import Run, method_name

# what may be tuned; all else is another experiment
_TUNED = {"lr", "optimizer", "weight_decay", "momentum", "linear_lr", "boostlu", "seed", *OPTIONS}
_TUNED -= {"mode", "prior", "rate_base"}


class Choice(NamedTuple):
    """The settings of one method, and which of them is chosen."""

    places: tuple[int, ...]  # of the groups that were compared
    best: int | None  # the place of the chosen one; None: they have no seed in common
    seeds: tuple[int, ...]  # by which they were compared


def choose(groups: Sequence[Sequence[Run]]) -> list[Choice]:
    """The choice for every method of which there are several settings.

    Each group holds the seeds of one setting. Settings are compared by the mean validation mAP over
    the seeds that all of them have; of equal ones the first is chosen.
    """
    rivals: dict[tuple, list[int]] = {}
    for place, group in enumerate(groups):
        rivals.setdefault(_experiment(group[0]), []).append(place)
    return [_choice(groups, places) for places in rivals.values() if len(places) > 1]


def best_alone(groups: Sequence[list[Run]]) -> list[list[Run]]:
    """The groups without those that lost a choice."""
    lost = losers(groups)
    return [group for place, group in enumerate(groups) if place not in lost]


def losers(groups: Sequence[Sequence[Run]]) -> set[int]:
    """The places of the groups that lost a choice."""
    return {
        place
        for choice in choose(groups)
        if choice.best is not None
        for place in choice.places
        if place != choice.best
    }


def _choice(groups: Sequence[Sequence[Run]], places: Sequence[int]) -> Choice:
    best, seeds = best_by_val([groups[place] for place in places])
    return Choice(tuple(places), None if best is None else places[best], seeds)


def best_by_val(groups: Sequence[Sequence[Run]]) -> tuple[int | None, tuple[int, ...]]:
    """The place of the group with the highest validation mAP, and by which seeds that is.

    None where the groups have no seed in common.
    """
    maps = [_val_maps(group) for group in groups]
    seeds = sorted(set.intersection(*({*found} for found in maps)))
    means = [statistics.mean(found[seed] for seed in seeds) if seeds else 0.0 for found in maps]
    return means.index(max(means)) if seeds else None, tuple(seeds)


def _experiment(run: Run) -> tuple:
    """What is the same in all runs among which the best setting may be chosen."""
    fixed = tuple(
        (name, getattr(run.config, name))
        for name, flag in FLAGS.items()
        if flag.metadata["names_run"] and name not in _TUNED
    )
    return method_name(run.config), fixed, run.kind[1]


def _val_maps(group: Sequence[Run]) -> dict[int, float]:
    """The validation mAP of each seed."""
    return {run.config.seed: run.summary[run.config.chosen_by] for run in group}
