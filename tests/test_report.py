"""Which runs are a row of the report: those on the same labels of the same data."""

import csv
import json
import re

import pytest

import cli
from cli import UserError
from recipes import SCHEMES
from tests.records import DIGESTS, write_run
from tools import report, tables
from tools.finished import find_runs
from tools.report_tables import results


def markdown(*folders):
    return tables.markdown(results(find_runs(*folders)))


def table(*folders):
    """The rows of the report as cells by title, and what is said below."""
    text = markdown(*folders)
    lines, _, below = text.partition("\n\n")
    head, _, *rows = [line.strip("| ").split(" | ") for line in lines.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows], below


def test_runs_on_other_draws_are_rows_of_their_own(tmp_path, capsys):
    """Of the same seed too, which is then no repeat."""
    for seed in (1, 2):
        write_run(tmp_path / f"a{seed}", seed)
        drawn = {"fpc": 3, "seed": 1200}
        write_run(tmp_path / f"b{seed}", seed, drawn, {"train observed": "ab" * 8})
    rows, below = table(tmp_path)
    assert [row["labels"] for row in rows] == ["1+, 0-", "FPC 3"]
    assert [row["seeds"] for row in rows] == ["1, 2", "1, 2"]
    assert "data set" not in rows[0]
    assert (below, capsys.readouterr().err) == ("", "")


@pytest.mark.parametrize(
    ("drawn", "data", "name"),
    [
        ({"fpc": 3, "seed": 1200}, {}, "FPC 3"),
        ({"rps": 0.5, "seed": 1200}, {}, "RPS 0.5"),
        ({"share": 0.1, "seed": 1200}, {}, "share 10 %"),
        ({"share": 0.1, "seed": 7}, {}, "share 10 %, seed 7"),
        ({"num_pos": -1, "num_neg": 5, "seed": 1200}, {}, "all+, 5-"),
        (None, {"train truth": DIGESTS["train observed"]}, "as annotated"),
        (None, {"train truth": "none"}, "as annotated"),
        (None, {"train observed": "3fa2b1" + "0" * 10}, "3fa2b1"),
        ("hearsay", {"train observed": "3fa2b1" + "0" * 10}, "3fa2b1"),
    ],
)
def test_labels_that_are_not_the_papers_are_named(tmp_path, drawn, data, name):
    write_run(tmp_path / "run", drawn=drawn, data=data)
    rows, _ = table(tmp_path)
    assert [row["labels"] for row in rows] == [name]


