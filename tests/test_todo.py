"""Which runs of a list are still to be trained, and the list that is kept of them."""

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from config import parse_args
from tests.records import write_run
from tools import todo
from tools.unfinished import MISSING, PLAN, missing_in

ROOT = Path(__file__).parents[1]
RUNS = [f"--mod_scheme {scheme} --seed {seed}" for seed in (2, 1) for scheme in ("LL-R", "AN")]


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """What the tool prints of these lines, for runs below tmp_path / "runs"."""

    def ask(*lines, dataset="digits", folder=None):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        folder = folder or tmp_path / "runs"
        assert cli.run(todo.main, [str(folder), "--dataset", dataset]) == 0
        out, error = capsys.readouterr()
        assert error == ""
        return out.splitlines()

    return ask


def finish(root, words, **more):
    """A finished run of these words below root, in the folder that main.py gives it."""
    config = parse_args([*shlex.split(words), "--save_path", str(root)])
    settings = {name: value for name, value in config.settings().items() if name != "seed"}
    write_run(config.run_dir, config.seed, **{**settings, **more})
    return config.run_dir


def make_set(folder):
    """A folder that has as much of a formatted set as is looked for."""
    Path(folder).mkdir(parents=True)
    for part in ("train", "val"):
        (Path(folder) / f"formatted_{part}_images.npy").touch()


def plan_in(folder):
    return (folder / PLAN).read_text().splitlines()


def test_a_line_is_given_as_a_shell_takes_it(ask):
    """So that a shell, which evaluates it, makes of it what was looked for."""
    line = "--mod_scheme AN --seed 1 --exp_name 'a b' --data_root /x*;y"
    assert shlex.split(line) == shlex.split(*ask(line))
    assert ask(line) == ["--mod_scheme AN --seed 1 --exp_name 'a b' --data_root '/x*;y'"]


def test_what_is_finished_is_left_out_and_the_others_keep_their_order(ask, tmp_path):
    assert ask(*RUNS) == RUNS
    finish(tmp_path / "runs", f"--dataset digits {RUNS[1]}")
    assert ask(*RUNS) == [RUNS[0], *RUNS[2:]]
    for line in (RUNS[0], *RUNS[2:]):
        finish(tmp_path / "runs", f"--dataset digits {line}")
    assert ask(*RUNS) == []
    assert list(missing_in(tmp_path / "runs")) == []


def test_the_list_of_all_runs_is_sorted_and_grows(ask, tmp_path):
    ask(*RUNS, RUNS[0])
    planned = sorted(f"--dataset digits {line}" for line in RUNS)
    assert plan_in(tmp_path / "runs") == planned
    before = (tmp_path / "runs" / PLAN).stat()
    ask(*RUNS[:2])
    assert (tmp_path / "runs" / PLAN).stat().st_mtime_ns == before.st_mtime_ns
    ask("--mod_scheme IU")
    assert plan_in(tmp_path / "runs") == sorted([*planned, "--dataset digits --mod_scheme IU"])
    assert [other.status for other in missing_in(tmp_path / "runs")] == [MISSING] * 5


def test_nothing_asked_leaves_no_list(ask, tmp_path):
    assert ask("", "   ") == []
    assert not (tmp_path / "runs").exists()


def test_lines_that_are_wrong_pass_and_are_not_planned(ask, tmp_path):
    """main.py then says what is wrong with them, and the script names them."""
    wrong = ["--mod_scheme LLR", "--seed x", "--exp_name 'half a quote", "stray"]
    assert ask(*wrong, RUNS[0]) == [*wrong, RUNS[0]]
    assert plan_in(tmp_path / "runs") == [f"--dataset digits {RUNS[0]}"]


