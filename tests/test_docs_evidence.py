"""The pages of evidence are those of the committed records."""

import argparse
import re
import statistics
from pathlib import Path

import pytest

from files import read_json
from tools import report, reproduction
from tools.explained import read_pointing
from tools.figures import KINDS
from tools.finished import find_runs, group_by_method, method_name
from tools.tables import markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
REPRODUCTION = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLES = {  # markers in evidence.md: kind of table, folders of results
    "highest_loss": ("highest_loss", ("pretrained",)),
    "pretrained_lr": ("results", ("pretrained_lr",)),
    "from_scratch": ("highest_loss", ("digits",)),
    "delta_rel": ("results", ("digits", "delta_rel")),
    "pointing": ("pointing", ("digits",)),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_evidence_are_those_of_the_records(name):
    kind, folders = TABLES[name]
    found = find_runs(*(RESULTS / folder for folder in folders))
    table = report.TABLES[kind](found, argparse.Namespace(best=False, data_root=None))
    assert report.insert(EVIDENCE, name, markdown(table)) == EVIDENCE


def test_what_is_reproduced_is_that_of_the_records():
    found = reproduction.claims(find_runs(RESULTS / "digits").runs)
    found = reproduction.with_reasons(found, reproduction.REASONS)
    summary, details = (
        markdown(make(found)) for make in (reproduction.summary, reproduction.details)
    )
    assert report.insert(README, "summary", summary) == README
    page = report.insert(REPRODUCTION, "summary", summary)
    assert report.insert(page, "details", details) == REPRODUCTION


def test_every_run_that_was_set_out_is_there():
    """No row of a table was left out because it failed."""
    for plan in sorted(RESULTS.glob("**/runs.txt")):
        if "quick" not in plan.parts:
            others = find_runs(plan.parent).others
            assert [f"{run.folder}: {run.status}" for run in others] == []


def test_true_labels_have_their_highest_loss_at_first_and_false_negatives_later():
    """The paper's table 1, on digits: what issue and README say of it."""
    found = find_runs(RESULTS / "pretrained")
    table = report.TABLES["highest_loss"](found, argparse.Namespace(best=False, data_root=None))
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    first = {row["labels"]: float(row["epoch 1"].split()[0]) for row in rows}
    assert first["true positives"] > 50
    assert first["true negatives"] > 50
    assert first["false negatives"] < 50


def means(measure):
    """The mean of a measure of the committed runs on digits, by method."""
    groups = group_by_method(find_runs(RESULTS / "digits").runs)
    return {method_name(group[0].config): statistics.mean(map(measure, group)) for group in groups}


def test_what_the_pages_say_of_the_order_of_methods_is_so():
    test_map = means(lambda run: run.summary["test_map"])
    assert test_map["AN"] < test_map["LL-Ct"] < test_map["LL-R"] < test_map["full labels"]
    below = [
        test_map["AN"] - statistics.mean(run.summary["test_map"] for run in group)
        for group in group_by_method(find_runs(RESULTS / "digits", RESULTS / "delta_rel").runs)
        if group[0].config.mod_scheme == "LL-Cp"
    ]
    assert len(below) == 4
    assert (round(min(below), 1), round(max(below))) == (0.3, 5)
    lost = means(lambda run: run.summary["test_map"] - run.summary["test_map_last"])
    assert round(lost["AN"]) == 3
    assert round(lost["LL-R"], 1) == 0


def test_what_the_pages_say_of_the_pointing_game_is_so():
    for measure in ("total", "strict"):
        hits = means(
            lambda run, measure=measure: {
                "total": (game := read_pointing(run.config.run_dir)).tally.total,
                "strict": game.strict_total,
            }[measure]
        )
        assert hits["AN"] < hits["LL-Ct"] < hits["LL-R"] < hits["full labels"]
        assert abs(hits["LL-Cp"] - hits["AN"]) < 3


def test_with_few_images_an_is_the_best():
    runs = find_runs(RESULTS / "train_share").runs
    for share, an_leads in ((0.1, True), (0.25, True), (0.5, False)):
        groups = group_by_method([run for run in runs if run.config.ss_frac_train == share])
        maps = {
            method_name(group[0].config): statistics.mean(run.summary["test_map"] for run in group)
            for group in groups
        }
        assert (max(maps, key=maps.get) == "AN") == an_leads


def test_what_is_said_of_versions_and_commits_is_so():
    said = re.search(r"2\.14\.1 in (.*?), 2\.15\.0 in (.*?)\. Those", EVIDENCE, re.DOTALL)
    folders = [set(re.findall(r"`(\w+)`", text)) for text in said.groups()]
    committed = re.findall(r"^!/results/(\w+)/", (ROOT / ".gitignore").read_text(), re.MULTILINE)
    assert folders[0] | folders[1] == {*committed}
    found = [
        (path.relative_to(RESULTS).parts[0], read_json(path)["environment"])
        for name in committed
        for path in (RESULTS / name).glob("**/config.json")
    ]
    for name, made in found:
        old = made["torch"].startswith("2.14.1+")
        assert old or made["torch"].startswith("2.15.0+")
        assert name in folders[not old]
        is_dirty = name in ("pretrained_lr", "bf16") or (name == "sweep_digits" and old)
        assert made["git_commit"].endswith("-dirty") == is_dirty
    assert sum(n == "sweep_digits" and "2.14.1" in made["torch"] for n, made in found) == 9


def test_every_figure_is_committed_and_shown():
    shown = set(re.findall(r"\(\.\./imgs/(\w+)\.png\)", EVIDENCE))
    assert shown == KINDS.keys()
    for name in shown:
        assert all((ROOT / "imgs" / f"{name}.{kind}").is_file() for kind in ("png", "pdf"))


def test_every_script_is_named_and_every_named_script_is_there():
    there = {path.name for path in (ROOT / "scripts").glob("*.sh")} - {"runs.sh"}
    named = set(re.findall(r"\b(\w+\.sh)\b", EVIDENCE + README))
    assert there - {"tune_methods.sh"} <= named <= there | {"runs.sh"}
