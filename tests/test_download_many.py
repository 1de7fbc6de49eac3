"""Many small files from the web: an answer for each, whatever the servers do."""

import errno
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import stopping
from cli import UserError
from data import download_many
from data.download_many import Answer, Job
from data.web import Remote
from tests.servers import by_path, hang_up, redirect, running, served, silent, status

ROOT = Path(__file__).parents[1]
BODY = random.Random(1).randbytes(20_000)
MD5 = hashlib.md5(BODY).hexdigest()
PROGRAM = """
import cli, itertools, stopping, sys
from pathlib import Path
from data.web import Remote
from data.download_many import Job, fetch_many

def main(words):
    jobs = (Job(Path(words[1]) / f"{n}.jpg", (Remote(words[0]),)) for n in itertools.count())
    options = dict(workers=4, attempts=3, pause=0.01, timeout=60, check=lambda body: "")
    with stopping.at_next_step():
        for answer in fetch_many(jobs, **options):
            print("one", flush=True)

sys.exit(cli.run(main))
"""


def accept(body):
    return ""


fetch_many = partial(
    download_many.fetch_many, workers=4, attempts=3, pause=0.001, timeout=30, check=accept
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with running(BODY) as server:
        yield server


def only_answer(folder, *remotes, **options):
    """The reason why `folder`/a.jpg is not there; it is whole or not there."""
    path = folder / "a.jpg"
    [answer] = fetch_many([Job(path, remotes)], **options)
    assert answer.path == path
    assert path.exists() == (answer.reason == "")
    if path.exists():
        assert path.read_bytes() == BODY
    assert {entry.name for entry in folder.iterdir()} <= {"a.jpg"}
    return answer.reason


def test_every_file_gets_its_answer(server, tmp_path):
    jobs = [Job(tmp_path / str(n % 7) / f"{n}.jpg", (Remote(server.url()),)) for n in range(50)]
    assert sorted(fetch_many(jobs)) == sorted(Answer(job.path, "") for job in jobs)
    assert {job.path.read_bytes() for job in jobs} == {BODY}
    assert len(list(tmp_path.rglob("*.*"))) == len(server.requests) == 50


def test_what_is_there_is_answered_without_a_request(server, tmp_path):
    (tmp_path / "a.jpg").write_bytes(BODY)
    assert only_answer(tmp_path, Remote(server.url())) == ""
    assert server.requests == []


@pytest.mark.parametrize("step", [status(503), status(429), hang_up, served(cut=100)])
def test_what_may_pass_is_tried_again(server, tmp_path, step):
    server.script = [step, step, served()]
    assert only_answer(tmp_path, Remote(server.url())) == ""
    (tmp_path / "a.jpg").unlink()
    server.script = [step]
    server.requests.clear()
    assert only_answer(tmp_path, Remote(server.url())) != ""
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("step", "tries"),
    [
        (status(404), 1),
        (status(416), 1),
        (status(500), 3),
        (served(body=b"other"), 1),
        (redirect("/photo_unavailable.png"), 1),
        (redirect("file:///etc/hostname"), 1),
    ],
)
def test_the_next_address_is_tried_where_one_does_not_have_it(server, tmp_path, step, tries):
    steps = {"/1": step, "/2": served(), "/photo_unavailable.png": served(body=b"grey")}
    server.script = [by_path(steps)]
    first, second = Remote(server.url("1"), md5=MD5), Remote(server.url("2"), md5=MD5)
    assert only_answer(tmp_path, first, second) == ""
    asked = [path for path, *_ in server.requests]
    assert (asked.count("/1"), asked.count("/2")) == (tries, 1)


def test_the_answer_says_why_each_address_did_not_do(server, tmp_path):
    gone, removed, other = (Remote(server.url(name)) for name in "123")
    steps = {
        "/1": status(410),
        "/2": redirect("/en/photo_unavailable.png?x"),
        "/en/photo_unavailable.png?x": served(),
        "/3": served(body=b"GIF"),
    }
    server.script = [by_path(steps)]

    def check(body):
        return "it is no image" if body == b"GIF" else ""

    reason = only_answer(tmp_path, gone, gone, removed, other, check=check)
    assert reason == "the server answers 410 Gone; it was removed; it is no image"
    assert only_answer(tmp_path) == "no address is known"
    assert "no address of the web" in only_answer(tmp_path, Remote("http://a/b c"))


@pytest.mark.parametrize("code", [206, 416])
def test_a_part_of_a_file_is_not_the_file(server, tmp_path, code):
    server.script = [status(code)]
    assert only_answer(tmp_path, Remote(server.url())) == f"the server answers {code}"


@pytest.mark.parametrize("facts", [{}, {"size": len(BODY)}, {"md5": MD5}])
def test_half_a_file_is_refused_though_the_server_does_not_say_how_long_it_is(
    server, tmp_path, facts
):
    server.script = [served(cut=100, length=False)]
    assert only_answer(tmp_path, Remote(server.url(), **facts)) != ""
    server.script = [served(length=False)]
    reason = only_answer(tmp_path, Remote(server.url(), **facts))
    assert reason == ("" if facts else reason)
    assert ("does not say how long" in reason) == (not facts)


