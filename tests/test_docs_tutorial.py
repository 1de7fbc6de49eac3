"""The data set of docs/tutorial.md is made as the page says, its runs are on record."""

import re
import shlex
from pathlib import Path

import pytest

import cli
from data import prepare
from files import read_json
from record import RunRecord

ROOT = Path(__file__).parents[1]
SECTIONS = {"first": 2, "second": 5}
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def test_the_stand_in_is_made_and_prepared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(program, {})
    command, *_ = re.findall(r"^python -m data\.prepare (.*)$", PAGE, flags=re.MULTILINE)
    assert cli.run(prepare.main, shlex.split(command)) == 0
    said = capsys.readouterr().out.splitlines()
    shown = PAGE[PAGE.index("data/shop: 10 classes") :].split("\n```")[0].splitlines()
    assert said[: len(shown)] == shown


@pytest.mark.parametrize("name", SECTIONS)
def test_the_runs_that_are_shown_are_those_of_the_records(name):
    """Of its epochs and its result, as much as the page shows."""
    record = RunRecord(ROOT / "results" / "tutorial" / name)
    (shown,) = re.findall(rf"^## {SECTIONS[name]}\..*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    epochs = {row["epoch"]: row for row in record.read_metrics()}
    lines = re.findall(r"^epoch +(\d+)/12  loss (\S+)  val mAP ([\d.]+)", shown, re.MULTILINE)
    assert len(lines) >= 2
    for epoch, loss, val_map in lines:
        row = epochs[int(epoch)]
        assert f"{row['train_loss']:.4f} {row['val_map']:.2f}" == f"{loss} {val_map}"
    summary = record.read_summary()
    said = re.search(r"Test mAP : (\S+) when trained until epoch (\d+)", shown)
    assert said.groups() == (f"{summary['test_map']:.3f}", str(summary["best_epoch"]))


def test_the_second_command_is_that_of_the_record():
    words = read_json(ROOT / "results/tutorial/second/config.json")["environment"]["command_line"]
    assert f"\npython {words}\n" in PAGE
