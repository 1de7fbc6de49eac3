"""Which runs are a row of the report, and a figure: those on the same labels of the same data."""

import json
from pathlib import Path

import pytest

import cli
from cli import UserError
from tools import figures, report

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "results" / "digits" / "digits_LL-R_2.5_adam_0.001_seed1"
PAPERS = {"num_pos": 1, "num_neg": 0, "seed": 1200}
DIGESTS = {
    "classes": "c0" * 8,
    **{
        f"{split} {kind}": f"{place:x}{split[0].encode().hex()}" + "0" * 13
        for split in ("train", "val", "test")
        for place, kind in enumerate(("images", "truth", "observed"))
    },
    "skipped images": "5c" * 8,
}


def write_run(folder, seed=1, drawn=PAPERS, data=None, test_labels=None, **settings):
    """A finished run with these settings and facts; `data`: digests that differ, False: none."""
    config = json.loads((RECORD / "config.json").read_text())
    summary = json.loads((RECORD / "summary.json").read_text())
    config.update(seed=seed, **settings)
    summary.update(seed=seed, test_map=90.0 + seed, test_labels=test_labels)
    summary.update((name, value) for name, value in settings.items() if name in summary)
    if data is not False:
        config["environment"].update(data={**DIGESTS, **(data or {})}, drawn=drawn)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "metrics.csv").write_bytes((RECORD / "metrics.csv").read_bytes())


def table(folder):
    """The rows of the report as cells by title, and what is said below."""
    text = report.markdown(report.read_runs(folder))
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
    write_run(tmp_path / "b", mod_scheme="AN", train_set_variant="clean", delta_rel=0.0)
    rows, _ = table(tmp_path)
    assert [row["method"] for row in rows] == ["LL-R", "full labels"]
    assert "labels" not in rows[0]


def test_full_labels_are_the_same_whatever_is_observed(tmp_path):
    """And what is observed in val matters only where it chooses the epoch."""
    full = {"mod_scheme": "AN", "train_set_variant": "clean", "delta_rel": 0.0}
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
    write_run(tmp_path / "b", 2, test_labels="observed", mod_scheme="AN", delta_rel=0.0)
    (an, llr), below = table(tmp_path)
    assert (an["test mAP"], llr["test mAP"]) == ("92.0 †", "91.0")
    assert an["at the last epoch"].endswith(" †")
    assert below.startswith("† no truth is known of the test images")
    assert below.count("\n") == 1


def test_a_figure_is_of_one_data_set_and_one_draw(tmp_path, capsys):
    full = {"mod_scheme": "AN", "train_set_variant": "clean", "delta_rel": 0.0}
    write_run(tmp_path / "a", 1)
    write_run(tmp_path / "b", 2)
    write_run(tmp_path / "c", 1, {"fpc": 3, "seed": 1}, {"train observed": "ab" * 8}, **full)
    out = tmp_path / "figure.png"
    figures.main([str(tmp_path), "--out", str(out)])
    out.unlink()
    for name, changed in {
        "train observed": {"data": {"train observed": "ab" * 8}},
        "test truth": {"data": {"test truth": "ab" * 8}},
        "data set": {"dataset": "x/mine"},
        "what is recorded of the data": {"data": False},
    }.items():
        write_run(tmp_path / name, 3, **changed)
        capsys.readouterr()
        assert cli.run(figures.main, [str(tmp_path), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert f"differ in {name}: a figure is of one data set" in error
        assert error.count("\n") == 1
        assert not out.exists()
        for file in (tmp_path / name).iterdir():
            file.unlink()
        (tmp_path / name).rmdir()


@pytest.mark.parametrize("about", [[], "x", {"data": 3}, {"data": {"train observed": 1}}])
def test_a_record_of_anything_is_a_row_or_refused(tmp_path, about):
    write_run(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "environment": about}))
    if isinstance(about, dict):
        assert len(table(tmp_path)[0]) == 1
    else:
        with pytest.raises(UserError, match="not what a run writes"):
            report.read_runs(tmp_path)
