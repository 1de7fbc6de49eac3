"""The folder of a run: what marks it as one, its lock, and that only a run's files are removed."""

import contextlib
import os

import pytest

from cli import UserError
from folder import BEST, LAST, PREVIOUS, clear, is_started, lock
from tests.tiny import locked_by_another


@pytest.mark.parametrize(
    ("name", "started"),
    [(LAST, True), (PREVIOUS, True), ("summary.json", True), ("config.json", False), (BEST, False)],
)
def test_a_run_is_started_once_an_epoch_is_finished(tmp_path, name, started):
    assert not is_started(tmp_path / "nowhere")
    assert not is_started(tmp_path)
    (tmp_path / name).touch()
    assert is_started(tmp_path) == started


OF_A_RUN = (LAST, PREVIOUS, BEST, "summary.json", "metrics.csv", "train.log", "curves.png")


def test_clear_removes_the_files_of_a_run_and_nothing_else(tmp_path):
    others = ("notes.txt", "mine.pt", "last.pt.bak", "summary.json.old")
    for name in (*OF_A_RUN, *others):
        (tmp_path / name).write_text(name)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events.out.tfevents.1").touch()
    (tmp_path / "tensorboard" / "mine").touch()
    clear(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([*others, "tensorboard"])
    assert all((tmp_path / name).read_text() == name for name in others)
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == ["mine"]
    assert not is_started(tmp_path)
    clear(tmp_path)  # nothing there is fine


@pytest.mark.parametrize("name", [".lock", LAST, "train.log", "config.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_no_run_writes_is_neither_followed_nor_waited_for(tmp_path, name, kind):
    precious, path = tmp_path / "precious", tmp_path / "run" / name
    precious.write_text("precious")
    path.parent.mkdir()
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path),
     "link": lambda: path.symlink_to(precious)}[kind]()  # fmt: skip
    with contextlib.ExitStack() as held, pytest.raises(UserError, match=f"{name} is no plain file"):
        lock(tmp_path / "run", held)
    assert precious.read_text() == "precious"


def test_a_folder_is_locked_and_tidied(tmp_path):
    (tmp_path / ".last.pt.7.tmp").touch()
    with locked_by_another(tmp_path / ".lock"), contextlib.ExitStack() as held:
        with pytest.raises(UserError, match="another process trains in"):
            lock(tmp_path, held)
        assert (tmp_path / ".last.pt.7.tmp").exists()
    with contextlib.ExitStack() as held:
        lock(tmp_path, held)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_below_a_file_is_one_line(tmp_path):
    (tmp_path / "a").touch()
    with contextlib.ExitStack() as held, pytest.raises(UserError, match="cannot make the folder"):
        lock(tmp_path / "a" / "run", held)
