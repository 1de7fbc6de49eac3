"""Which numbers of the paper are reproduced: `python -m tools.reproduction results --write PAGE`.

Every number that Kim et al. print is held against the runs that were trained as theirs. Of several
settings of a method the one counts that validation mAP chooses. Why a number differs is for people
to say, in a table `table,of,method,reason` (--reasons): the first three as they are printed here.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cli
from cli import UserError
from files import read_file
from tools.choice import best_alone
from tools.explained import read_pointing
from tools.finished import Found, Run, find_runs, group_by_method, method_name, warn, with_explain
from tools.looks import KINDS
from tools.published import (
    HIGHEST_LOSS,
    OPENIMAGES,
    OPENIMAGES_GROUPS,
    OPENIMAGES_OTHERS,
    POINTING,
    SETS,
    methods_of,
    published,
)
from tools.report import write_into
from tools.report_tables import is_as_published, mean_and_std
from tools.tables import Table, markdown
from tools.unfinished import DAMAGED

CLOSE = 1.0  # points: a mean over seeds that is nearer to the paper's number reproduces it
REPRODUCED, DIFFERS, NOT_RUN, NOT_BUILT = "reproduced", "differs", "not yet run", "not built here"
UNDECIDED = "undecided"  # its runs are of several settings, between which val mAP cannot choose
REASONS = Path(__file__).parents[1] / "docs" / "reproduction.csv"
_FULL = "full labels"
_ID = ("table", "of", "method")
Ours = dict[tuple[str, str], list[Run]]  # the chosen runs, by data set and method


class Claim(NamedTuple):
    """A number of the paper, and what was measured here."""

    table: str
    where: str  # the data set, group of classes, or kind of labels
    method: str
    paper: float  # percent
    reruns: tuple[float, float] | None = None
    ours: tuple[float, ...] = ()  # a seed each
    hardware: str = ""
    command: str = ""  # "": the method is not built here
    dataset: str = ""
    undecided: bool = False
    reason: str = ""  # why it differs

    @property
    def id(self) -> tuple[str, str, str]:
        """What no other claim has."""
        return self.table, self.where, self.method

    @property
    def state(self) -> str:
        """Whether it is reproduced."""
        if self.undecided:
            return UNDECIDED
        if not self.command:
            return NOT_BUILT
        if not self.ours:
            return NOT_RUN
        lowest, highest = self.reruns or (self.paper, self.paper)
        low, high = min(lowest, self.paper) - CLOSE, max(highest, self.paper) + CLOSE
        return REPRODUCED if low <= statistics.mean(self.ours) <= high else DIFFERS


def claims(runs: Sequence[Run], data_root: str | None = None) -> list[Claim]:
    """Every number of the paper's tables, in their order, with what these runs say of it.

    Of a method whose settings have no seed in common nothing is said, but in a warning.
    """
    ours: Ours = {}
    undecided = set()
    for group in best_alone(group_by_method([run for run in runs if is_as_published(run)])):
        key = group[0].config.dataset, method_name(group[0].config)
        first = ours.setdefault(key, group)
        if first is not group:
            undecided.add(key)
            warn(
                f"{group[0].config.run_dir} and {first[0].config.run_dir} are two settings of "
                "a method with no seed in common, of which val mAP cannot choose: give one of them"
            )
    decided = {key: group for key, group in ours.items() if key not in undecided}
    found = (
        *_results(decided),
        *_openimages(decided),
        *_pointing(decided),
        *_highest_loss(decided, data_root),
    )
    return [one._replace(undecided=(one.dataset, one.method) in undecided) for one in found]


def with_reasons(found: Sequence[Claim], path: Path) -> list[Claim]:
    """The claims with the reasons that the file gives. Raises UserError where it is not right."""
    reasons = dict(_read_reasons(path))
    unknown = reasons.keys() - {claim.id for claim in found}
    if unknown:
        raise UserError(f"{path}: the paper has no number {' | '.join(sorted(unknown)[0])}")
    return [claim._replace(reason=reasons.get(claim.id, "")) for claim in found]


def _read_reasons(path: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """The reasons in the file, by the claims' ids. Raises UserError where it is no such table."""
    try:
        rows = list(csv.reader(read_file(path).decode().splitlines(), strict=True))
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is no CSV: {error}") from None
    head = [*_ID, "reason"]
    if rows[:1] != [head] or any(len(row) != len(head) for row in rows):
        raise UserError(f"{path}: each line must have the columns {','.join(head)}, as the first")
    yield from (((table, where, method), reason) for table, where, method, reason in rows[1:])


def summary(found: Sequence[Claim]) -> Table:
    """How many numbers of each table are in which state."""
    states = [REPRODUCED, DIFFERS, NOT_RUN, NOT_BUILT]
    states += [UNDECIDED] * any(claim.undecided for claim in found)
    rows = []
    for table in dict.fromkeys(claim.table for claim in found):
        number = Counter(claim.state for claim in found if claim.table == table)
        rows.append((table, str(number.total()), *(str(number[state]) for state in states)))
    return Table(("of the paper", "numbers", *states), rows)


def details(found: Sequence[Claim]) -> Table:
    """Every number with its state, ours, and the command that trains a seed of it."""
    rows = [
        (
            claim.table, claim.where, claim.method, f"{claim.paper:.1f}",
            "-".join(f"{value:.1f}" for value in claim.reruns or ()), _ours(claim),
            _state(claim), claim.command,
        )
        for claim in found
    ]  # fmt: skip
    head = (*_ID, "paper", "re-runs", "ours", "state", "command")
    return Table(head, rows)


