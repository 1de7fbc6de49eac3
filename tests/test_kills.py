"""Runs that are killed: nothing is half written, and --resume gives the undisturbed run."""

import itertools
import random
import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import tiny
from tests.faults import KILLED, KINDS, Fault, start
from tests.kills import (
    AT_ONCE,
    RANDOM,
    Cell,
    broken_promises,
    gather,
    kill_and_resume,
    make_reference,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a fork server")

ATOMIC = (
    "config.json", "last.pt", "bestmodel.pt", "metrics.csv", "curves.png", "summary.json",
)  # fmt: skip
EVENTS = {
    **{file: set(KINDS) for file in ATOMIC},
    "last.previous.pt": {"rename", "renamed"},
    "train.log": {"half", "fsync"},
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An undisturbed run in which each epoch is better than the one before."""
    root = tmp_path_factory.mktemp("reference")
    return make_reference(Cell("LL-Cp", "features, sgd"), tiny.make_folder(root), root)


def assert_survives(reference, root, *strikes):
    trial = kill_and_resume(reference, root, strikes, random.Random(0))
    assert trial.kills == [strike.file for strike in strikes]
    assert trial.faults == []


def test_the_faults_reach_every_file_that_a_run_leaves(reference):
    files = {path.name for path in reference.folder.iterdir()} - {".lock"}
    assert reference.events.count(("bestmodel.pt", "half")) >= 2  # the first, and a better one
    assert {file for file, _ in reference.events} == files == set(EVENTS)
    for file, kinds in EVENTS.items():
        assert {kind for name, kind in reference.events if name == file} == kinds, file


@pytest.mark.parametrize("file", EVENTS)
def test_a_kill_inside_a_write_costs_nothing_that_was_finished(reference, tmp_path, file):
    """In the middle of the run if the file is written often; before fsync is as before rename."""
    kinds = sorted(EVENTS[file] - {"fsync"})
    times = {kind: reference.events.count((file, kind)) for kind in kinds}
    faults = [Fault(file, kind, times[kind] // 2) for kind in kinds]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        places = (tmp_path / fault.kind for fault in faults)
        list(pool.map(assert_survives, itertools.repeat(reference), places, faults))


def test_a_kill_in_the_last_line_of_the_log_leaves_no_half_line(reference, tmp_path):
    lines = reference.events.count(("train.log", "half"))
    assert_survives(reference, tmp_path, Fault("train.log", "half", lines - 1))


@pytest.mark.parametrize("kind", ["half", "fsync"])
@pytest.mark.parametrize("full", [False, True])
def test_an_overwritten_run_stands_until_a_checkpoint_of_the_new_one_is_whole(
    reference, tmp_path, kind, full
):
    folder = tmp_path / "run"
    shutil.copytree(reference.folder, folder)
    words = reference.cell.words(reference.data, tmp_path, "--overwrite", "--seed", "7")
    struck = start(words, tmp_path / "a", folder, Fault("last.pt", kind, 0, full=full))
    assert struck.status() == (2 if full else KILLED), struck.err
    for path in reference.folder.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_lost_best_model_is_restored_though_that_too_is_killed(reference, tmp_path):
    """The last epoch is the best, and its checkpoint the only file that holds those weights."""
    times = reference.events.count(("bestmodel.pt", "half"))
    strikes = Fault("bestmodel.pt", "half", times - 1), Fault("bestmodel.pt", "rename", 0)
    assert_survives(reference, tmp_path, *strikes)


def test_runs_killed_at_random_moments_and_in_random_writes_end_as_if_undisturbed(tmp_path):
    cells = [Cell("LL-Cp", "files, 2 workers, sgd"), Cell("LL-R", "files, adam")]
    trials = gather(cells, kills=8, seed=1, root=tmp_path)
    assert [trial.faults for trial in trials if trial.faults] == []
    kills = Counter(kill for trial in trials for kill in trial.kills)
    assert kills.total() >= 8
    assert 0 < kills[RANDOM] < kills.total()


@pytest.mark.parametrize("file", ["last.pt", "metrics.csv", "config.json", "curves.png"])
def test_a_half_file_breaks_the_promise(reference, tmp_path, file):
    content = (reference.folder / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    assert any(f"{file} is damaged" in fault for fault in broken_promises(tmp_path))
