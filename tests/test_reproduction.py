"""Which numbers of the paper are reproduced: states, reasons, and what is left out with a word."""

import pytest

import cli
from tests.records import write_run
from tests.test_evidence_tables import at_recipe
from tools import reproduction
from tools.finished import read_runs
from tools.reproduction import DIFFERS, NOT_RUN, UNDECIDED, claims, details, summary, with_reasons

PASCAL = "--dataset pascal --mod_scheme"
HEAD = "table,of,method,reason\n"


def cells(found, method, table="results"):
    """The row of a method on VOC, by title."""
    rows = details(found)
    (row,) = [row for row in rows.rows if row[:3] == (table, "VOC", method)]
    return dict(zip(rows.head, row, strict=True))


def test_a_number_that_differs_has_its_reason(tmp_path):
    """And one that does not has none, whatever is written."""
    at_recipe(tmp_path / "an", f"{PASCAL} AN", test_map=80.0)
    at_recipe(tmp_path / "llr", f"{PASCAL} LL-R", test_map=89.0)
    path = tmp_path / "reasons.csv"
    path.write_text(f'{HEAD}results,VOC,AN,"other weights, alas"\nresults,VOC,LL-R,none\n')
    found = claims(read_runs(tmp_path))
    assert cells(found, "AN")["state"] == "differs by -5.1"
    found = with_reasons(found, path)
    assert cells(found, "AN")["state"] == "differs by -5.1: other weights, alas"
    assert cells(found, "LL-R")["state"] == "reproduced"
    assert cells(found, "LL-R")["command"] == f"python main.py {PASCAL} LL-R"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "each line must have the columns table,of,method,reason"),
        (b"results,VOC,AN,it is so\n", "each line must have the columns"),
        (HEAD.encode() + b"results,VOC,AN\n", "each line must have the columns"),
        (HEAD.encode() + b"results,VOC,ANN,it is so\n", "has no number results | VOC | ANN"),
        (HEAD.encode() + b'results,VOC,AN,"open\n', "is no CSV"),
        (b"\xff", "is no CSV"),
        (None, "reasons.csv"),
    ],
)
def test_reasons_that_are_none_are_one_line(tmp_path, capsys, text, says):
    write_run(tmp_path / "run")
    path = tmp_path / "reasons.csv"
    if text is not None:
        path.write_bytes(text)
    words = [str(tmp_path), "--reasons", str(path)]
    assert cli.run(reproduction.main, words) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert str(path) in error
    assert says in error


def test_settings_without_a_common_seed_leave_their_row_undecided(tmp_path, capsys):
    at_recipe(tmp_path / "a", f"{PASCAL} AN --lr 0.1", 1, test_map=85.0)
    at_recipe(tmp_path / "b", f"{PASCAL} AN --lr 0.2", 2, test_map=85.0)
    at_recipe(tmp_path / "llr", f"{PASCAL} LL-R", test_map=70.0)
    found = claims(read_runs(tmp_path))
    error = capsys.readouterr().err
    assert error.startswith(f"warning: {tmp_path}/b and {tmp_path}/a are two settings of a method")
    assert error.count("\n") == 1
    states = {claim.method: claim.state for claim in found if claim.where == "VOC"}
    assert (states["AN"], states["WAN"]) == (UNDECIDED, NOT_RUN)
    assert cells(found, "LL-R")["state"].startswith(DIFFERS)
    assert cells(found, "AN")["ours"] == ""
    counts = summary(found)
    assert counts.head[-1] == UNDECIDED
    assert counts.rows[0] == ("results", "72", "0", "1", "70", "0", "1")


def test_a_damaged_run_is_left_out_with_a_word(tmp_path, capsys):
    for seed, test_map in ((1, 85.0), (2, 10.0)):
        at_recipe(tmp_path / str(seed), f"{PASCAL} AN", seed, test_map=test_map)
    (tmp_path / "2" / "metrics.csv").write_text("")
    assert cli.run(reproduction.main, [str(tmp_path)]) == 0
    out, error = capsys.readouterr()
    assert error.startswith(f"warning: {tmp_path}/2 is damaged (")
    assert "| results | VOC | AN | 85.1 |  | 85.0 (1 seed" in out


def test_the_command_of_a_game_names_the_folder_of_its_run(tmp_path):
    write_run(tmp_path / "run")
    command = cells(claims(read_runs(tmp_path)), "LL-R", "pointing game")["command"]
    trained, played = command.split(" && ")
    assert trained == f"python main.py {PASCAL} LL-R"
    assert played == "python -m tools.explain results/pascal_LL-R_0.2_sgd_0.005_seed0"
