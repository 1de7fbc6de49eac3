"""The tools on finished runs, and that what is committed agrees with what they say."""

import json
import shutil
from pathlib import Path

import pytest

import cli
from cli import UserError
from tests import tiny
from tools import evaluate, report, tables
from tools.finished import find_runs, read_runs
from tools.report_tables import results

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of LL-R and one of AN on the tiny folder."""
    root = tmp_path_factory.mktemp("runs")
    folder = tiny.make_folder(root)
    for scheme, seed in (("LL-R", 1), ("LL-R", 2), ("AN", 1)):
        more = ("--mod_scheme", scheme, "--seed", str(seed), "--exp_name", f"{scheme}{seed}")
        tiny.train(folder, root / "results", *more)
    return root / "results"


def markdown(folder):
    return tables.markdown(results(find_runs(folder)))


def summary(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def test_evaluate_gives_the_test_map_of_the_summary_again(runs, capsys):
    evaluate.main([str(runs / "LL-R1")])
    printed = capsys.readouterr().out
    assert printed == f"Test mAP : {summary(runs / 'LL-R1')['test_map']:.3f} on 10 images\n"


def test_evaluate_on_val_gives_the_map_that_chose_the_epoch(runs, capsys):
    evaluate.main([str(runs / "LL-R1"), "--split", "val", "--per_class"])
    *classes, last = capsys.readouterr().out.splitlines()
    assert last == f"Val mAP : {summary(runs / 'LL-R1')['val_map']:.3f} on 6 images"
    assert [line.split()[:2] for line in classes] == [["class", str(k)] for k in range(4)]


def test_evaluate_without_a_run_is_one_line(tmp_path, capsys):
    assert cli.run(evaluate.main, [str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_evaluate_refuses_data_whose_classes_have_changed(runs, capsys):
    about = runs.parent / "tiny" / "dataset.json"
    about.write_text('{"classes": ["a", "b", "c", "d"]}')
    assert cli.run(evaluate.main, [str(runs / "AN1")]) == 2
    assert "other classes" in capsys.readouterr().err
    about.unlink()


def test_report_has_a_row_a_method_with_mean_and_deviation(runs):
    head, _, an, llr = markdown(runs).splitlines()
    first, second = (summary(runs / name) for name in ("LL-R1", "LL-R2"))
    cells = []
    for name in ("val_map", "test_map", "test_map_last"):
        mean = (first[name] + second[name]) / 2
        deviation = abs(first[name] - second[name]) / 2**0.5
        cells.append(f"{mean:.1f} ± {deviation:.1f}")
    assert head.startswith("| method |")
    assert an.startswith("| AN | lr 0.001 |")
    labels = json.loads((runs / "LL-R1" / "config.json").read_text())["environment"]["data"]
    shown = labels["train observed"][:6]  # it is not known how they were drawn
    maps = " | ".join(cells)
    assert llr.startswith(f"| LL-R | delta_rel 10; lr 0.001 | {shown} | {maps} | 1, 2 | `python ")


def test_every_command_of_the_report_gives_the_settings_of_its_run(runs):
    from config import command, parse_args

    for run in read_runs(runs):
        words = command(run.config).split()
        assert words[:2] == ["python", "main.py"]
        again = parse_args(words[2:]).settings()
        ours = run.config.settings()
        not_named = ("save_path", "exp_name", "num_workers", "data_root")
        assert {n: v for n, v in again.items() if n not in not_named} == {
            n: v for n, v in ours.items() if n not in not_named
        }


def test_report_writes_between_the_markers_and_nowhere_else(runs, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for _ in range(2):
        report.main([str(runs), "--write", str(page)])
    text = page.read_text()
    assert text.startswith("before\n<!-- results -->\n| method |")
    assert text.endswith("|\n<!-- /results -->\nafter\n")
    assert "old" not in text
    page.write_text("no markers")
    with pytest.raises(UserError, match="<!-- results -->"):
        report.main([str(runs), "--write", str(page)])


def test_report_of_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        find_runs(tmp_path)


def test_the_table_in_the_readme_is_that_of_the_committed_records():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = markdown(ROOT / "results" / "digits")
    assert report.insert(readme, "digits", table) == readme


def test_settings_that_are_not_those_of_the_result_are_refused(runs, tmp_path):
    shutil.copytree(runs / "AN1", tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"is of a run with dataset .*, its config.json says digits"
    ):
        find_runs(tmp_path)


def test_a_copy_of_a_run_counts_once(runs, tmp_path, capsys):
    for name in ("a", "b"):
        shutil.copytree(runs / "LL-R1", tmp_path / name)
    assert [run.config.exp_name for run in find_runs(tmp_path).runs] == ["a"]
    assert capsys.readouterr().err == f"warning: {tmp_path}/b repeats {tmp_path}/a: left out\n"


def test_names_do_not_break_the_table():
    assert tables._escaped("a|b\n\x1b") == r"a\|b\n\x1b"
    assert tables._code("a `` b") == "``` a `` b ```"