def test_the_papers_labels_and_full_labels_go_without_saying(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", mod_scheme="AN", train_set_variant="clean")
    rows, _ = table(tmp_path)
    assert [row["method"] for row in rows] == ["LL-R", "full labels"]
    assert "labels" not in rows[0]


def test_csv_says_what_validation_chooses_and_by_which_labels_was_tested(tmp_path, capsys):
    for delta, val in ((1.0, 80.0), (2.0, 90.0)):
        for seed in (1, 2):
            write_run(tmp_path / f"{delta}_{seed}", seed, delta_rel=delta, val_map=val + seed)
    write_run(tmp_path / "iu", mod_scheme="IU", test_labels="observed")
    report.main([str(tmp_path), "--format", "csv"])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    names = ("method", "val_map_mean", "val_map_std", "test_map_mean", "n", "test_labels", "chosen")
    assert [[row[name] for name in names] for row in rows][1:] == [
        ["LL-R", "81.5", "0.707107", "91.5", "2", "truth", "no"],
        ["LL-R", "91.5", "0.707107", "91.5", "2", "truth", "yes"],
    ]
    assert (rows[0]["test_map_mean"], rows[0]["test_map_std"]) == ("91", "")
    assert (rows[0]["test_labels"], rows[0]["chosen"]) == ("observed", "")


def test_full_labels_are_the_same_whatever_is_observed(tmp_path):
    """And what is observed in val matters only where it chooses the epoch."""
    full = {"mod_scheme": "AN", "train_set_variant": "clean"}
    other = {f"{split} observed": "ab" * 8 for split in ("train", "val", "test")}
    write_run(tmp_path / "a", 1, **full)
    write_run(tmp_path / "b", 2, {"fpc": 3, "seed": 1200}, other, **full)
    assert [row["seeds"] for row in table(tmp_path)[0]] == ["1, 2"]
    write_run(tmp_path / "c", 3, data={"train truth": "ab" * 8}, **full)
    rows, _ = table(tmp_path)
    assert [row["seeds"] for row in rows] == ["1, 2", "3"]
    assert sorted(row["labels"] for row in rows) == [
        "all, train truth 174000", "all, train truth ababab"
    ]  # fmt: skip


def test_rows_that_are_alike_are_told_apart_by_their_digests(tmp_path):
    write_run(tmp_path / "a", 1)
    write_run(tmp_path / "b", 1, data={"skipped images": "ab" * 8})
    assert [row["labels"] for row in table(tmp_path)[0]] == [
        "1+, 0-, skipped images 5c5c5c", "1+, 0-, skipped images ababab"
    ]  # fmt: skip


def test_labels_that_only_test_a_set_without_truth_count(tmp_path):
    unknown = {"test truth": "none"}
    write_run(tmp_path / "a", 1, data=unknown)
    write_run(tmp_path / "b", 2, data={**unknown, "test observed": "ab" * 8})
    assert len(table(tmp_path)[0]) == 2


def test_records_of_earlier_times_are_not_taken_for_runs_on_known_labels(tmp_path):
    write_run(tmp_path / "a1", 1, data=False)
    write_run(tmp_path / "a2", 2, data=False)
    rows, _ = table(tmp_path)
    assert [row["seeds"] for row in rows] == ["1, 2"]
    assert "labels" not in rows[0]
    write_run(tmp_path / "b", 1)
    rows, _ = table(tmp_path)
    found = {row["labels"]: row["seeds"] for row in rows}
    assert found == {"1+, 0-": "1", "not recorded": "1, 2"}


def test_several_data_sets_have_a_column(tmp_path):
    for name, dataset in (("a", "x/mine"), ("b", "coco"), ("c", "y/mine"), ("d", "x/yours")):
        write_run(tmp_path / name, dataset=dataset)
    rows, _ = table(tmp_path)
    assert [row["data set"] for row in rows] == ["coco", "x/mine", "yours", "y/mine"]
    assert list(rows[0])[:2] == ["data set", "method"]


def test_a_test_without_truth_is_marked(tmp_path):
    write_run(tmp_path / "a", 1, test_labels="clean")
    assert table(tmp_path)[1] == ""
    write_run(tmp_path / "b", 2, test_labels="observed", mod_scheme="AN")
    (an, llr), below = table(tmp_path)
    assert (an["test mAP"], llr["test mAP"]) == ("92.0 †", "91.0")
    assert an["at the last epoch"].endswith(" †")
    assert below.startswith("† no truth is known of the test images")
    assert below.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "method", "setting"),
    [
        ({"mod_scheme": "IU", "lr": 5e-4}, "IU", ""),
        ({"mod_scheme": "IU"}, "IU", "lr 0.001"),
        ({"mod_scheme": "LSAN", "ls_coef": 0.2}, "LSAN", "ls_coef 0.2"),
        (
            {"mod_scheme": "ROLE", "expected_positives": 3, "lr": 2e-3},
            "ROLE",
            "expected_positives 3",
        ),
        ({"mod_scheme": "ASL", "gammas": [0, 2], "clip": 0.1}, "ASL", "gammas 0,2; clip 0.1"),
        (
            {"mod_scheme": "EM+APL", "em_alpha": 0.1, "apl_start": 4, "apl_beta": 0.9},
            "EM+APL",
            "em_alpha 0.1; apl_start 4; apl_beta 0.9",
        ),
        (
            {"mod_scheme": "CSL", "mode": "ignore", "gammas": [0, 1, 2], "clip": 0, "topk": 3},
            "CSL ignore",
            "gammas 0,1,2; clip 0",
        ),
        (
            {"mod_scheme": "CSL", "gammas": [0, 1, 2], "clip": 0, "topk": 3},
            "CSL selective",
            "gammas 0,1,2; clip 0; topk 3",
        ),
        (
            {"mod_scheme": "CSL", "topk": 3, "prior": "a/b.csv", "prior_threshold": 0.4, "clip": 0},
            "CSL selective",
            "gammas 0,1,2; clip 0; topk 3; prior b.csv; prior_threshold 0.4",
        ),
        ({"delta_rel": 2.5, "rate_base": "all"}, "LL-R", "delta_rel 2.5; rate_base all"),
        ({"delta_rel": 2.5, "lr": 0.123}, "LL-R", "delta_rel 2.5; lr 0.123"),
        ({"delta_rel": 2.5, "boostlu": 5}, "BoostLU + LL-R", "delta_rel 2.5; boostlu 5"),
        ({"delta_rel": 2.5, "linear_init": 25}, "LinearInit + LL-R", "delta_rel 2.5"),
        (
            {"delta_rel": 1, "linear_init": 25, "num_epochs": 0},
            "linear LL-R",
            "delta_rel 1",
        ),
        ({"delta_rel": 1, "use_feats": True}, "linear LL-R", "delta_rel 1"),
        (
            {"delta_rel": 1, "linear_init": 25, "boostlu": 2},
            "LinearInit + BoostLU + LL-R",
            "delta_rel 1; boostlu 2",
        ),
    ],
)
def test_a_method_is_called_what_it_is_with_the_options_it_used(
    tmp_path, settings, method, setting
):
    write_run(tmp_path / "run", **settings)
    (row,), _ = table(tmp_path)
    assert (row["method"], row["setting"]) == (method, setting)


def test_every_scheme_is_a_row_in_their_order_full_labels_last(tmp_path):
    full = {"mod_scheme": "AN", "train_set_variant": "clean"}
    others = [{"mod_scheme": "AN", "boostlu": 5}, {"mod_scheme": "AN", "linear_init": 5}]
    kinds = [full, *({"mod_scheme": name} for name in reversed(SCHEMES)), *others]
    for place, settings in enumerate(kinds):
        write_run(tmp_path / str(place), data=False, **settings)
    names = [row["method"].removesuffix(" selective") for row in table(tmp_path)[0]]
    beside = ["AN", "BoostLU + AN", "LinearInit + AN"]
    assert names == [*beside, *list(SCHEMES)[1:], "full labels"]


