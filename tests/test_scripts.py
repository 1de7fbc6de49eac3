"""The shell scripts, with a stand-in for Python: which runs they start, what a failed one costs."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNS = {
    "results": 15, "table1": 3, "selection": 9, "corrections": 3, "pointing": 12,
    "sweep_delta_rel": 27, "train_share": 36, "methods": 39, "linear_init": 24, "tune_methods": 54,
}  # fmt: skip

STAND_IN = """#!/usr/bin/env bash
[[ $2 == tools.todo ]] && { mkdir -p "$3"; grep -v -e "$DONE"; exit 0; }
echo "$*" >> "$STARTED"
[[ "$*" == *"$FAILS"* ]] && exit "$STATUS"
exit 0
"""

LONG_RUNS = """#!/usr/bin/env bash
[[ $2 == tools.todo ]] && { mkdir -p "$3"; cat; exit 0; }
trap 'sleep 0.3; >"$RESULTS/$$.stopped"; exit 143' TERM
>"$RESULTS/$$.started"
for _ in {1..600}; do sleep 0.05; done
"""


@pytest.fixture
def start(tmp_path):
    """A function that runs a script: its status, its stderr, the command lines of its Pythons."""
    (tmp_path / "python").write_text(STAND_IN)
    (tmp_path / "python").chmod(0o755)

    def run(name, fails="nothing", status=2, **more):
        started = tmp_path / "started"
        started.write_text("")
        environment = {
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "STARTED": str(started),
            "RESULTS": str(tmp_path / "runs"), "FAILS": fails, "STATUS": str(status),
            "DONE": "nothing", **more,
        }  # fmt: skip
        script = ROOT / "scripts" / f"{name}.sh"
        done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
        return done.returncode, done.stderr, started.read_text().splitlines()

    return run


def split(started):
    """The command lines that train, and those of tools after them.

    But for the network that the runs of table1 on digits start from.
    """
    started = [line for line in started if "digit_singles --" not in line]
    runs = [line for line in started if line.startswith("main.py")]
    assert started[: len(runs)] == runs
    return runs, started[len(runs) :]


@pytest.mark.parametrize("name", RUNS)
def test_a_script_starts_all_its_runs_once_and_then_reports(start, tmp_path, name):
    status, error, started = start(name)
    runs, after = split(started)
    assert (status, error) == (0, "")
    assert len(set(runs)) == len(runs) == RUNS[name]
    assert all(line.startswith("main.py --dataset digits --mod_scheme ") for line in runs)
    assert all(line.endswith(f" --save_path {tmp_path / 'runs'} --resume") for line in runs)
    assert after
    assert all(line.startswith(("-m tools.report", "-m tools.figures")) for line in after)
    assert not any("--write" in line or " imgs/" in line for line in after), "not our own pages"


@pytest.mark.parametrize("name", RUNS)
def test_a_failed_run_is_named_at_the_end_and_holds_up_no_other(start, name):
    fails = "--mod_scheme AN --weights" if name == "table1" else "--mod_scheme LL-Ct"
    status, error, started = start(name, fails=fails, JOBS="3")
    failed = [line for line in started if fails in line]
    assert status == 1
    assert error.count(f"failed: {fails}") == len(failed) > 0
    assert len(split(started)[0]) == RUNS[name]


@pytest.mark.parametrize("name", RUNS)
def test_what_is_finished_is_not_started(start, name):
    status, _, started = start(name, DONE="--seed [12]")
    seeds = 1 if name == "tune_methods" else 3
    assert status == 0
    assert len(split(started)[0]) == RUNS[name] // seeds
    assert not split(start(name, DONE="--seed")[2])[0]


@pytest.mark.parametrize("name", RUNS)
def test_quick_takes_one_seed(start, name):
    _, _, started = start(name, QUICK="1")
    runs, _ = split(started)
    seeds = {line.split("--seed ")[1].split()[0] for line in runs}
    assert len(seeds) == 1
    assert len(runs) <= RUNS[name]


def test_table1_pretrains_a_network_for_digits_alone_and_only_if_it_is_needed(start, tmp_path):
    def trained(*words, **more):
        return [line for line in start("table1", ROOT=str(tmp_path), **more)[2] if words[0] in line]

    (line,) = trained("--exp_name digit_singles")
    weights = f"{tmp_path}/pretraining/digit_singles/bestmodel.pt"
    assert f"--save_path {tmp_path}/pretraining" in line
    assert "--seed 2022" in line, "new heads begin otherwise than its own"
    assert all(f"--weights {weights} " in line for line in trained("--audit labels"))
    assert not trained("digit_singles", DONE="--seed")
    assert not trained("digit_singles", DATASET="pascal")


@pytest.mark.parametrize("name", [*RUNS, "all", "csl", "openimages"])
def test_an_argument_starts_nothing(start, name):
    """--help shows the head of the script."""
    script = ROOT / "scripts" / f"{name}.sh"
    for argument, status in (("--help", 0), ("anything", 2)):
        done = subprocess.run(["bash", script, argument], capture_output=True, text=True)
        assert done.returncode == status
        assert f"scripts/{name}.sh" in done.stdout
        assert "#!" not in done.stdout
        assert done.stderr.count("\n") == bool(status)


def test_a_wrong_number_of_jobs_is_one_line(start):
    status, error, started = start("results", JOBS="two")
    assert (status, error, started) == (2, "error: JOBS=two must be a whole number from 1\n", [])


def test_an_own_folder_is_not_mixed_with_the_committed_runs(start, tmp_path):
    for name in ("sweep_delta_rel", "train_share"):
        _, after = split(start(name)[2])
        assert after
        assert not any("results/digits" in line for line in after)


def test_a_tool_that_fails_is_named_too(start):
    status, error, started = start("results", fails="tools.figures memorization")
    assert status == 1
    assert error.startswith("failed: python -m tools.figures memorization")
    assert any("best_last" in line for line in started)


def test_the_same_scripts_take_the_paper_sets(start, tmp_path):
    for name in RUNS:
        if name != "tune_methods":
            _, _, started = start(name, DATASET="pascal", SEEDS="0")
            runs, _ = split(started)
            assert all(line.startswith("main.py --dataset pascal ") for line in runs)
            assert not any("--lr" in line for line in runs), "the recipe has it"


def test_the_table_of_openimages_has_its_data_and_one_seed(start):
    _, _, started = start("openimages")
    runs, after = split(started)
    assert [line.split()[4] for line in runs] == [
        "IU", "AN", "WAN", "LSAN", "LL-R", "LL-Ct", "LL-Cp"
    ]  # fmt: skip
    assert all("--dataset openimages" in line for line in runs)
    assert after[0].endswith("--table groups")


def test_runs_are_spread_over_the_gpus(start, tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho GPU 0\necho GPU 1\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    _, _, started = start("train_share", JOBS="4")
    used = [line.rpartition(" --gpu_num ")[2] for line in split(started)[0]]
    assert {*used} == {"0", "1"}


def test_everything_is_one_command(start, tmp_path):
    """Each part once, and the page at the end; RESULTS of a part is not for all."""
    status, error, started = start("all", ROOT=str(tmp_path / "root"))
    assert (status, error) == (0, "")
    assert started[-1].endswith(f"--html {tmp_path / 'root'}/report_digits.html")
    folders = {line.split("--save_path ")[1].split()[0] for line in started if "main.py" in line}
    below = ("digits", "pretraining", "pretrained", "delta_rel", "train_share", "methods",
             "linear_init")  # fmt: skip
    draws = ("csl/fpc_100", "csl/rps_0.5")
    assert folders == {f"{tmp_path / 'root'}/{name}" for name in (*below, *draws)}
    status, error, _ = start("all", ROOT=str(tmp_path / "root"), fails="--mod_scheme LSAN")
    assert status == 1
    assert error.endswith("failed: bash scripts/methods.sh\n")


@pytest.mark.parametrize("name", RUNS)
def test_a_signal_ends_the_script_without_another_run_or_a_report(start, name):
    status, _, started = start(name, fails="--mod_scheme", status=130)
    assert status != 0
    assert len([line for line in started if line.startswith("main.py")]) == 1
    assert not any("tools." in line for line in started)


@pytest.mark.skipif(not shutil.which("pgrep"), reason="needs pgrep")
def test_a_signal_to_the_script_alone_reaches_its_runs(tmp_path):
    """As `kill PID` sends it; the script ends after them."""
    (tmp_path / "python").write_text(LONG_RUNS)
    (tmp_path / "python").chmod(0o755)
    runs = tmp_path / "digits"
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ROOT": str(tmp_path), "JOBS": "2"}
    script = subprocess.Popen(["bash", ROOT / "scripts/all.sh"], env={**os.environ, **path})
    end = time.monotonic() + 60
    while len(list(runs.glob("*.started"))) < 2:
        assert script.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    script.terminate()
    assert script.wait(timeout=60) == 143
    assert len(list(runs.glob("*.stopped"))) == len(list(runs.glob("*.started"))) == 2


def test_a_sweep_takes_other_data_values_and_seeds(start):
    _, _, started = start(
        "sweep_delta_rel", DATASET="pascal", SCHEMES="LL-R", DELTAS="1 2", SEEDS="7"
    )
    assert [line.split(" --save_path")[0] for line in split(started)[0]] == [
        f"main.py --dataset pascal --mod_scheme LL-R --delta_rel {delta} --seed 7"
        for delta in (1, 2)
    ]


def test_csl_trains_its_selective_runs_with_the_prior_of_the_first_ignoring_one(start, tmp_path):
    status, _, started = start("csl", DRAWS="fpc=100", SEEDS="1 2")
    folder = tmp_path / "runs" / "fpc_100"
    modes = [line.split("--mode ")[1].split()[0] for line in started if "--mode" in line]
    assert status == 0
    assert modes == ["ignore"] * 2 + ["negative"] * 2 + ["selective"] * 2
    first = folder / "ignore_seed1"
    assert f"-m tools.prior {first} --out {first}.csv" in started
    assert all(f"--prior {first}.csv" in line for line in started if "--mode selective" in line)
    assert all("--fpc 100" in line for line in started if line.startswith("main.py"))


def test_a_failed_step_of_csl_is_named(start):
    status, error, started = start("csl", fails="--mode negative", SEEDS="1")
    assert status == 1
    assert error.count("negative_seed1") == 2
    assert len([line for line in started if "--mode selective" in line]) == 2
