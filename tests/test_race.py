"""Two processes that want one folder, and the lock of one that was killed."""

import multiprocessing
import sys
from functools import partial

import pytest

import run
from tests import tiny
from tests.faults import KILLED, Fault, start
from tests.kills import Cell, differences, make_reference

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a fork server")

ROUNDS = 20
QUICK = Cell("LL-R", "features, sgd")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    root = tmp_path_factory.mktemp("reference")
    return make_reference(QUICK, tiny.make_folder(root), root)


def meet_at_the_lock(barrier):
    """Let this process wait for the other one just before it takes the folder's lock."""
    lock = run.lock

    def together(*args):
        barrier.wait(60)
        lock(*args)

    run.lock = together


@pytest.mark.parametrize("number", range(ROUNDS))
def test_of_two_processes_started_together_exactly_one_trains(reference, tmp_path, number):
    barrier = multiprocessing.get_context("forkserver").Barrier(2)
    words, folder = QUICK.words(reference.data, tmp_path), tmp_path / "run"
    meet = partial(meet_at_the_lock, barrier)
    pair = [start(words, tmp_path / name, folder, before=meet) for name in "ab"]
    loser, winner = sorted(pair, key=lambda process: process.status() == 0)

    assert (winner.status(), winner.err) == (0, "")
    assert loser.status() == 2
    assert loser.err.startswith(f"error: another process trains in {folder}")
    assert loser.err.count("\n") == 1
    assert differences(reference.folder, folder) == []


@pytest.mark.parametrize("variant", ["files, adam", "files, 2 workers, sgd"])
def test_a_killed_process_leaves_no_lock_behind(reference, tmp_path, variant):
    """Not even in the processes that read its images, which outlive it for seconds."""
    cell, folder = Cell("LL-R", variant), tmp_path / "run"
    killed = start(
        cell.words(reference.data, tmp_path), tmp_path / "a", folder, Fault("last.pt", "renamed", 1)
    )
    assert killed.status() == KILLED
    resumed = start(cell.words(reference.data, tmp_path, "--resume"), tmp_path / "b", folder)
    assert resumed.status() == 0, resumed.err
    assert "resumed after epoch 2" in resumed.out
