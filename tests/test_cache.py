"""Rows kept on disk or in memory, whole or not at all, and what names them."""

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import data.cache
from data.cache import Decoded, fingerprint, in_memory, keep_decoded, on_disk, union
from image_files import ImageFiles
from loaders import Array

ROWS = torch.arange(700, dtype=torch.float32).reshape(100, 7)
needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="needs fork")


def in_batches(rows=ROWS, log=None):
    """Make a function that gives the rows in batches, and writes to `log` that it was called."""

    def make():
        if log:
            with log.open("a") as file:
                file.write("made\n")
        yield from rows.split(30)

    return make


def never():
    raise AssertionError("it is there already")
    yield


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def child(function, *args):
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    return process


# Rows on disk


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(100, 7), (20, 5, 7), (1, 700)])
def test_rows_are_made_once_in_their_shape_and_type(tmp_path, dtype, shape):
    rows, path = (ROWS % 256).to(dtype).reshape(shape), tmp_path / "new" / "rows.npy"
    for make in (in_batches(rows), never):
        kept = on_disk(path, len(rows), make)
        assert kept.dtype == dtype
        assert torch.equal(kept, rows)
    assert names_in(path.parent) == ["rows.lock", "rows.npy"]
    in_one = in_memory(len(rows), in_batches(rows))
    assert in_one.dtype == dtype
    assert torch.equal(in_one, rows)


def test_nobody_writes_to_the_file_by_way_of_the_rows(tmp_path):
    path = tmp_path / "rows.npy"
    on_disk(path, 100, in_batches())[:] = 5
    assert torch.equal(on_disk(path, 100, never), ROWS)


@pytest.mark.parametrize(
    "content",
    [
        lambda before: b"",
        lambda before: before[:50],
        lambda before: before[:-1],
        lambda before: b"hello" + before,
        lambda before: before.replace(b"(100,", b"( 10,"),
    ],
    ids=["empty", "half a header", "a byte too short", "something else", "fewer rows"],
)
def test_a_file_that_is_not_whole_is_made_again(tmp_path, content):
    path, log = tmp_path / "rows.npy", tmp_path / "log"
    on_disk(path, 100, in_batches())
    path.write_bytes(content(path.read_bytes()))
    assert torch.equal(on_disk(path, 100, in_batches(log=log)), ROWS)
    assert log.read_text() == "made\n"


def test_a_file_that_is_there_needs_no_lock(tmp_path, monkeypatch):
    """The folder may be a shared one that this user can only read."""
    on_disk(tmp_path / "rows.npy", 100, in_batches())

    def refuse(*args, **options):
        raise PermissionError

    monkeypatch.setattr(data.cache, "locked", refuse)
    assert torch.equal(on_disk(tmp_path / "rows.npy", 100, never), ROWS)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_what_stops_the_making_leaves_nothing(tmp_path, error):
    def stopped():
        yield ROWS[:30]
        assert [name for name in names_in(tmp_path) if name.endswith(".tmp")]
        raise error

    with pytest.raises(error):
        on_disk(tmp_path / "rows.npy", 100, stopped)
    assert names_in(tmp_path) == ["rows.lock"]


@needs_fork
def test_a_writer_that_is_killed_leaves_nothing_half(tmp_path):
    path = tmp_path / "rows.npy"

    def killed():
        yield ROWS[:30]
        os.kill(os.getpid(), signal.SIGKILL)

    process = child(on_disk, path, 100, killed)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert names_in(tmp_path) == [f".rows.npy.{process.pid}.tmp", "rows.lock"]
    assert torch.equal(on_disk(path, 100, in_batches()), ROWS)
    assert names_in(tmp_path) == ["rows.lock", "rows.npy"]


@needs_fork
def test_of_processes_that_start_together_one_makes_the_rows(tmp_path):
    path, log = tmp_path / "rows.npy", tmp_path / "log"
    barrier = multiprocessing.get_context("fork").Barrier(3)

    def slowly():
        for batch in in_batches(log=log)():
            time.sleep(0.1)
            yield batch

    def want():
        barrier.wait(30)
        assert torch.equal(on_disk(path, 100, slowly), ROWS)

    processes = [child(want) for _ in range(3)]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "made\n"


