"""Files that are whole or not there, and locks."""

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from cli import UserError
from files import (
    append_line,
    check_writable,
    is_locked,
    locked,
    read_json,
    remove_temporaries,
    replace_together,
    write_atomically,
)
from tests.tiny import locked_by_another


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


def test_where_files_can_be_put_is_found_out_without_a_trace(tmp_path):
    (tmp_path / "a").write_text("")
    for path, is_folder in (("a", False), ("new", True), ("new/b", False), (".", True)):
        check_writable(tmp_path / path, is_folder)
    for path, is_folder in (("a/b", False), ("a", True), ("a/b", True), (".", False)):
        with pytest.raises(UserError, match="cannot write"):
            check_writable(tmp_path / path, is_folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_what_is_no_regular_file_is_never_replaced():
    with pytest.raises(UserError, match=f"cannot write {os.devnull}: it is no regular file"):
        check_writable(Path(os.devnull))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_file_system_that_takes_no_files_is_found_out_even_by_root():
    for is_folder in (False, True):
        with pytest.raises(UserError, match="cannot write /proc/x: "):
            check_writable(Path("/proc/x"), is_folder)


def test_a_lock_is_held_once_and_ends_with_its_process(tmp_path):
    path = tmp_path / ".lock"
    with locked_by_another(path) as other:
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        other.kill()
        other.wait()
        with locked(path, wait=False):
            pass


def test_a_lock_that_another_holds_is_seen_and_stays(tmp_path):
    path = tmp_path / ".lock"
    with locked_by_another(path) as other:
        for _ in range(2):
            assert is_locked(path)
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        other.kill()
        other.wait()
        assert not is_locked(path)


@pytest.mark.parametrize("kind", ["missing", "file", "folder", "link", "pipe", "below a file"])
def test_what_nobody_holds_is_not_locked_and_not_made(tmp_path, kind):
    path = tmp_path / "a" if kind != "below a file" else tmp_path / "file" / "a"
    (tmp_path / "file").touch()
    {"folder": path.mkdir, "file": path.touch, "pipe": lambda: os.mkfifo(path),
     "link": lambda: path.symlink_to("nowhere")}.get(kind, str)()  # fmt: skip
    before = sorted(tmp_path.iterdir())
    assert not is_locked(path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("error", "held"),
    [
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), True),
        (PermissionError(errno.EACCES, "Permission denied"), True),  # as some systems say it
        (OSError(errno.ENOLCK, "No locks available"), False),
    ],
)
def test_whatever_a_system_says_of_a_lock_is_understood(tmp_path, monkeypatch, error, held):
    def refuse(file, operation):
        raise error

    (tmp_path / ".lock").touch()
    monkeypatch.setattr("fcntl.lockf", refuse)
    assert is_locked(tmp_path / ".lock") is held


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_lock_that_may_not_be_read_is_no_lock(tmp_path):
    (tmp_path / ".lock").touch(0o000)
    assert not is_locked(tmp_path / ".lock")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_have_the_lock(tmp_path):
    """Loader workers are forked, and outlive a run that is killed for some seconds."""
    path, context = tmp_path / ".lock", multiprocessing.get_context("fork")
    with locked(path, wait=False):
        child = context.Process(target=time.sleep, args=(60,))
        child.start()
    with locked_by_another(path):
        pass
    child.kill()
    child.join()


def test_something_can_be_done_once_the_new_file_is_on_the_disk(tmp_path):
    path, seen = tmp_path / "a", []
    path.write_bytes(b"1")

    def look():
        seen.append(path.read_bytes())

    write_atomically(path, lambda file: file.write(b"2"), look)
    assert (path.read_bytes(), seen) == (b"2", [b"1"])
    with pytest.raises(UserError):
        write_atomically(path, fail_after_half, look)
    assert (path.read_bytes(), seen) == (b"2", [b"1"])


def fail_after_half(file):
    file.write(b"half")
    raise OSError(28, "No space left on device")


def test_nothing_is_renamed_before_it_is_on_the_disk(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os if name == "fsync" else Path, name)

        def noted(*args, name=name, real=real):
            done.append(name)
            return real(*args)

        monkeypatch.setattr(os if name == "fsync" else Path, name, noted)
    write_atomically(tmp_path / "a", lambda file: file.write(b"1"))
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_lines_are_appended_whole(tmp_path, monkeypatch):
    path = tmp_path / "log"
    append_line(path, "first")
    append_line(path, "zweite Zeile: \u00fc \udc80")
    before = path.read_bytes()
    assert before == "first\nzweite Zeile: ü \\udc80\n".encode()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match="No space left on device"):
            append_line(path, "third")
    assert path.read_bytes() == before
    path.write_bytes(before + b"half a li")  # cut off by a power loss
    append_line(path, "third")
    assert path.read_bytes() == before + b"third\n"


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    left, others = (".last.pt.77.tmp", ".a.1.tmp"), ("mine.tmp", ".lock", "last.pt", ".a.tmp.txt")
    for name in (*left, *others):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys):
    """As some parallel file systems of clusters are mounted."""

    def refuse(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with locked(tmp_path / ".lock", wait=False):
        pass
    assert "without locks" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_cannot_be_read_is_one_line(tmp_path, kind):
    path = tmp_path / "x.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(UserError, match=r"x.json"):
        read_json(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000])
def test_what_is_no_json_object_is_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"x.json (is no JSON|is no UTF-8|must hold)"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("ending", ["raised", "killed"])
@pytest.mark.parametrize("number", range(5))
def test_files_are_replaced_together(tmp_path, monkeypatch, ending, number):
    """Two files are flushed, then the folder before, between and after they take their places."""
    names, marker, stale = ("a", "b"), tmp_path / ".marker", tmp_path / "stale"
    for path in (tmp_path / "a", tmp_path / "b", stale):
        path.write_bytes(b"old")
    writes = {tmp_path / name: lambda file: file.write(b"new") for name in names}
    flush, calls = os.fsync, iter(range(number))

    def strike(handle):
        if next(calls, None) is None:
            if ending == "killed":
                os._exit(9)
            raise OSError(errno.EIO, "Input/output error")
        flush(handle)

    if ending == "raised":
        monkeypatch.setattr(os, "fsync", strike)
        with pytest.raises(UserError, match="Input/output error"):
            replace_together(writes, [stale], marker)
    elif not (child := os.fork()):
        os.fsync = strike
        try:
            replace_together(writes, [stale], marker)
        finally:
            os._exit(0)
    else:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    is_new = number >= 3
    assert {(tmp_path / name).read_bytes() for name in names} == {b"new" if is_new else b"old"}
    assert stale.exists() != is_new
    assert marker.exists() == (number == 3 or (number == 2 and ending == "killed"))
