"""Tables of text as Markdown, LaTeX and CSV: whatever the cells hold, it stays in them."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import printable
from tools.tables import Mean, Table, comma_separated, latex, markdown

HOSTILE = "| \\ & % $ # _ { } ~ ^ \n < > ` [ ] * \x1b[31m \u202e \\| \\\\ \\{"
PLAIN = Table(
    head=("method", "mAP", "command"),
    rows=[("AN", "1.0 ± 0.5", "python a"), ("LL-R", "2.0 †", "python b")],
    notes=("† a note", "100 % of it"),
    strong=frozenset({1}),
)
cells = st.text(st.sampled_from(HOSTILE + "\"',;ab\r\t\u2028é") | st.characters(), max_size=12)
grids = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=4)
)


def grid_table(grid):
    """A table of a grid, whose first row is its head; without columns of commands."""
    return Table(grid[0], grid[1:], code=frozenset())


def test_markdown():
    assert markdown(PLAIN) == (
        "| method | mAP | command |\n"
        "| --- | --- | --- |\n"
        "| AN | 1.0 ± 0.5 | `python a` |\n"
        "| **LL-R** | 2.0 † | `python b` |\n"
        "\n† a note\n"
        "\n100 % of it\n"
    )


def test_the_name_of_the_method_stands_out_wherever_its_column_is():
    table = Table(("data set", "method"), [("coco", "AN")], strong=frozenset({0}))
    assert markdown(table).splitlines()[2] == "| coco | **AN** |"
    other = table._replace(head=("data set", "class"))
    assert markdown(other).splitlines()[2] == "| **coco** | AN |"


def test_latex_has_no_commands_and_its_notes_are_comments():
    assert latex(PLAIN) == (
        "\\begin{tabular}{ll}\n"
        "\\toprule\n"
        "method & mAP \\\\\n"
        "\\midrule\n"
        "AN & 1.0 $\\pm$ 0.5 \\\\\n"
        "\\textbf{LL-R} & \\textbf{2.0 $\\dagger$} \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "% † a note\n"
        "% 100 % of it\n"
    )


def test_csv_has_neither_notes_nor_marks():
    assert comma_separated(PLAIN) == (
        "method,mAP,command\nAN,1.0 ± 0.5,python a\nLL-R,2.0 †,python b\n"
    )


def test_csv_is_for_programs():
    """A mean is two columns of all its digits; a number that is no mean stays one."""
    table = Table(
        head=("method", "val mAP", "mean of, all", "seeds"),
        rows=[
            ("AN", Mean(92.35091, 0.59123, 3, " †"), Mean(1 / 3, None, 1), "1, 2, 3"),
            ("AN (paper)", "90.2", "", ""),
            ("IU", "not run", "not run", "1 failed"),
        ],
        beside={"chosen": ["yes", "", ""]},
    )
    assert "92.4 ± 0.6 †" in markdown(table)
    assert "chosen" not in markdown(table) + latex(table)
    assert comma_separated(table) == (
        "method,val_map_mean,val_map_std,mean_of_all_mean,mean_of_all_std,seeds,n,chosen\n"
        'AN,92.3509,0.59123,0.333333,,"1, 2, 3",3,yes\n'
        "AN (paper),90.2,,,,,0,\n"
        "IU,,,,,1 failed,0,\n"
    )


@pytest.mark.parametrize("write", [markdown, latex, comma_separated])
def test_a_table_without_rows_has_its_head(write):
    assert "method" in write(PLAIN._replace(rows=[], strong=frozenset()))


# Markdown


def markdown_rows(text):
    """The cells of each line of a Markdown table, as GitHub cuts them, unescaped."""
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
    ]


@given(grids)
def test_a_cell_neither_ends_nor_breaks_a_markdown_table(grid):
    """One cell after another is what it was; a tag from a file is none."""
    text = markdown(grid_table(grid))
    assert text.isprintable() or text.replace("\n", "").isprintable()
    rows = markdown_rows(text)
    assert {tuple(row) for row in rows[1:2]} == {("---",) * len(grid[0])}
    expected = [[printable(cell).replace("<", "&lt;").strip() for cell in row] for row in grid]
    assert [row for place, row in enumerate(rows) if place != 1] == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a", "`a`"),
        ("a|b", "`a\\|b`"),
        ("a`b", "`` a`b ``"),
        ("``a", "``` ``a ```"),
        ("a\nb", "`a\\nb`"),
    ],
)
def test_commands_are_code(text, shown):
    table = Table(("x", "command"), [("", text)])
    assert markdown(table).splitlines()[2] == f"|  | {shown} |"


def test_other_columns_of_commands_can_be_named():
    table = Table(("again", "x"), [("a_b", "c_d")], code=frozenset({"again"}))
    assert markdown(table).splitlines()[2] == "| `a_b` | c_d |"
    assert latex(table).splitlines()[4] == "c\\_d \\\\"


def test_a_cell_cannot_end_the_place_of_its_table():
    """Of a page, where it stands between comments."""
    assert "<!--" not in markdown(Table(("<!-- a -->",), [("<!-- /a -->",)]))


# LaTeX


def tokens(text):
    """LaTeX's tokens: control words and symbols, and single characters."""
    return re.findall(r"\\[A-Za-z]+|\\.|.", text, re.DOTALL)


def balance(text):
    """The depth of braces after each token."""
    depth = 0
    for token in tokens(text):
        depth += (token == "{") - (token == "}")
        yield depth


@given(grids, st.booleans())
def test_a_latex_row_has_its_cells_and_balanced_braces(grid, strong):
    table = grid_table(grid)._replace(strong=frozenset({0} if strong and grid[1:] else ()))
    text = latex(table)
    lines = text.splitlines()
    assert len(lines) == len(grid) + 5
    for line in [lines[2], *lines[4:-2]]:
        depths = list(balance(line))
        assert min(depths) >= 0
        assert depths[-1] == 0
        found = tokens(line)
        assert found.count("&") == len(grid[0]) - 1
        assert not {"%", "#", "_", "^", "~"} & {*found}
        assert found.count("$") % 2 == 0
        assert found[-1] == "\\\\"
        assert found.count("\\\\") == 1


@pytest.mark.parametrize("start", ["[1pt]", "*"])
def test_the_start_of_a_row_is_no_argument_of_the_end_of_the_row_before(start):
    """LaTeX looks for a star and for a bracket after a double backslash."""
    row = latex(Table(("x",), [("a",), (start,)])).splitlines()[5]
    assert row[0] == "{"


def test_every_special_letter_of_latex():
    text = "\\&%$#_{}~^±†"
    row = latex(Table(("x",), [(text,)])).splitlines()[4]
    assert row == (
        r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}$\pm$$\dagger$ \\"
    )


def test_a_note_stays_a_comment():
    text = latex(PLAIN._replace(notes=("a\n\\input{b}",)))
    assert text.endswith("% a\\n\\input{b}\n")


# CSV


@given(grids)
def test_csv_is_read_back(grid):
    text = comma_separated(grid_table(grid))
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [[printable(cell) for cell in row] for row in grid]