@needs_fork
def test_of_four_that_start_together_the_one_that_makes_them_is_killed(tmp_path):
    """In the middle of its work: another of them makes the rows, and all that live have them."""
    path, log = tmp_path / "rows.npy", tmp_path / "log"
    barrier = multiprocessing.get_context("fork").Barrier(4)

    def slowly():
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        for batch in in_batches()():
            yield batch
            time.sleep(0.2)

    def want():
        barrier.wait(30)
        assert torch.equal(on_disk(path, 100, slowly), ROWS)

    processes = {process.pid: process for process in (child(want) for _ in range(4))}
    while not list(tmp_path.glob(".rows.npy.*.tmp")):
        time.sleep(0.01)
    maker = int(log.read_text())
    os.kill(maker, signal.SIGKILL)
    for process in processes.values():
        process.join(30)
    assert processes.pop(maker).exitcode == -signal.SIGKILL
    assert [process.exitcode for process in processes.values()] == [0, 0, 0]
    first, second = map(int, log.read_text().split())
    assert first == maker
    assert second in processes, "one of the others, once"
    assert torch.equal(on_disk(path, 100, never), ROWS)
    assert names_in(tmp_path) == ["log", "rows.lock", "rows.npy"]


@needs_fork
def test_without_locks_two_writers_do_not_mix(tmp_path, monkeypatch):
    """On a disk that knows none, a second writer begins while the first is half way."""
    monkeypatch.setattr(data.cache, "locked", lambda path, wait: contextlib.nullcontext())
    path = tmp_path / "rows.npy"

    def overtaken():
        yield ROWS[:30]
        other = child(on_disk, path, 100, killed)
        other.join(30)
        assert other.exitcode == -signal.SIGKILL
        yield ROWS[30:]

    def killed():
        yield ROWS[:30]
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        assert torch.equal(on_disk(path, 100, overtaken), ROWS)
    except FileNotFoundError:  # the other one took it for a leftover: no file, an error
        assert not path.exists()
    assert torch.equal(on_disk(path, 100, in_batches()), ROWS)


# A full disk


