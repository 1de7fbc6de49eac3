"""docs/methods.md names every method and flag as they are, and its tables are the records'."""

import re
from pathlib import Path

import pytest

from config import FLAGS, parse_args
from naming import written
from recipes import SCHEMES
from tools import report
from tools.finished import find_runs
from tools.report_tables import results

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
TABLES = {  # name: folders of results, the one that is needed last
    "methods": ("digits", "methods"),
    "csl": ("csl",),
    "linear_init": ("digits", "linear_init"),
}


def rows(page):
    """The cells of the table of methods, by scheme: the first word of the first cell."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {re.match("`(.+?)`", found[0])[1]: found for found in cells}


def flags(cell):
    """The flags in a cell, each with the value that is written after it, or ""."""
    return dict(re.findall(r"`--(\w+)(?: ([^`]+))?`", cell))


def test_every_scheme_has_a_row():
    assert list(rows(PAGE)) == list(SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_row_has_all_flags_of_the_scheme_with_their_defaults(scheme):
    options = flags(rows(PAGE)[scheme][3])
    options.pop("final_rate", None)
    options.pop("num_epochs", None)
    assert options.keys() == SCHEMES[scheme].keys()
    for name, value in options.items():
        assert value in ("", written(SCHEMES[scheme][name])), name


def test_a_row_has_a_cell_for_its_result():
    for name, cells in rows(PAGE).items():
        assert f"<!-- methods {name}" in cells[-1]


def test_every_flag_of_the_page_exists():
    of_tools = {"out", "dry_run"}
    found = set(re.findall(r"--(\w+)", re.sub("<!--.*?-->", "", PAGE)))
    assert found <= FLAGS.keys() | of_tools
    assert len(found) > len(SCHEMES)


@pytest.mark.parametrize("line", re.findall("^python main.py .*", PAGE, flags=re.MULTILINE))
def test_every_training_command_of_the_page_is_right(line):
    parse_args(line.split()[2:])


def test_the_grid_of_the_page_is_that_of_the_script():
    """And it holds every scheme."""
    script = (ROOT / "scripts" / "tune_methods.sh").read_text()
    grid = re.findall(r"^(.+) --(\w+) +: (.+)$", script, flags=re.MULTILINE)
    assert {words.split()[0] for words, *_ in grid} == SCHEMES.keys()
    named = {"AN --train_set_variant clean": "full labels", "EM+APL --em_alpha 0.1": "EM+APL"}
    tuned = {(named.get(words, words), flag): values.split() for words, flag, values in grid}
    told = {}
    table = PAGE.partition("| methods | tuned | values |")[2].partition("\n\n")[0]
    for names, flag, values in re.findall(r"\| (.+) \| `--(\w+)` \| (.+) \|", table):
        for name in names.removeprefix("BoostLU with ").split(", "):
            told[name, flag] = re.split(", | and ", values)
    assert told == tuned


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_committed_records(name):
    folders = [ROOT / "results" / folder for folder in TABLES[name]]
    if folders[-1].is_dir():
        found = find_runs(*folders)
        assert report.fill(PAGE, name, results(found), found.runs) == PAGE
    else:
        table = PAGE.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
        assert table == f"{report.NOT_RUN}\n"
        cells = re.findall(rf"<!-- {name} (.+?) -->(.*?)<!-- /{name} \1 -->", PAGE)
        assert {value for _, value in cells} <= {report.NOT_RUN}
