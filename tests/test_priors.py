"""Tables of class priors: what is written is read again, and what is wrong is named in one line."""

import csv
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli import UserError
from priors import read_prior, write_prior

CLASSES = ("dog", "cat", "traffic light")
GOOD = "class,prior\ndog,0.5\ncat,0.25\ntraffic light,1\n"
ANY = st.characters(exclude_categories=(), exclude_characters="\0")  # csv of 3.10 reads no NUL
NAMES = st.lists(st.text(st.one_of(ANY, st.sampled_from('",;\r\n\t '))), min_size=1, unique=True)


def table(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(NAMES, st.data())
@example(["a\rb", 'c"d', "e,f", "g\r\nh", "", " ", "\ufeff", "\ud800", "class"], None)
def test_what_is_written_is_read_again_whatever_the_names(names, data):
    shares = st.one_of(st.floats(0, 1), st.floats(0, 1, width=32), st.sampled_from((5e-324, 1e-45)))
    values = data.draw(st.tuples(*[shares for _ in names])) if data else (1 / 3,) * len(names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prior.csv"
        write_prior(path, names, values)
        assert read_prior(path, names) == values
        assert read_prior(path, names[::-1]) == values[::-1]


def test_values_of_float32_are_the_same_when_read(tmp_path):
    values = np.random.RandomState(0).rand(500).astype(np.float32)
    classes = [f"class {k}" for k in range(500)]
    write_prior(tmp_path / "prior.csv", classes, values)
    assert np.array_equal(np.float32(read_prior(tmp_path / "prior.csv", classes)), values)


def test_the_file_is_plain_where_the_names_are(tmp_path):
    write_prior(tmp_path / "prior.csv", ("dog", "b, c", 'a "d"'), (0.5, 0.25, 1))
    text = (tmp_path / "prior.csv").read_bytes()
    assert text == b'class,prior\ndog,0.5\n"b, c",0.25\n"a ""d""",1.0\n'


def test_a_file_that_was_there_stays_where_writing_fails(tmp_path):
    path = table(tmp_path / "prior.csv", GOOD)
    with pytest.raises(ValueError, match="shorter"):
        write_prior(path, CLASSES, (0.5, 0.5))
    assert path.read_text() == GOOD
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_prior(tmp_path / "folder", CLASSES, (0.5, 0.5, 0.5))
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "folder", path]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_rows_are_matched_by_name_in_any_order(tmp_path, order):
    head, *rows = GOOD.splitlines()
    path = table(tmp_path / "prior.csv", "\n".join([head, *(rows[place] for place in order)]))
    assert read_prior(path, CLASSES) == (0.5, 0.25, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.replace("\n", "\n\n"),
        GOOD.rstrip(),
        GOOD.replace("cat,", '"cat", '),
        GOOD.replace("class,prior", '"class", prior'),
        GOOD.replace("0.25", "25e-2"),
    ],
)
def test_the_ways_in_which_programs_save_a_table_are_read(tmp_path, text):
    assert read_prior(table(tmp_path / "prior.csv", text), CLASSES) == (0.5, 0.25, 1.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\ufeff\n \n", "is empty"),
        (GOOD.encode("utf-16"), "is no UTF-8"),
        (GOOD.replace("cat", "caf\xe9").encode("latin-1"), "is no UTF-8"),
        (GOOD.partition("\n")[2], "must begin with the line class,prior, not 'dog,0.5'"),
        (GOOD.replace("class,", "name,"), "must begin with the line class,prior"),
        (GOOD.replace(",", ";"), "must begin with the line class,prior, not 'class;prior'"),
        ("class,prior\n", "no line of the class 'dog' and 2 more"),
        (GOOD.replace("cat,0.25\n", ""), "no line of the class 'cat': add it"),
        (GOOD + "cat,0.1\n", "lines 3 and 5 are both of the class 'cat'"),
        (GOOD + "cta,0.1\n", "line 5: the data set has no class 'cta', did you mean cat?"),
        (GOOD.replace("dog", "Dog"), "line 2: the data set has no class 'Dog', did you mean dog?"),
        (GOOD + "zebra,0.1\n", "line 5: the data set has no class 'zebra'"),
        (GOOD.replace("0.25", "high"), "line 3: 'cat' has the prior 'high': give a number from 0"),
        (GOOD.replace("0.25", ""), "line 3: 'cat' has the prior ''"),
        (GOOD.replace("0.25", "1.01"), "the prior '1.01'"),
        (GOOD.replace("0.25", "-0.1"), "the prior '-0.1'"),
        (GOOD.replace("0.25", "nan"), "the prior 'nan'"),
        (GOOD.replace("0.25", "inf"), "the prior 'inf'"),
        (GOOD.replace("0.25", "0,25"), "line 3 has 3 cells"),
        (GOOD.replace("cat,0.25", "cat"), "line 3 has 1 cells"),
        (GOOD.replace("cat", '"cat'), "is no CSV: unexpected end of data"),
        (GOOD.replace("cat", "c" * 200_000), "line 3 is no CSV: field larger"),
        ('"class,prior\n', "is no CSV"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_line(tmp_path, text, says):
    path = table(tmp_path / "prior.csv", text)
    with pytest.raises(UserError) as error:
        read_prior(path, CLASSES)
    assert str(error.value).startswith(str(path))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_prior(tmp_path / "prior.csv", CLASSES)
    with pytest.raises(UserError, match="cannot be read"):
        read_prior(tmp_path, CLASSES)


def test_the_csv_module_reads_it_too(tmp_path):
    write_prior(tmp_path / "prior.csv", ("a\rb", "c"), (0.5, 0.25))
    text = (tmp_path / "prior.csv").read_bytes().decode()
    rows = csv.DictReader(io.StringIO(text, newline=""))
    assert [row["class"] for row in rows] == ["a\rb", "c"]


def test_reading_priors_imports_no_torch():
    program = "import sys, priors; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], check=True)
