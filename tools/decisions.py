"""What people decided on suggested labels: files of it, and what several say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cli import UserError
from files import read_json

FORMAT = "label decisions 1"  # as in suggest_page/decisions.js
ANSWERS = ("accepted", "rejected")


class Decisions(NamedTuple):
    """Pairs of an image and a label, and the run that these were suggested by."""

    run: Path
    data: dict[str, Any]  # digests of its training data
    accepted: list[tuple[str, str]]
    rejected: list[tuple[str, str]]


def read_decisions(path: Path) -> Decisions:
    """What the review page exported. Raises UserError for anything else."""
    if path.suffix == ".csv":
        raise UserError(f"{path} holds suggestions, no decisions: say by --accept_top how many")
    content = read_json(path)
    try:
        pairs = [[(image, label) for image, label in content[answer]] for answer in ANSWERS]
        found = Decisions(Path(content["run"]), dict(content["data"]), *pairs)
        texts = [text for pair in (*found.accepted, *found.rejected) for text in pair]
        holds = content["format"] == FORMAT and all(isinstance(text, str) for text in texts)
    except (KeyError, TypeError, ValueError):
        holds = False
    if not holds:
        raise UserError(f"{path} is not what the page of tools.suggest exports: export it again")
    both = [*found.accepted, *found.rejected]
    if len(set(both)) < len(both):
        raise UserError(f"{path} decides on a label more than once: export it again")
    return found


def read_first(path: Path, count: int) -> Decisions:
    """The first of a suggestions.csv, accepted. Raises UserError where it holds fewer."""
    from tools.suggestions import read_table

    about, pairs = read_table(path)
    if count > len(pairs):
        raise UserError(f"--accept_top {count:,}: {path} holds {len(pairs):,} suggestions")
    return Decisions(Path(about["run"]), about["data"], pairs[:count], [])


def read_all(paths: Sequence[Path], run: Path | None) -> Decisions:
    """The decisions of all these files, of a run that is now `run` where that is given.

    Raises UserError where one is not what the page exports, where they are of different runs or
    data, and where one contradicts another.
    """
    each = [read_decisions(path) for path in paths]
    first = each[0]
    for path, found in zip(paths, each, strict=True):
        if found.data != first.data:
            raise UserError(f"{paths[0]} and {path} are of different data: apply each by itself")
        if found.run != first.run and run is None:
            raise UserError(
                f"{paths[0]} and {path} are of different runs, {first.run} and {found.run}: say by "
                "--run whose settings are to be taken"
            )
    pairs = _together(paths, each)
    kinds = ([pair for pair, kind in pairs.items() if kind == answer] for answer in ANSWERS)
    return Decisions(run or first.run, first.data, *kinds)


def _together(paths: Sequence[Path], each: Sequence[Decisions]) -> dict[tuple[str, str], str]:
    """The answer to each pair of an image and a label; UserError where there are two."""
    known: dict[tuple[str, str], tuple[str, Path]] = {}
    for path, found in zip(paths, each, strict=True):
        for answer in ANSWERS:
            for pair in getattr(found, answer):
                before, where = known.setdefault(pair, (answer, path))
                if before != answer:
                    raise UserError(
                        f"{pair[1]!r} of {pair[0]!r} is {before} in {where} and {answer} in "
                        f"{path}: take it out of one of them"
                    )
    return {pair: answer for pair, (answer, _) in known.items()}
