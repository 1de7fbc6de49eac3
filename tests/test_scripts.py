"""The shell scripts, with a stand-in for Python: which runs they start, what a failed one costs."""

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config import parse_args
from naming import run_name
from tests.records import write_run

ROOT = Path(__file__).parents[1]
RUNS = {
    "results": 15, "table1": 3, "selection": 9, "corrections": 3, "pointing": 12,
    "sweep_delta_rel": 27, "train_share": 36, "methods": 39, "linear_init": 24, "tune_methods": 54,
}  # fmt: skip

STAND_IN = f"""#!/usr/bin/env bash
[[ $1 == -c || $2 == "$REAL" ]] && exec {shlex.quote(sys.executable)} "$@"
[[ $2 == tools.todo ]] && {{ mkdir -p "$3"; grep -v -e "$DONE"; exit 0; }}
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

    def run(name, fails="nothing", status=2, repository=ROOT, **more):
        started = tmp_path / "started"
        started.write_text("")
        environment = {
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "STARTED": str(started),
            "RESULTS": str(tmp_path / "runs"), "FAILS": fails, "STATUS": str(status),
            "DONE": "nothing", "REAL": "none", **more,
        }  # fmt: skip
        script = repository / "scripts" / f"{name}.sh"
        done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
        return done.returncode, done.stderr, started.read_text().splitlines()

    return run


@pytest.fixture
def usual(start, tmp_path):
    """The same for a copy of the scripts, with results in the usual places."""
    shutil.copytree(ROOT / "scripts", tmp_path / "copy" / "scripts")
    return functools.partial(start, repository=tmp_path / "copy", RESULTS="")


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


@pytest.mark.parametrize("name", [*RUNS, "all", "csl", "openimages", "suggest"])
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


@pytest.mark.parametrize("name", ["results", "table1", "methods"])
def test_flags_go_to_every_run_after_its_own(start, name):
    _, _, started = start(name, FLAGS="--num_workers 3 --weights 'my weights'")
    runs, _ = split(started)
    assert len(runs) == RUNS[name]
    assert all(" --num_workers 3 --weights my weights --save_path " in line for line in runs)


def test_flags_are_known_to_what_looks_for_finished_runs(start, tmp_path):
    """The list of runs has them, and so the names of the runs."""
    start("selection", REAL="tools.todo", FLAGS="--bsize 7 --lr 0.5")
    plan = (tmp_path / "runs" / "runs.txt").read_text().splitlines()
    assert len(plan) == RUNS["selection"]
    configs = [parse_args(shlex.split(line)) for line in plan]
    assert all(config.bsize == 7 and "bsize-7" in config.exp_name for config in configs)


def test_the_labels_of_csl_are_drawn_where_the_flags_say(start):
    _, _, started = start("csl", DATASET="pascal", FLAGS="--lr 1 --data_root=/big", DRAWS="fpc=9")
    assert "-m data.observe pascal --fpc 9 --data_root /big" in started


def test_the_page_shows_how_the_network_of_table1_is_pretrained(usual):
    _, _, started = usual("table1")
    commands = started[:2]
    assert commands[0].startswith("-m data.digit_singles")
    page = re.sub(r"\\\n *", "", (ROOT / "docs" / "evidence.md").read_text())
    for command in commands:
        assert f"\npython {command.removesuffix(' --resume')}\n" in page


def test_the_results_of_a_folder_have_a_place_of_their_own(usual, tmp_path):
    """Named as its runs are; digits is a known set, /x/digits a folder."""
    places = set()
    for name in ("digits", "b/methods", "c/methods", "a b"):
        folder = tmp_path / "sets" / name
        folder.mkdir(parents=True)
        runs, _ = split(usual("selection", DATASET=str(folder), SEEDS="1")[2])
        (place,) = {line.split(" --save_path ")[1].split(" --resume")[0] for line in runs}
        places.add(place)
        named = run_name({"dataset": str(folder), "seed": 1}, {}).removesuffix("_seed1")
        assert place == f"results/folders/{named}/main"
    assert len(places) == 4
    _, _, started = usual("all", DATASET=str(folder), SEEDS="1")
    assert started[-1].endswith(f"--html results/report_{named}.html")


def test_a_name_is_a_known_set_or_else_a_folder(start, tmp_path):
    """The folder docs of the repository is one."""
    options = {"RESULTS": "", "ROOT": str(tmp_path), "SEEDS": "1"}
    (_, *_), _ = split(start("selection", DATASET="docs", **options)[2])
    (place,) = (tmp_path / "folders").iterdir()
    assert place.name.startswith("docs-")
    start("selection", DATASET="pascal", **options)
    assert (tmp_path / "pascal" / "main").is_dir()


@pytest.mark.parametrize("name", ["results", "table1", "sweep_delta_rel", "csl"])
def test_the_usual_runs_alone_are_written_into_pages_and_among_the_committed(usual, name):
    _, _, started = usual(name)
    assert any("--write " in line for line in started)
    assert name == "csl" or any("--out imgs/" in line for line in started)
    for own in ({"SEEDS": "4"}, {"FLAGS": "--lr 1"}, {"DELTAS": "7 8"}):
        status, _, started = usual(name, **own)
        assert status == 0
        assert not any("--write " in line or " imgs/" in line for line in started)
        runs = [line for line in started if line.startswith("main.py")]
        assert all(" --save_path results/own/" in line for line in runs)
        assert not any("--write " in line for line in usual(name, ROOT="results", **own)[2])


def test_other_sets_and_their_seeds_have_the_usual_folder(usual):
    runs, _ = split(usual("results", DATASET="pascal", SEEDS="0 1 2")[2])
    assert len(runs) == RUNS["results"]
    assert all(" --save_path results/pascal/main " in line for line in runs)


def test_tuning_has_a_seed_of_its_own_among_the_committed_runs(usual):
    runs, _ = split(usual("tune_methods")[2])
    assert all(" --save_path results/sweep_digits " in line for line in runs)


@pytest.mark.parametrize("name", ["suggest", "tune_methods"])
def test_what_is_about_digits_alone_refuses_another_set(start, name):
    status, error, started = start(name, DATASET="pascal")
    told = f"error: DATASET=pascal: scripts/{name}.sh is about digits alone\n"
    assert (status, error, started) == (2, told, [])


def test_suggest_trains_before_and_after_in_a_folder_with_spaces(start, tmp_path):
    folder = tmp_path / "my  runs"
    options = {"RESULTS": str(folder), "SEEDS": "1 2", "TOPS": "500", "JOBS": "2"}
    status, error, started = start("suggest", **options)
    assert (status, error) == (0, "")
    runs = [line for line in started if line.startswith("main.py")]
    assert all(line.endswith(f" --save_path {folder} --resume") for line in runs)
    names = [f"{when}_{method}_{seed}" for when in ("before", "after_500") for seed in (1, 2)
             for method in ("AN", "LL-R")]  # fmt: skip
    assert sorted(re.search(r"--exp_name (\S+)", line)[1] for line in runs) == sorted(names)
    assert sum(f"--dataset {folder}/data_500_" in line for line in runs) == 4
    assert sum(f"--config {folder}/before_" in line for line in runs) == 4
    table = f"{folder}/before_LL-R_2/suggestions/suggestions.csv"
    assert f"-m tools.apply {table} --accept_top 500 --out {folder}/data_500_2" in started


def test_suggest_names_what_failed_and_goes_on(start):
    status, error, started = start("suggest", fails="before_LL-R_1", SEEDS="1 2", TOPS="500")
    assert status == 1
    assert error.count("failed: ") == error.count("\n") == 2, "the run, and its suggestions"
    assert sum("--exp_name after_500_" in line and "_2 " in line for line in started) == 2
    assert not any("--exp_name after_500_" in line and "_1 " in line for line in started)
    assert started[-1].startswith("-m benchmarks.suggestions")


@pytest.mark.parametrize("name", ["results", "csl", "all"])
def test_data_that_is_missing_is_one_line_at_the_start(start, tmp_path, name):
    for dataset in (f"{tmp_path}/gone", "pascal", "pascl"):
        status, error, started = start(
            name, REAL="tools.todo", DATASET=dataset, FLAGS=f"--data_root {tmp_path}"
        )
        assert (status, started) == (2, [])
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert dataset in error


def test_a_sweep_of_what_is_there_already_takes_that(start, tmp_path):
    words = f"--mod_scheme LL-R --delta_rel 2 --seed 1 --save_path {tmp_path}/digits"
    config = parse_args(["--dataset", "digits", *words.split()])
    write_run(config.run_dir, **config.settings())
    status, error, started = start(
        "sweep_delta_rel", REAL="tools.todo", RESULTS="", ROOT=str(tmp_path), SCHEMES="LL-R",
        DELTAS="2", SEEDS="1",
    )  # fmt: skip
    assert (status, error) == (0, "note: a single value of delta_rel makes no figure\n")
    assert started == [f"-m tools.report {tmp_path}/digits"]


@pytest.mark.parametrize(
    ("name", "one", "several"),
    [
        ("sweep_delta_rel", {"DELTAS": "1"}, {"DELTAS": "1 2"}),
        ("train_share", {"SHARES": "0.5"}, {"SHARES": "0.5 0.25"}),
    ],
)
def test_a_single_value_makes_no_figure_and_is_no_failure(start, name, one, several):
    status, error, started = start(name, **one)
    assert status == 0
    assert error.startswith("note: a single ")
    assert error.count("\n") == 1
    assert not any("tools.figures" in line for line in started)
    _, _, started = start(name, **several)
    assert any(f"tools.figures {name.removeprefix('sweep_')}" in line for line in started)
