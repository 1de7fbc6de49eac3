"""The record of a run: its files come back, and what is damaged costs one line."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cli import UserError
from record import METRICS, RunRecord, environment

ROW = {name: 0.123456789 for name in METRICS} | {"epoch": 1, "phase": "finetune", "selected": 12}
COLUMNS = (
    "epoch,phase,lr,rate,train_loss,val_map,val_map_observed,selected,selected_precision,"
    "selected_recall,loss_tp,loss_tn,loss_fn,images_per_s,seconds"
)


def test_metrics_csv(tmp_path):
    rows = [ROW, {**ROW, "epoch": 2, "lr": 1e-5, "selected": 0, "val_map": 87.65432199}]
    RunRecord(tmp_path).write_metrics(rows)
    text = (tmp_path / "metrics.csv").read_bytes().decode()
    assert text.splitlines()[0] == COLUMNS
    assert text.count("\n") == 3
    assert "\r" not in text
    first, second = csv.DictReader(text.splitlines())
    assert (first["epoch"], first["phase"], first["selected"]) == ("1", "finetune", "12")
    assert first["loss_fn"] == "0.123457"
    assert (second["lr"], second["selected"], second["val_map"]) == ("1e-05", "0", "87.6543")


def test_what_is_unknown_is_an_empty_cell_and_never_0(tmp_path):
    row = {**ROW, "loss_tp": None, "selected_recall": math.nan}
    del row["val_map_observed"]
    RunRecord(tmp_path).write_metrics([row])
    (read,) = csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines())
    assert {name for name, cell in read.items() if cell == ""} == {
        "loss_tp",
        "selected_recall",
        "val_map_observed",
    }


def test_metrics_csv_is_written_anew(tmp_path):
    record = RunRecord(tmp_path)
    record.write_metrics([ROW, ROW])
    record.write_metrics([])
    assert (tmp_path / "metrics.csv").read_text() == COLUMNS + "\n"


def test_the_summary_comes_back(tmp_path):
    summary = {
        "num_epochs": 3, "best_epoch": 2, "test_map": 88.1234567890123, "test_map_last": 80.0,
        "val_map": None, "test_ap": {"cat": 91.5, "dog": None},
    }  # fmt: skip
    record = RunRecord(tmp_path)
    assert record.read_summary() is None
    record.write_summary(summary)
    assert record.read_summary() == summary == json.loads((tmp_path / "summary.json").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_the_settings_come_back(tmp_path):
    settings = {"dataset": "coco", "lr": 7.5e-5, "flip": True, "exp_name": "x"}
    RunRecord(tmp_path).write_config(settings, "cpu, float32", {"classes": "digest"}, resumed=False)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved.pop("environment")["device"] == "cpu, float32"
    assert saved == settings
    read = RunRecord(tmp_path).read_config()
    assert {name: read[name] for name in settings} == settings


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]"])
@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_damaged_record_costs_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    record = RunRecord(tmp_path)
    with pytest.raises(UserError, match=name) as caught:
        record.read_config() if name == "config.json" else record.read_summary()
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_record_of_settings_costs_one_line(tmp_path):
    with pytest.raises(UserError, match=r"config.json is missing"):
        RunRecord(tmp_path).read_config()


def test_the_environment_names_what_else_made_the_result():
    facts = environment("cpu")
    assert facts["torch"] == torch.__version__
    assert facts["numpy"] == np.__version__
    assert facts["python"] == sys.version.split()[0]
    assert facts["device"] == "cpu"
    assert {"torchvision", "git_commit", "command_line"} <= facts.keys()
    assert all(isinstance(value, str) and value for value in facts.values())


def test_what_is_said_is_printed_and_kept(tmp_path, capsys):
    record = RunRecord(tmp_path)
    record.say("one")
    record.say("zwölf")
    assert capsys.readouterr().out == "one\nzwölf\n"
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "one\nzwölf\n"


def test_what_a_terminal_would_obey_is_escaped(tmp_path, capsys):
    RunRecord(tmp_path).say("a\x1b[2Jb\nc\udc80d")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\nc\\udc80d\n"
    assert (tmp_path / "train.log").read_bytes() == b"a\\x1b[2Jb\\nc\\udc80d\n"


def test_metrics_come_back_as_numbers(tmp_path):
    record = RunRecord(tmp_path)
    record.write_metrics([{**ROW, "loss_tp": None}])
    (read,) = record.read_metrics()
    assert (read["epoch"], read["val_map"]) == (1, 0.123457)
    assert math.isnan(read["loss_tp"])


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff", COLUMNS.encode() + b"\n1,finetune\n",
                                     COLUMNS.encode() + b"\n" + b"x," * 14 + b"x\n"])  # fmt: skip
def test_damaged_metrics_cost_one_line(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics.csv is not what a run writes"):
        RunRecord(tmp_path).read_metrics()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", {}),
        ("summary.json", {"num_epochs": 1, "best_epoch": 1, "test_map": "x", "test_map_last": 1}),
        ("config.json", {"environment": "x"}),
        ("config.json", {"environment": {"resumed": 1}}),
    ],
)
def test_a_record_of_something_else_costs_one_line(tmp_path, name, content):
    (tmp_path / name).write_text(json.dumps(content))
    record = RunRecord(tmp_path)
    with pytest.raises(UserError, match=name):
        record.read_config() if name == "config.json" else record.read_summary()


def test_reading_a_record_imports_no_heavy_package():
    program = "import sys, record; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1])
    assert done.returncode == 0
