"""Files that are whole or not there, and locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import UserError
from files import locked, write_atomically

ROOT = Path(__file__).parents[1]


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for content in (b"first", b"second"):
        write_atomically(path, lambda file, content=content: file.write(content))
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")

    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        write_atomically(tmp_path / "a.txt", lambda file: None)


def test_a_parent_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_atomically(tmp_path / "a" / "b.txt", lambda file: None)


def test_a_lock_is_held_once_and_ends_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    program = (
        "import sys, time, pathlib, files\n"
        "with files.locked(pathlib.Path(sys.argv[1]), wait=False):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        other.kill()
    with locked(path, wait=False):
        pass
