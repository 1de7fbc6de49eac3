"""Tables of runs, from their records: `python -m tools.report results/digits`.

Of a run that is not finished it is said what became of it. With `--write PAGE --name methods` the
table takes its place between the lines `<!-- methods -->` and `<!-- /methods -->` of the page, and
the test mAP of LSAN, say, between `<!-- methods LSAN -->` and `<!-- /methods LSAN -->` wherever the
page has that: a cell.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cli
from cli import UserError
from files import write_atomically
from tools import tables
from tools.evidence_tables import groups, highest_loss, pointing, pointing_by_class
from tools.finished import Found, Run, find_runs
from tools.report_tables import NOT_RUN, maps_by_method, results, unfinished
from tools.tables import Table

FORMATS = {
    "markdown": tables.markdown,
    "latex": tables.latex,
    "csv": tables.comma_separated,
}
TABLES: dict[str, Callable[[Found, argparse.Namespace], Table]] = {
    "results": lambda found, args: results(found, args.best),
    "pointing": lambda found, args: pointing(found.runs),
    "pointing_by_class": lambda found, args: pointing_by_class(found.runs),
    "groups": lambda found, args: groups(found.runs),
    "highest_loss": lambda found, args: highest_loss(found.whole, args.data_root),
    "unfinished": lambda found, args: unfinished(found.others),
}


def fill(page: str, name: str, table: Table, runs: Sequence[Run] = ()) -> str:
    """The page with the table, and with the test mAPs of these runs in its cells.

    Raises UserError where it has a place for neither.
    """
    mark = re.escape(name)
    cell = re.compile(rf"(<!-- {mark} (.+?) -->).*?(<!-- /{mark} \2 -->)")
    maps = maps_by_method(runs)

    def filled(found: re.Match[str]) -> str:
        values = maps.get(found[2], [NOT_RUN])
        if len(values) > 1:
            raise UserError(f"{found[1]}: the runs make {len(values)} rows of {found[2]}")
        return f"{found[1]}{values[0]}{found[3]}"

    page, cells = cell.subn(filled, page)
    has_table = f"<!-- {name} -->\n" in page
    return insert(page, name, tables.markdown(table)) if has_table or not cells else page


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


def write_into(path: Path, name: str, table: Table, runs: Sequence[Run] = ()) -> None:
    """Put the table and its cells into a page. Raises UserError where it has no place for them."""
    try:
        text = fill(path.read_text(encoding="utf-8"), name, table, runs)
    except OSError as error:
        raise UserError(f"--write: cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # it is not UTF-8, or a UserError
        raise UserError(f"--write: {path}: {error}") from None
    write_atomically(path, lambda file: file.write(text.encode()))


def _show(found: Found, table: Table, form: str) -> None:
    """Print the table, and in Markdown what is to be said of the runs that it lacks."""
    print(FORMATS[form](table), end="")
    if found.others and form == "markdown":
        print(f"\n{tables.markdown(unfinished(found.others))}", end="")


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.report", description=main.__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="folders that hold the runs")
    parser.add_argument("--table", type=cli.choice(*TABLES),
                        metavar="{" + ",".join(TABLES) + "}", help="(results)")  # fmt: skip
    parser.add_argument("--format", type=cli.choice(*FORMATS),
                        metavar="{" + ",".join(FORMATS) + "}", help="(markdown)")  # fmt: skip
    paths = {
        "write": ("PAGE", "put the table and its cells into a Markdown page instead"),
        "html": ("FILE", "write one page with everything: tables, curves, figures, commands"),
        "pictures": ("FOLDER", "its figures are those in this folder (what the runs allow)"),
    }
    for name, (metavar, purpose) in paths.items():
        parser.add_argument(f"--{name}", type=Path, metavar=metavar, help=purpose)
    parser.add_argument("--name", help="name of the page's markers (the first folder's name)")
    told = "of the settings of a method, show only the one that validation mAP chooses"
    parser.add_argument("--best", action="store_true", help=told)
    parser.add_argument("--data_root", help="folder of the data sets, if it is no longer the runs'")
    return parser


def _check(args: argparse.Namespace) -> None:
    """Raise UserError for a flag that nothing would come of beside the others."""
    for is_idle, said in (
        (args.format and (args.html or args.write),
         "--format is of a table that is printed: leave it out beside --html and --write"),
        (args.table and args.html and not args.write,
         "--table is of a table that is printed or written into a page, --html has all of them: "
         "leave one of the two out"),
        (args.name is not None and not args.write,
         "--name is of the markers of a page: say by --write which"),
        (args.pictures and not args.html,
         "--pictures are those of the page of --html: say by that where to write it"),
        (args.best and not args.html and args.table not in (None, "results"),
         f"--best is of the table of results: leave it out beside --table {args.table}"),
    ):  # fmt: skip
        if is_idle:
            raise UserError(said)


def main(argv: Sequence[str]) -> None:
    """Print a table of the runs below some folders, or write it into a page.

    There it goes between the lines <!-- NAME --> and <!-- /NAME -->, and the test mAP of LSAN, say,
    between <!-- NAME LSAN --> and <!-- /NAME LSAN -->.
    """
    args = _parser().parse_args(argv)
    _check(args)
    table = args.table or "results"
    found = find_runs(*args.results)
    if args.html:
        from tools.report_site import write_page

        write_page(found, args.html, args.pictures, args.data_root, args.best)
        print(f"wrote {args.html}")
    if args.write:
        name = args.name or args.results[0].resolve().name
        write_into(args.write, name, TABLES[table](found, args), found.runs)
    if not (args.html or args.write):
        _show(found, TABLES[table](found, args), args.format or "markdown")


if __name__ == "__main__":
    sys.exit(cli.run(main))
