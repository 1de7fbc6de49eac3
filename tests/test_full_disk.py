"""A disk that is full, or may not be written: one line, and after that --resume goes on."""

import csv
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests import tiny
from tests.faults import KILLED, Fault, start
from tests.kills import Cell, broken_promises, differences, make_reference

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a fork server")

ROOT = Path(__file__).parents[1]
CELL = Cell("LL-Cp", "features, sgd")
FILES = (
    "config.json", "last.pt", "bestmodel.pt", "metrics.csv", "train.log", "curves.png",
    "summary.json",
)  # fmt: skip
MEGABYTE = 10**6
WITHOUT_POWERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    root = tmp_path_factory.mktemp("reference")
    return make_reference(CELL, tiny.make_folder(root), root)


def assert_one_line(status, err, words):
    assert status == 2, err
    assert words in err
    assert (err[:7], err.count("\n")) == ("error: ", 1), err


def assert_goes_on(reference, root, *more):
    """What lies there is whole, and --resume makes it the undisturbed run."""
    folder = root / "run"
    assert list(folder.glob(".*.tmp")) == []
    assert broken_promises(folder) == []
    words = CELL.words(reference.data, root, "--resume", *more)
    resumed = start(words, root / "resumed", folder)
    assert resumed.status() == 0, resumed.err
    assert differences(reference.folder, folder) == []


@pytest.mark.parametrize("file", FILES)
def test_a_disk_that_fills_up_within_a_file_is_one_line(reference, tmp_path, file):
    number = reference.events.count((file, "half")) // 2
    folder = tmp_path / "run"
    words = CELL.words(reference.data, tmp_path)
    failed = start(words, tmp_path / "failed", folder, Fault(file, "half", number, full=True))
    cause = f"cannot write {folder / file}: No space left on device"
    assert_one_line(failed.status(), failed.err, cause)
    assert_goes_on(reference, tmp_path)


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
def test_a_disk_that_fills_up_within_the_events_is_one_line(reference, tmp_path):
    folder, words = tmp_path / "run", CELL.words(reference.data, tmp_path, "--tensorboard")
    failed = start(words, tmp_path / "failed", folder, Fault("events", "half", 2, full=True))
    assert_one_line(failed.status(), failed.err, "No space left on device")
    shutil.rmtree(folder / "tensorboard")
    assert_goes_on(reference, tmp_path)


@pytest.mark.parametrize(
    ("file", "limit"),
    [
        ("config.json", 1000),
        ("last.pt", MEGABYTE),
        ("bestmodel.pt", MEGABYTE),
        ("curves.png", MEGABYTE // 20),
    ],
)
def test_a_file_that_the_kernel_lets_grow_no_more_is_one_line(reference, tmp_path, file, limit):
    """Larger files come first in a run: it is killed before this one, and resumed with a limit."""
    folder, words = tmp_path / "run", CELL.words(reference.data, tmp_path)
    killed = start(words, tmp_path / "killed", folder, Fault(file, "half"))
    assert killed.status() == KILLED
    least = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    failed = start([*words, "--resume"], tmp_path / "failed", folder, before=least)
    cause = f"cannot write {folder / file}: File too large"
    assert_one_line(failed.status(), failed.err, cause)
    assert_goes_on(reference, tmp_path)


def can_mount(root):
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_a_full_file_system_is_one_line_and_goes_on_once_it_is_larger(reference, tmp_path):
    """It holds the checkpoints of one epoch; a folder in it is seen in its own namespace alone."""
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()
    if not can_mount(disk):
        pytest.skip("no file system may be mounted here")
    program = (
        "disk=$1 kept=$2; shift 2; mount -t tmpfs -o size=3m tmpfs $disk || exit\n"
        '"$@" 2> $kept/err; echo $? > $kept/status; cp -r $disk/run $kept/failed\n'
        'mount -o remount,size=64m $disk; "$@" --resume || exit; cp -r $disk/run $kept/whole\n'
    )
    main = [sys.executable, "main.py", *CELL.words(reference.data, disk)]
    command = ["unshare", "-rm", "sh", "-c", program, "sh", str(disk), str(kept), *main]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    err = (kept / "err").read_text()
    assert_one_line(int((kept / "status").read_text()), err, "No space left on device")
    assert broken_promises(kept / "failed") == []
    assert [row["epoch"] for row in rows(kept / "failed")] == ["1"]
    (kept / "whole" / "train.log").write_text("")  # it names a folder of this test alone
    assert differences(reference.folder, kept / "whole") == []


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_standard_output_is_one_line(reference, tmp_path, buffered):
    command = [sys.executable, "main.py", *CELL.words(reference.data, tmp_path)]
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert_one_line(done.returncode, done.stderr, "standard output: No space left on device")
    assert_goes_on(reference, tmp_path)


@pytest.mark.parametrize("place", [".", "run"])
def test_a_folder_that_may_not_be_written_is_one_line(reference, tmp_path, place):
    root = os.geteuid() == 0
    if root and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and setpriv is not there to change that")
    (tmp_path / "run").mkdir()
    if place == ".":
        (tmp_path / "run").rmdir()
    (tmp_path / place).chmod(0o555)
    main = [sys.executable, "main.py", *CELL.words(reference.data, tmp_path)]
    done = subprocess.run([*WITHOUT_POWERS * root, *main], cwd=ROOT, capture_output=True, text=True)
    (tmp_path / place).chmod(0o755)
    assert_one_line(done.returncode, done.stderr, f"{tmp_path / 'run'}: Permission denied")
