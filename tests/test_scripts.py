"""The shell scripts, with a stand-in for Python: which runs they start, what a failed one costs."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNS = {"digits": 15, "methods": 39, "linear_init": 24, "sweep_delta_rel": 9, "tune_methods": 54}

STAND_IN = """#!/usr/bin/env bash
echo "$*" >> "$STARTED"
[[ $1 == main.py && "$*" == *"$FAILS"* ]] && exit "$STATUS"
exit 0
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
            "RESULTS": str(tmp_path / "runs"), "FAILS": fails, "STATUS": str(status), **more,
        }  # fmt: skip
        script = ROOT / "scripts" / f"{name}.sh"
        done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
        return done.returncode, done.stderr, started.read_text().splitlines()

    return run


@pytest.mark.parametrize("name", RUNS)
def test_a_script_starts_all_its_runs_once_and_then_reports(start, tmp_path, name):
    status, error, started = start(name)
    *runs, report = started
    assert (status, error) == (0, "")
    assert len(set(runs)) == len(runs) == RUNS[name]
    assert all(line.startswith("main.py --dataset digits --mod_scheme ") for line in runs)
    assert all(line.endswith(f" --save_path {tmp_path / 'runs'} --resume") for line in runs)
    assert report == f"-m tools.report {tmp_path / 'runs'}"


@pytest.mark.parametrize("name", RUNS)
def test_a_failed_run_is_named_at_the_end_and_holds_up_no_other(start, name):
    status, error, started = start(name, fails="--mod_scheme LL-Ct", JOBS="3")
    failed = [line for line in started if "--mod_scheme LL-Ct" in line]
    assert status == 1
    assert error.count("failed: --mod_scheme LL-Ct") == len(failed) > 0
    assert len([line for line in started if line.startswith("main.py")]) == RUNS[name]


@pytest.mark.parametrize("name", RUNS)
def test_a_signal_ends_the_script_without_another_run_or_a_report(start, name):
    status, _, started = start(name, fails="--mod_scheme", status=130)
    assert status != 0
    assert len(started) == 1


def test_a_sweep_takes_other_data_values_and_seeds(start):
    _, _, started = start(
        "sweep_delta_rel", DATASET="pascal", SCHEMES="LL-R", DELTAS="1 2", SEED="7"
    )
    assert [line.split(" --save_path")[0] for line in started[:-1]] == [
        f"main.py --dataset pascal --mod_scheme LL-R --delta_rel {delta} --seed 7"
        for delta in (1, 2)
    ]


def test_csl_trains_its_selective_runs_with_the_prior_of_the_first_ignoring_one(start, tmp_path):
    status, _, started = start("csl", DRAWS="fpc=100", SEEDS="1 2")
    folder = tmp_path / "runs" / "fpc_100"
    modes = [line.split("--mode ")[1].split()[0] for line in started if "--mode" in line]
    assert status == 0
    assert modes == ["ignore", "negative"] * 2 + ["selective"] * 2
    first = folder / "ignore_seed1"
    assert f"-m tools.prior {first} --out {first}.csv" in started
    assert all(f"--prior {first}.csv" in line for line in started if "--mode selective" in line)
    assert all("--fpc 100" in line for line in started if line.startswith("main.py"))


def test_a_failed_step_of_csl_is_named(start):
    status, error, started = start("csl", fails="--mode negative", SEEDS="1")
    assert status == 1
    assert error.count("negative_seed1") == 2
    assert len([line for line in started if "--mode selective" in line]) == 2