def test_settings_of_a_method_are_in_the_order_of_their_numbers(tmp_path):
    for topk in (10, 2, 5):
        write_run(tmp_path / f"{topk}", mod_scheme="CSL", topk=topk)
    for boostlu in (10, 2):
        write_run(tmp_path / f"b{boostlu}", mod_scheme="CSL", boostlu=boostlu)
    found = [row["setting"].split("; ", 2)[2] for row in table(tmp_path)[0]]
    assert found[:3] == ["topk 2", "topk 5", "topk 10"]
    assert [setting.split("; ")[1] for setting in found[3:]] == ["boostlu 2", "boostlu 10"]


def test_several_folders_are_one_table(tmp_path, capsys):
    """Where they repeat each other too."""
    for folder, seed in (("a", 1), ("b", 2), ("c", 2)):
        write_run(tmp_path / folder / "run", seed)
    rows, _ = table(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert [row["seeds"] for row in rows] == ["1, 2"]
    assert "c/run repeats" in capsys.readouterr().err


def test_a_folder_without_runs_is_left_out_where_another_has_some(tmp_path, capsys):
    write_run(tmp_path / "a" / "run")
    (tmp_path / "b").mkdir()
    report.main([str(tmp_path / "a"), str(tmp_path / "b")])
    out, error = capsys.readouterr()
    assert "| LL-R |" in out
    none = f"{tmp_path}/b holds no finished run (no summary.json below it)"
    assert error == f"warning: {none}: left out\n"
    with pytest.raises(UserError, match=re.escape(none)):
        find_runs(tmp_path / "b", tmp_path / "b")
    with pytest.raises(UserError, match="there is no folder"):
        find_runs(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--html x --format csv", "--format is of a table that is printed"),
        ("--write x --format csv", "--format is of a table that is printed"),
        ("--html x --table groups", "--table is of a table that is printed or written"),
        ("--name x", "--name is of the markers of a page"),
        ("--pictures x", "--pictures are those of the page of --html"),
        ("--best --table groups", "--best is of the table of results"),
    ],
)
def test_a_flag_of_which_nothing_would_come_is_refused(tmp_path, capsys, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run")
    assert cli.run(report.main, [str(tmp_path), *words.split()]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert says in error
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


CELLS = """| <!-- x LSAN -->old<!-- /x LSAN -->, <!-- x EM+APL -->97.1<!-- /x EM+APL --> |
| AN | <!-- y AN -->stays<!-- /y AN --> |
"""


def test_cells_of_a_page_are_filled_beside_its_table_or_without(tmp_path):
    """With the test mAP; those of other tables, and all else, stay."""
    for seed in (1, 2):
        write_run(tmp_path / "runs" / str(seed), seed, mod_scheme="LSAN")
    page = tmp_path / "page.md"
    filled = CELLS.replace(">old<", ">91.5 ± 0.7<").replace(">97.1<", ">not run<")
    for block in ("", "<!-- x -->\n{}<!-- /x -->\n"):
        page.write_text(block.format("old\n") + CELLS)
        for _ in range(2):
            report.main([str(tmp_path / "runs"), "--name", "x", "--write", str(page)])
        rows = markdown(tmp_path / "runs")
        assert page.read_text() == block.format(rows) + filled


def test_a_page_without_a_place_stays_as_it_is(tmp_path, capsys):
    write_run(tmp_path / "x" / "run")
    page = tmp_path / "page.md"
    page.write_text("<!-- y AN -->old<!-- /y AN -->")
    assert cli.run(report.main, [str(tmp_path / "x"), "--write", str(page)]) == 2
    assert "there are no lines <!-- x --> and <!-- /x -->" in capsys.readouterr().err
    assert page.read_text() == "<!-- y AN -->old<!-- /y AN -->"


def test_a_cell_for_which_there_are_two_rows_is_refused(tmp_path, capsys):
    write_run(tmp_path / "x" / "a", delta_rel=1)
    write_run(tmp_path / "x" / "b", delta_rel=2)
    page = tmp_path / "page.md"
    page.write_text("<!-- x LL-R -->old<!-- /x LL-R -->")
    assert cli.run(report.main, [str(tmp_path / "x"), "--write", str(page)]) == 2
    error = capsys.readouterr().err
    assert "<!-- x LL-R -->" in error
    assert "2 rows of LL-R" in error
    assert page.read_text() == "<!-- x LL-R -->old<!-- /x LL-R -->"


@pytest.mark.parametrize("about", [[], "x", {"data": 3}, {"data": {"train observed": 1}}])
def test_a_record_of_anything_is_a_row_or_refused(tmp_path, about):
    write_run(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "environment": about}))
    if isinstance(about, dict):
        assert len(table(tmp_path)[0]) == 1
    else:
        with pytest.raises(UserError, match="not what a run writes"):
            find_runs(tmp_path)