def _ours(claim: Claim) -> str:
    if not claim.ours:
        return ""
    seeds = f"{len(claim.ours)} seed{'s' * (len(claim.ours) > 1)}"
    return f"{mean_and_std(claim.ours)} ({', '.join(filter(None, [seeds, claim.hardware]))})"


def _state(claim: Claim) -> str:
    if claim.state != DIFFERS:
        return claim.state
    far = f"{DIFFERS} by {statistics.mean(claim.ours) - claim.paper:+.1f}"
    return f"{far}: {claim.reason}" if claim.reason else far


def _results(ours: Ours) -> Iterator[Claim]:
    for dataset, short in SETS.items():
        for method in methods_of(dataset):
            known = published(dataset, method)
            assert known.paper is not None, "these are the methods that have one"
            group = ours.get((dataset, method), [])
            values = tuple(run.summary["test_map"] for run in group)
            yield Claim("results", short, method, known.paper, known.reruns, values,
                        _hardware(group), _command(dataset, method), dataset)  # fmt: skip


def _openimages(ours: Ours) -> Iterator[Claim]:
    for method, numbers in {**OPENIMAGES, **OPENIMAGES_OTHERS}.items():
        group = ours.get(("openimages", method), [])
        command = _command("openimages", method) if method in OPENIMAGES else ""
        for name, paper in zip(OPENIMAGES_GROUPS, numbers, strict=True):
            maps = [{"All": run.summary["test_map"], **run.summary.get("test_map_groups", {})}
                    for run in group]  # fmt: skip
            values = tuple(known[name] for known in maps if known.get(name) is not None)
            yield Claim("OpenImages V3", name, method, paper, None, values, _hardware(group),
                        command, "openimages")  # fmt: skip


def _pointing(ours: Ours) -> Iterator[Claim]:
    for place, dataset in enumerate(("pascal", "coco")):
        for method, numbers in POINTING.items():
            group = ours.get((dataset, method), [])
            games = [read_pointing(run.config.run_dir) for run in group]
            values = tuple(game.tally.total for game in games if game and game.split == "test")
            command = with_explain(_command(dataset, method))
            yield Claim("pointing game", SETS[dataset], method, numbers[place], None, values,
                        _hardware(group), command, dataset)  # fmt: skip


def _highest_loss(ours: Ours, data_root: str | None) -> Iterator[Claim]:
    from tools.histories import has_history, highest_loss_by_epoch

    for dataset, kinds in HIGHEST_LOSS.items():
        kept = [run for run in ours.get((dataset, "AN"), []) if has_history(run)]
        shares = highest_loss_by_epoch(kept, data_root) if kept else {}
        command = f"{_command(dataset, 'AN')} --audit labels"
        for kind, numbers in kinds.items():
            measured = shares.get(kind)
            parts = ((), ()) if measured is None else (measured[:, 0], measured[:, 1:].sum(axis=1))
            for name, paper, values in zip(("epoch 1", "later"), numbers, parts, strict=True):
                where = f"{SETS[dataset]}, {KINDS[kind].name}, {name}"
                yield Claim("highest loss", where, "AN", paper, None, tuple(map(float, values)),
                            _hardware(kept), command, dataset)  # fmt: skip


def _hardware(group: Sequence[Run]) -> str:
    return ", ".join(dict.fromkeys(run.hardware for run in group if run.hardware))


def _command(dataset: str, method: str) -> str:
    linear = method.startswith("LinearInit + ")
    bare = method.removeprefix("LinearInit + ")
    scheme = "AN --train_set_variant clean" if bare == _FULL else bare
    words = f"python main.py --dataset {dataset} --mod_scheme {scheme}"
    return f"{words} --linear_init 25" if linear else words


def _warned(found: Found) -> list[Run]:
    """The whole runs; of those that are damaged, a warning tells."""
    for other in found.others:
        if other.status == DAMAGED:
            warn(f"{other.folder} is {other.status} ({other.why}): left out")
    return found.whole


def main(argv: Sequence[str]) -> None:
    """Print which of the paper's numbers the runs below some folders reproduce, or write a page.

    There the summary goes between the lines <!-- summary --> and <!-- /summary -->, and every
    number between <!-- details --> and <!-- /details -->, where the page has these too.
    """
    parser = cli.Parser(prog="python -m tools.reproduction", description=main.__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="folders that hold the runs")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the tables into the page")
    parser.add_argument("--data_root", help="folder of the data sets, if it is no longer the runs'")
    parser.add_argument("--reasons", type=Path, metavar="FILE", default=REASONS,
                        help="why numbers differ: a table of table,of,method,reason "
                        "(docs/reproduction.csv)")  # fmt: skip
    args = parser.parse_args(argv)
    runs = _warned(find_runs(*args.results))
    found = with_reasons(claims(runs, args.data_root), args.reasons)
    if args.write is None:
        print(f"{markdown(summary(found))}\n{markdown(details(found))}", end="")
        return
    write_into(args.write, "summary", summary(found))
    if b"<!-- details -->" in read_file(args.write):
        write_into(args.write, "details", details(found))


if __name__ == "__main__":
    sys.exit(cli.run(main))
