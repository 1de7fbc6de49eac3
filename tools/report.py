"""The table of finished runs, from their records: `python -m tools.report results/digits`.

Runs that differ in nothing but the seed are one row: mean and standard deviation over seeds.
"""

from __future__ import annotations

import dataclasses
import os
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cli
from cli import UserError, printable
from config import Config, command, read_config
from files import write_atomically
from recipes import SCHEMES
from record import RunRecord

HEAD = (
    "method", "delta_rel", "val mAP", "test mAP", "at the last epoch", "seeds", "command",
)  # fmt: skip


class Run(NamedTuple):
    """A finished run: its settings, its folder being where it was found, and its summary."""

    config: Config
    summary: dict[str, Any]


def read_runs(folder: Path) -> list[Run]:
    """The finished runs below a folder. Raises UserError where there is none."""
    if not os.path.isdir(folder):
        raise UserError(f"there is no folder {folder}")
    runs = []
    for path in sorted(folder.glob("**/summary.json")):
        summary = RunRecord(path.parent).read_summary()
        if summary is None:  # gone since it was listed
            continue
        config = read_config(path.with_name("config.json"))
        _check_fits(config, summary, path)
        root, name = str(path.parents[1]), path.parent.name
        runs.append(Run(dataclasses.replace(config, save_path=root, exp_name=name), summary))
    runs = _once_each(runs)
    if not runs:
        raise UserError(f"{folder} holds no finished run (no summary.json below it)")
    return runs


def _once_each(runs: Sequence[Run]) -> list[Run]:
    """The runs without those that repeat another's settings and seed, of which a warning tells."""
    first: dict[str, Run] = {}
    for run in runs:
        kept = first.setdefault(command(dataclasses.replace(run.config, exp_name="")), run)
        if kept is not run:
            where = f"{run.config.run_dir} repeats {kept.config.run_dir}"
            print(f"warning: {printable(where)}: left out", file=sys.stderr)
    return list(first.values())


def _check_fits(config: Config, summary: dict[str, Any], path: Path) -> None:
    """Raise UserError where the settings and the result beside them are not of the same run."""
    for name in ("dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "bsize", "seed"):
        if name in summary and summary[name] != getattr(config, name):
            raise UserError(
                f"{path} is of a run with {name} {summary[name]}, its config.json says "
                f"{getattr(config, name)}: run it again"
            )


def group_by_method(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that differ in the seed alone together, in the order of the schemes, full label last."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_without_seed(run.config), []).append(run)
    return sorted(groups.values(), key=lambda group: _rank(group[0].config))


def method_name(config: Config) -> str:
    """What the paper calls the method."""
    full = config.mod_scheme == "AN" and config.train_set_variant == "clean"
    return "full labels" if full else config.mod_scheme


def markdown(runs: Sequence[Run]) -> str:
    """The table, a row a method."""
    rows = [HEAD, tuple("---" for _ in HEAD), *(_row(group) for group in group_by_method(runs))]
    return "".join(f"| {' | '.join(map(_escaped, row))} |\n" for row in rows)


def _escaped(text: str) -> str:
    """The text for a cell of a table: what came from files must not end or break it."""
    return printable(text).replace("|", "\\|")


def _code(text: str) -> str:
    """The text as code, which Markdown shows as it is, in a fence longer than any within."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def insert(text: str, name: str, table: str) -> str:
    """The text with the table between `<!-- name -->` and `<!-- /name -->`.

    Raises UserError where the text has no such markers.
    """
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise UserError(f"there are no lines {start.strip()} and {end} to write between")
    return before + start + table + end + after


def _row(group: Sequence[Run]) -> tuple[str, ...]:
    config = group[0].config
    maps = (config.chosen_by, "test_map", "test_map_last")
    seeds = sorted(run.config.seed for run in group)
    return (
        method_name(config),
        f"{config.delta_rel:g}" if config.delta_rel else "",
        *(_mean_and_std([_map(run, name) for run in group]) for name in maps),
        ", ".join(map(str, seeds)),
        _code(f"{_without_seed(config)} --seed {seeds[0]}"),
    )


def _map(run: Run, name: str) -> float:
    """That mAP of a run. Raises UserError where its summary.json does not hold it."""
    value = run.summary.get(name)
    if value is None:
        raise UserError(f"{run.config.run_dir / 'summary.json'} holds no {name}: run it again")
    return value


def _mean_and_std(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def _without_seed(config: Config) -> str:
    return command(dataclasses.replace(config, seed=0))


def _rank(config: Config) -> tuple:
    full = method_name(config) == "full labels"
    return config.dataset, full, SCHEMES.index(config.mod_scheme), config.delta_rel


def main(argv: Sequence[str]) -> None:
    """Print the table of the finished runs below a folder, or write it into a page."""
    parser = cli.Parser(prog="python -m tools.report", description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder that holds the runs")
    parser.add_argument("--write", type=Path, metavar="PAGE",
                        help="put the table between the page's <!-- name --> markers")  # fmt: skip
    parser.add_argument("--name", help="name of the markers (the folder's name)")
    args = parser.parse_args(argv)
    table = markdown(read_runs(args.results))
    if args.write is None:
        print(table, end="")
        return
    try:
        page = args.write.read_text(encoding="utf-8")
        text = insert(page, args.name or args.results.resolve().name, table)
    except OSError as error:
        raise UserError(f"--write: cannot read {args.write}: {error.strerror}") from None
    except ValueError as error:  # it is not UTF-8, or a UserError
        raise UserError(f"--write: {args.write}: {error}") from None
    write_atomically(args.write, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    sys.exit(cli.run(main))