@pytest.mark.parametrize(
    ("reason", "gone"),
    [
        ("it was removed", True),
        ("no address is known", True),
        ("the server answers 404 Not Found; the server answers 410 Gone; it was removed", True),
        ("the server answers 404 Not Found; the server answers 503 Service Unavailable", False),
        ("the server answers 4040", False),
        ("it is no image", False),
        ("", False),
    ],
)
def test_a_file_is_gone_where_every_address_says_so(reason, gone):
    assert download_many.is_gone(reason) == gone


def test_what_is_too_large_is_not_held_in_memory(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_many, "LARGEST", len(BODY) - 1)
    server.script = [served(chunked=True)]
    assert "too large" in only_answer(tmp_path, Remote(server.url()))
    monkeypatch.setattr(download_many, "LARGEST", len(BODY))
    assert only_answer(tmp_path, Remote(server.url())) == ""


def test_a_server_that_sends_drop_by_drop_is_given_up(server, tmp_path):
    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not server.released.wait(0.02):
            handler.wfile.write(b"x")

    server.script = [drip]
    assert only_answer(tmp_path, Remote(server.url()), timeout=0.3, attempts=2) == "too slow"


def test_a_dead_server_does_not_hold_up_the_others(server, tmp_path):
    """All but one worker wait for it; the others' files come before it is released."""
    server.script = [by_path({"/dead": silent, "/file.bin": served()})]
    dead = [Job(tmp_path / f"dead{n}", (Remote(server.url("dead")),)) for n in range(3)]
    live = [Job(tmp_path / f"{n}.jpg", (Remote(server.url()),)) for n in range(40)]
    answers = fetch_many([*dead, *live], timeout=60)
    assert {answer.path for answer in itertools.islice(answers, 40)} == {job.path for job in live}
    server.released.set()
    assert len(list(answers)) == 3


def test_a_server_that_asks_for_a_long_pause_gets_no_longer_one_than_the_timeout(server, tmp_path):
    server.script = [status(503, Retry_After="300")]
    assert "503" in only_answer(tmp_path, Remote(server.url()), attempts=2, timeout=0.5)


def test_the_list_of_jobs_is_read_as_they_are_done(server, tmp_path):
    taken = 0

    def jobs():
        nonlocal taken
        for taken in range(1, 10**9):
            yield Job(tmp_path / f"{taken}.jpg", (Remote(server.url()),))

    answers = fetch_many(jobs())
    for got in range(1, 30):
        next(answers)
        assert taken - got < 2 * 4
    answers.close()


def test_the_threads_end_with_the_answers_and_drop_the_rest(server, tmp_path):
    before = set(threading.enumerate())
    server.script = [served(), silent]
    jobs = (Job(tmp_path / f"{n}.jpg", (Remote(server.url()),)) for n in itertools.count())
    answers = fetch_many(jobs)
    assert next(answers).reason == ""
    threads = [t for t in threading.enumerate() if t not in before and "_work" in t.name]
    assert len(threads) == 4
    while len(server.requests) < 1 + 4:
        time.sleep(0.01)
    answers.close()
    server.released.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(server.requests) == 1 + 4


def test_a_stop_signal_drops_what_is_under_way(server, tmp_path, monkeypatch):
    server.script = [silent]
    job = Job(tmp_path / "a.jpg", (Remote(server.url()),))
    threading.Timer(0.1, monkeypatch.setattr, (stopping, "_received", signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(fetch_many([job]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_process_ends_though_a_server_is_silent(server, tmp_path, number, code):
    server.script = [served(), silent]
    command = [sys.executable, "-c", PROGRAM, server.url(), str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, **pipes)
    while len(server.requests) < 5:
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)  # the servers would keep it for 60
    assert (process.returncode, err.splitlines()[-1]) == (code, f"stopped by {number.name}")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [BODY]


def test_a_kill_leaves_no_half_file(server, tmp_path):
    command = [sys.executable, "-c", PROGRAM, server.url(), str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for _ in range(30):
        assert process.stdout.readline() == "one\n"
    process.kill()
    process.communicate()
    assert {path.read_bytes() for path in tmp_path.glob("[!.]*")} == {BODY}


@pytest.mark.parametrize("when", ["written", "renamed"])
def test_a_full_disk_stops_all_with_one_line(server, tmp_path, monkeypatch, when):
    written = []

    def fail(path, *args):
        written.append(path)
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes" if when == "written" else "replace", fail)
    jobs = (Job(tmp_path / f"{n}.jpg", (Remote(server.url()),)) for n in itertools.count())
    with pytest.raises(UserError, match=r"cannot write .*\.jpg: No space left on device$"):
        list(fetch_many(jobs))
    assert len(written) <= 2 * 4
    while any(t.name.endswith("(_work)") for t in threading.enumerate()):
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_the_check_is_not_hidden(server, tmp_path):
    def check(body):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        only_answer(tmp_path, Remote(server.url()), check=check)


def test_nothing_is_flushed_to_disk_for_a_tiny_file(server, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("flushed"))
    assert only_answer(tmp_path, Remote(server.url())) == ""