@contextlib.contextmanager
def small_files():
    """Within this no file may grow beyond 1,000 bytes: what pytest prints may go to one too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path):
    with small_files(), pytest.raises(OSError, match="too large"):
        on_disk(tmp_path / "rows.npy", 100, in_batches())
    assert names_in(tmp_path) == ["rows.lock"]


def test_a_disk_without_room_is_an_error_before_the_work(tmp_path, monkeypatch):
    made = []

    def make():
        for batch in in_batches()():
            made.append(len(batch))
            yield batch

    class Usage:
        free = 2799

    monkeypatch.setattr(data.cache.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(OSError, match=r"has no room for 0.0 GB"):
        on_disk(tmp_path / "rows.npy", 100, make)
    assert made == [30]
    Usage.free = 2800
    assert torch.equal(on_disk(tmp_path / "rows.npy", 100, make), ROWS)


# What splits are cut from


def pictures(folder, names):
    for place, name in enumerate(names):
        Image.new("RGB", (4, 4), (10 * place, 0, 0)).save(folder / name, format="PNG")
    return ImageFiles(folder, np.array(names), size=4)


def test_another_cut_of_files_has_the_same_union(tmp_path):
    files = pictures(tmp_path, [f"{place}.png" for place in (3, 0, 2, 1, 5, 4)])
    for cut in ([0, 1, 2, 3], [4, 5]), ([5, 3], [0, 2, 4, 1]):
        splits = [files.take(np.array(places)) for places in cut]
        whole, places = union(splits)
        assert whole.names.tolist() == [f"{place}.png" for place in range(6)]
        for split, own in zip(splits, places, strict=True):
            assert whole.take(own).names.tolist() == split.names.tolist()


def test_the_union_of_rows_has_only_those_that_count():
    rows = Array(torch.arange(20)).take(np.array([9, 3, 5, 1, 7]))
    whole, (first, second) = union([rows.take(np.array([0, 4])), rows.take(np.array([2, 3]))])
    assert whole.places.tolist() == [1, 5, 7, 9]
    assert (whole.take(first).places.tolist(), whole.take(second).places.tolist()) == (
        [9, 7],
        [5, 1],
    )


def test_splits_of_different_images_have_no_union():
    with pytest.raises(AssertionError):
        union([Array(torch.zeros(3)), Array(torch.zeros(3))])


# Fingerprints


@pytest.fixture
def files(tmp_path):
    return pictures(tmp_path, ["a.png", "b.png", "c.png"])


def test_a_file_that_changes_changes_the_fingerprint(files):
    found = [fingerprint(files)]
    path = files.folder / "b.png"
    times = path.stat().st_mtime_ns
    os.utime(path, ns=(times, times + 1))
    found.append(fingerprint(files))
    path.write_bytes(path.read_bytes() + b"0")
    os.utime(path, ns=(times, times))
    found.append(fingerprint(files))
    path.unlink()
    found.append(fingerprint(files))
    found.append(fingerprint(ImageFiles(files.folder, files.names, 5)))
    found.append(fingerprint(files.take(np.array([0, 2]))))
    found.append(fingerprint(files.take(np.array([2, 0]))))
    assert len(set(found)) == 7


def test_a_pixel_that_changes_changes_the_fingerprint():
    rows = torch.zeros(200, 3, 2, 2, dtype=torch.uint8)
    every = np.arange(200)
    same = [fingerprint(Array(rows)), fingerprint(Array(rows[1:])), fingerprint(Array(rows.int()))]
    assert len(set(same)) == 3
    assert fingerprint(Array(rows).take(every[::-1].copy())) == same[0]
    changed = rows.clone()
    changed[150, 2, 1, 1] = 1
    assert fingerprint(Array(changed)) != same[0]
    but = np.delete(every, 150)
    assert fingerprint(Array(changed).take(but)) == fingerprint(Array(rows).take(but))


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_decoded_images_have_the_fingerprint_of_their_files(files, mode):
    decoded = keep_decoded(files, mode, files.folder / "cache", 0)
    assert isinstance(decoded, Decoded)
    assert fingerprint(decoded) == fingerprint(files)
    some = np.array([2, 0])
    assert fingerprint(decoded.take(some)) == fingerprint(files.take(some))
    last = np.array([1])
    twice = decoded.take(some).take(last)
    assert fingerprint(twice) == fingerprint(files.take(some).take(last))
    assert torch.equal(
        decoded.take(some).__getitems__([0, 1])[0][:, 0, 0, 0], torch.tensor([20, 0])
    )


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff.png"), "a" * 300, "gone.png", "\ud800"])
def test_a_name_of_any_kind_has_a_fingerprint(tmp_path, name):
    """What cannot be read is said where it is decoded."""
    assert len(fingerprint(ImageFiles(tmp_path, np.array([name]), 4))) == 32


@needs_fork
def test_a_file_whose_name_is_no_utf8_is_kept(tmp_path):
    files = pictures(tmp_path, [os.fsdecode(b"\xff.png"), "b.png"])
    kept = keep_decoded(files, "disk", tmp_path / "cache", 0)
    assert kept.__getitems__([0, 1])[0][:, 0, 0, 0].tolist() == [0, 10]


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_where_there_is_no_room_the_images_stay_files(files, mode, monkeypatch, capsys):
    def fail(*args):
        raise (RuntimeError if mode == "memory" else OSError)("no room\x1b")

    monkeypatch.setattr(data.cache, "in_memory" if mode == "memory" else "on_disk", fail)
    assert keep_decoded(files, mode, Path("nowhere"), 0) is files
    assert capsys.readouterr().err == "warning: no cache, 0.0 GB are needed: no room\\x1b\n"