@pytest.mark.parametrize(
    "name", ["a b", "it's", '"q"', "$HOME `x` *", "é\u2028ü", "-x", "#", "a\\"]
)
def test_the_path_of_a_data_set_is_read_back(ask, tmp_path, name):
    dataset = f"{tmp_path}/{name}/"
    make_set(dataset)
    for _ in range(2):
        assert ask("--seed 1", dataset=dataset) == ["--seed 1"]
    (other,) = missing_in(tmp_path / "runs")
    assert (other.status, other.config.dataset) == (MISSING, dataset.rstrip("/"))
    finish(tmp_path / "runs", f"--dataset {shlex.quote(dataset)} --seed 1")
    assert ask("--seed 1", dataset=dataset) == []
    assert list(missing_in(tmp_path / "runs")) == []


def test_a_path_that_is_no_text_is_read_back(ask, tmp_path):
    dataset = str(tmp_path / os.fsdecode(b"\xff"))
    make_set(dataset)
    for _ in range(2):
        ask("--seed 1", dataset=dataset)
    assert (tmp_path / "runs" / PLAN).read_bytes().count(b"\xff") == 1
    (other,) = missing_in(tmp_path / "runs")
    assert other.config.dataset == dataset


@pytest.mark.parametrize(
    ("dataset", "error"),
    [
        ("digitz", "'digitz' is neither one of "),
        ("pascal", "there is no folder {}/pascal: make it with python -m data.prepare pascal "),
        ("{}/gone", "there is no folder {}/gone "),
        ("{}/half", "{}/half/formatted_val_images.npy is missing: "),
    ],
)
def test_data_that_is_missing_is_one_line_and_nothing_is_planned(
    dataset, error, tmp_path, monkeypatch, capsys
):
    make_set(tmp_path / "half")
    (tmp_path / "half" / "formatted_val_images.npy").unlink()
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"--seed 1 --data_root {tmp_path}\n" * 2))
    words = [str(tmp_path / "runs"), "--dataset", dataset.format(tmp_path)]
    assert cli.run(todo.main, words) == 2
    out, told = capsys.readouterr()
    assert out == ""
    assert error.format(tmp_path) in told
    assert told.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_runs_that_are_finished_need_no_data(ask, tmp_path):
    finish(tmp_path / "runs", "--dataset pascal --seed 1")
    assert ask("--seed 1 --data_root nowhere", dataset="pascal") == []


@pytest.mark.parametrize(
    "change", [{"lr": 0.5}, {"num_epochs": 3}, {"dataset": "coco"}, {"train_set_variant": "clean"}]
)
def test_a_run_of_the_same_name_and_other_settings_is_not_finished(ask, tmp_path, change):
    line = "--seed 1 --exp_name mine"
    finish(tmp_path / "runs", f"--dataset digits {line}", **change)
    assert ask(line) == [line]


def test_what_changes_no_result_makes_no_other_run(ask, tmp_path):
    line = "--seed 1 --exp_name mine --num_workers 3 --device cpu"
    finish(tmp_path / "runs", "--dataset digits --seed 1 --exp_name mine")
    assert ask(line) == []


def test_a_run_that_was_told_to_go_on_is_not_finished(ask, tmp_path):
    """Its result of fewer epochs stands until the next is done."""
    folder = finish(tmp_path / "runs", "--dataset digits --seed 1 --num_epochs 20 --exp_name mine")
    line = "--seed 1 --num_epochs 20 --exp_name mine"
    assert ask(line) == []
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "num_epochs": 12}))
    assert ask(line) == [line]


@pytest.mark.parametrize("name", ["summary.json", "config.json"])
@pytest.mark.parametrize("content", ["", "{}", "[", None])
def test_a_damaged_record_is_not_finished(ask, tmp_path, name, content):
    folder = finish(tmp_path / "runs", "--dataset digits --seed 1")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    assert ask("--seed 1") == ["--seed 1"]


def test_no_heavy_package_is_imported(tmp_path):
    """A script that was stopped goes on at once."""
    finish(tmp_path, "--dataset digits --seed 1")
    program = (
        "import sys, cli\nfrom tools import todo\nstatus = cli.run(todo.main, sys.argv[1:])\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'matplotlib', 'numpy', 'PIL'}\n"
        "sys.exit(' '.join(heavy & {*sys.modules}) or status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "--dataset", "digits"],
        cwd=ROOT, input="--seed 1\n--seed 2\n", capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "--seed 2\n", "")
