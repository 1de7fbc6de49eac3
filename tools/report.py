"""The table of finished runs, from their records: `python -m tools.report results/digits`.

Runs that differ in nothing but the seed are one row: mean and standard deviation over seeds.
Runs on other labels, drawn anew or of another set, are a row of their own.

With `--write PAGE --name methods` the table takes its place between the lines `<!-- methods -->`
and `<!-- /methods -->` of the page, and the test mAP of LSAN, say, between `<!-- methods LSAN -->`
and `<!-- /methods LSAN -->` wherever the page has that: a cell.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cli
from cli import UserError, printable
from files import write_atomically
from tools.finished import (
    ALL,
    NOT_RECORDED,
    PAPERS,
    Run,
    group_by_method,
    labels_name,
    method_name,
    read_runs,
    setting,
)

HEAD = (
    "method", "setting", "val mAP", "test mAP", "at the last epoch", "seeds", "command",
)  # fmt: skip
NOT_RUN = "not run"  # a cell for which there is no run
NO_TRUTH = "† no truth is known of the test images: what is not annotated counts as negative"


def markdown(runs: Sequence[Run]) -> str:
    """The table, a row a method; with its data set and labels where not all are the usual ones."""
    groups = group_by_method(runs)
    rows = [HEAD, *map(_row, groups)]
    for title, place, cells in (
        ("labels", 2, _labels_cells(groups)),
        ("data set", 0, _dataset_cells(groups)),
    ):
        if cells:
            pairs = zip(rows, [title, *cells], strict=True)
            rows = [(*row[:place], cell, *row[place:]) for row, cell in pairs]
    rows.insert(1, tuple("---" for _ in rows[0]))
    table = "".join(f"| {' | '.join(map(_escaped, row))} |\n" for row in rows)
    return table + f"\n{NO_TRUTH}\n" * any(map(_lacks_truth, groups))


def _labels_cells(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The labels of each row; nothing where all are the paper's and tell no rows apart.

    Rows of the same name and settings are told apart by the digests in which they differ.
    """
    rows = [(labels_name(group[0]), group[0].kind[0]) for group in groups]
    are_usual = {name for name, _ in rows} <= {PAPERS, ALL, NOT_RECORDED}
    if are_usual and len({settings for _, settings in rows}) == len(rows):
        return []
    alike: dict[tuple, list[dict[str, Any]]] = {}
    for row, group in zip(rows, groups, strict=True):
        alike.setdefault(row, []).append(group[0].used)
    return [
        ", ".join([row[0], *_apart(group[0].used, alike[row])])
        for row, group in zip(rows, groups, strict=True)
    ]


def _apart(used: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """The digests, in short, that are not the same in all of these."""
    differ = [name for name in used if any(other.get(name) != used[name] for other in others)]
    return [f"{name} {str(used[name])[:6]}" for name in differ]


def _dataset_cells(groups: Sequence[Sequence[Run]]) -> list[str]:
    """The data set of each row, folders of the same last name by their path; nothing for one."""
    sets = [group[0].config.dataset for group in groups]
    short = Counter(Path(found).name for found in {*sets})
    if len({*sets}) == 1:
        return []
    return [found if short[Path(found).name] > 1 else Path(found).name for found in sets]


def _lacks_truth(group: Sequence[Run]) -> bool:
    return any(run.summary.get("test_labels") == "observed" for run in group)


def _escaped(text: str) -> str:
    """The text for a cell of a table: what came from files must not end or break it."""
    return printable(text).replace("|", "\\|")


def _code(text: str) -> str:
    """The text as code, which Markdown shows as it is, in a fence longer than any within."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def fill(page: str, name: str, runs: Sequence[Run]) -> str:
    """The page with the table of these runs, and its cells.

    Raises UserError where it has a place for neither.
    """
    mark = re.escape(name)
    cell = re.compile(rf"(<!-- {mark} (.+?) -->).*?(<!-- /{mark} \2 -->)")
    maps: dict[str, list[str]] = {}
    for group in group_by_method(runs):
        maps.setdefault(method_name(group[0].config), []).append(_maps(group)[1])

    def filled(found: re.Match[str]) -> str:
        values = maps.get(found[2], [NOT_RUN])
        if len(values) > 1:
            raise UserError(f"{found[1]}: the runs make {len(values)} rows of {found[2]}")
        return f"{found[1]}{values[0]}{found[3]}"

    page, cells = cell.subn(filled, page)
    has_table = f"<!-- {name} -->\n" in page
    return insert(page, name, markdown(runs)) if has_table or not cells else page


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
    seeds = sorted(run.config.seed for run in group)
    return (
        method_name(config),
        setting(config),
        *_maps(group),
        ", ".join(map(str, seeds)),
        _code(f"{group[0].kind[0]} --seed {seeds[0]}"),
    )


def _maps(group: Sequence[Run]) -> list[str]:
    """The mAPs of a row: of val, of test, and of test at the last epoch."""
    names = (group[0].config.chosen_by, "test_map", "test_map_last")
    val, *test = (_mean_and_std([_map(run, name) for run in group]) for name in names)
    mark = " †" if _lacks_truth(group) else ""
    return [val, *(f"{mean}{mark}" for mean in test)]


def _map(run: Run, name: str) -> float:
    """That mAP of a run. Raises UserError where its summary.json does not hold it."""
    value = run.summary.get(name)
    if value is None:
        raise UserError(f"{run.config.run_dir / 'summary.json'} holds no {name}: run it again")
    return value


def _mean_and_std(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def main(argv: Sequence[str]) -> None:
    """Print the table of the finished runs below some folders, or write it into a page.

    There it goes between the lines <!-- NAME --> and <!-- /NAME -->, and the test mAP of LSAN, say,
    between <!-- NAME LSAN --> and <!-- /NAME LSAN -->.
    """
    parser = cli.Parser(prog="python -m tools.report", description=main.__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="folders that hold the runs")
    parser.add_argument("--write", type=Path, metavar="PAGE",
                        help="put the table and its cells into the page")  # fmt: skip
    parser.add_argument("--name", help="name of their markers (the first folder's name)")
    args = parser.parse_args(argv)
    runs = read_runs(*args.results)
    if args.write is None:
        print(markdown(runs), end="")
        return
    try:
        page = args.write.read_text(encoding="utf-8")
        text = fill(page, args.name or args.results[0].resolve().name, runs)
    except OSError as error:
        raise UserError(f"--write: cannot read {args.write}: {error.strerror}") from None
    except ValueError as error:  # it is not UTF-8, or a UserError
        raise UserError(f"--write: {args.write}: {error}") from None
    write_atomically(args.write, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    sys.exit(cli.run(main))
