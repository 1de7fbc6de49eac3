"""One file from the web: it comes whole whatever the server does, or one line says why not."""

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from email.utils import formatdate
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import stopping
from cli import UserError
from data import download, web
from data.web import Remote
from tests.servers import hang_up, redirect, running, send, served, silent, status

ROOT = Path(__file__).parents[1]
BODY = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(100_000)
MD5, SHA256 = hashlib.md5(BODY).hexdigest(), hashlib.sha256(BODY).hexdigest()
SOME = 1000  # bytes, fewer than fit into the buffer of a file
PROGRAM = """
import cli, stopping, sys
from pathlib import Path
from data.download import fetch
from data.web import Remote

def main(words):
    with stopping.at_next_step():
        fetch(Remote(words[0]), Path(words[1]), timeout=30)

sys.exit(cli.run(main))
"""
fetch = partial(download.fetch, pause=0.001, timeout=30)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with running(BODY) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "raw" / "file.bin"


def part(path):
    return path.with_name(f".{path.name}.part")


def names(path):
    """What lies beside the file, and the file; without the lock, which stays."""
    return {entry.name for entry in path.parent.iterdir()} - {f".{path.name}.lock"}


def assert_whole(path, body=BODY):
    assert path.read_bytes() == body
    assert names(path) == {path.name}


def refused(remote, path, **options):
    """The one line of a fetch that puts nothing at `path`."""
    with pytest.raises(UserError) as caught:
        fetch(remote, path, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert not path.exists()
    assert names(path) <= {f".{path.name}.part", f".{path.name}.part.json"}
    return message


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_comes_whole_into_a_new_folder(server, path, size, chunked):
    server.body, server.script = BODY[:size], [served(chunked=chunked)]
    fetch(Remote(server.url()), path)
    assert_whole(path, BODY[:size])
    assert server.ranges == [""]


def test_a_file_that_is_there_is_left_alone(server, path):
    path.parent.mkdir()
    path.write_bytes(BODY)
    fetch(Remote(server.url(), len(BODY), MD5, SHA256.upper()), path)
    assert server.requests == []
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"size": 5}, "it has 100,000 bytes, 5 are"),
        ({"md5": "0" * 32}, f"its md5 is {MD5}, {'0' * 32} is"),
        ({"sha256": "0" * 64}, f"its sha256 is {SHA256}, {'0' * 64} is"),
    ],
)
def test_another_file_in_its_place_is_not_touched(server, path, facts, said):
    path.parent.mkdir()
    path.write_bytes(BODY)
    with pytest.raises(UserError, match=f"{said} published: remove it"):
        fetch(Remote(server.url(), **facts), path)
    assert (path.read_bytes(), server.requests) == (BODY, [])


def test_a_folder_in_its_place_is_one_line(server, path):
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="no regular file"):
        fetch(Remote(server.url()), path)


@pytest.mark.parametrize("rude", [False, True])
def test_a_connection_that_is_cut_again_and_again_still_ends_in_the_file(server, path, rude):
    server.script = [served(cut=9000, rude=rude)]
    if rude:  # a reset may lose what was sent before it
        server.script = [served(cut=50_000, rude=rude), served()]
    fetch(Remote(server.url(), md5=MD5), path, attempts=2)
    assert_whole(path)
    if not rude:
        assert server.ranges == ["", *(f"bytes={start}-" for start in range(9000, 100_000, 9000))]


def test_a_chunked_body_that_is_cut_goes_on_from_there(server, path):
    server.script = [served(cut=9000, chunked=True), served(chunked=True)]
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == ["", "bytes=9000-"]


def test_without_a_length_the_end_of_the_connection_is_no_end(server, path):
    server.script = [served(cut=9000, length=False), served(length=False)]
    fetch(Remote(server.url(), size=len(BODY)), path)
    assert_whole(path)
    assert server.ranges == ["", "bytes=9000-"]


def test_half_a_file_is_refused_where_nothing_tells_that_it_is_half(server, path):
    server.script = [served(cut=9000, length=False)]
    assert "does not say how long" in refused(Remote(server.url()), path)
    server.script = [served(cut=9000, length=False), served(length=False)]
    fetch(Remote(server.url(), md5=MD5), path)
    assert_whole(path)


def test_a_server_that_sends_whole_files_alone_begins_anew(server, path):
    server.script = [served(cut=50_000, ranges=False), served(ranges=False)]
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == ["", "bytes=50000-"]


def test_a_server_that_sends_whole_files_and_always_cuts_them_is_given_up(server, path):
    """Bytes arrive in each try, but it never gets any further."""
    server.script = [served(cut=50_000, ranges=False)]
    assert "4 times in a row: 0.1 MB of 0.1 MB have come" in refused(
        Remote(server.url()), path, attempts=4
    )
    assert len(server.requests) == 1 + 4 - 1


@pytest.mark.parametrize("fault", [{"moved": 10}, {"moved": -10}, {"grown": 5}])
def test_another_part_than_the_one_asked_for_is_not_taken(server, path, fault):
    server.script = [served(cut=50_000), served(**fault), served()]
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == ["", "bytes=50000-", ""]


def test_a_server_that_never_sends_the_part_asked_for_is_given_up(server, path):
    server.script = [served(cut=50_000, moved=10)]
    assert "another part" in refused(Remote(server.url()), path)


def change(server):
    server.body, server.etag = OTHER, '"second"'


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changes_between_two_tries_is_never_mixed(server, path, heeds):
    """By If-Range, and by its version where the server does not heed that."""

    def changed(handler):
        change(server)
        if not heeds:
            del handler.headers["If-Range"]
        served()(handler)

    server.script = [served(cut=50_000), changed, served()]
    fetch(Remote(server.url()), path)
    assert_whole(path, OTHER)
    assert server.requests[1][1:] == ("bytes=50000-", '"first"')


def test_without_a_version_a_part_counts_only_where_a_checksum_is_published(server, path):
    for facts, second in (({}, ""), ({"md5": MD5}, "bytes=50000-")):
        server.requests, server.script = [], [served(50_000, validator=""), served(validator="")]
        fetch(Remote(server.url(), **facts), path)
        assert_whole(path)
        assert server.ranges == ["", second]
        path.unlink()
    server.script = [served(50_000, validator="")]
    assert refused(Remote(server.url()), path).endswith("the same command begins anew")


def test_the_date_tells_versions_apart_where_the_mark_is_not_exact(server, path):
    server.etag = "Mon, 01 Jan 2024 00:00:00 GMT"
    server.script = [served(cut=50_000, validator="Last-Modified"), served()]
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.requests[1][1:] == ("bytes=50000-", server.etag)
    assert download._validator(SimpleNamespace(headers={"ETag": 'W/"a"'})) == ""


@pytest.mark.parametrize("step", [*map(status, (408, 425, 429, 500, 503, 202)), hang_up])
def test_what_may_pass_is_tried_again(server, path, step):
    server.script = [step, step, served(cut=50_000), step, step, served()]
    fetch(Remote(server.url()), path, attempts=4)
    assert_whole(path)
    assert server.ranges == ["", "", "", *["bytes=50000-"] * 3]


@pytest.mark.parametrize(("step", "reason"), [(status(503), "503 Service"), (hang_up, "closed")])
def test_what_does_not_pass_is_given_up_and_goes_on_later(server, path, step, reason):
    server.body = bytes(10**6) + BODY
    server.script = [served(cut=300_000), step]
    message = refused(Remote(server.url()), path)
    assert reason in message
    assert "internet" not in message
    assert "6 times in a row: 0.3 MB of 1.1 MB have come" in message
    assert message.endswith("the same command goes on from there")
    assert len(server.requests) == 1 + 6 - 1
    server.script, server.requests = [served()], []
    fetch(Remote(server.url()), path)
    assert_whole(path, server.body)
    assert server.ranges == ["bytes=300000-"]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_one_line_at_once(server, path, code):
    server.script = [status(code)]
    message = refused(Remote(server.url()), path)
    assert message.startswith(f"{server.url()}: the server answers {code} ")
    assert len(server.requests) == 1
    assert names(path) == set()


def test_a_server_that_is_not_there_is_one_line(path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    message = refused(Remote(f"http://127.0.0.1:{port}/"), path, attempts=2)
    assert "refused, 2 times in a row: see whether this machine reaches the internet" in message


def test_a_name_that_is_not_known_is_one_line(path, monkeypatch):
    def unknown(*args, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("no_proxy", "*")
    message = refused(Remote("http://nowhere.invalid/x"), path)
    assert message.endswith(
        "Name or service not known, 6 times in a row: "
        "see whether this machine reaches the internet; the same command begins anew"
    )


def test_a_server_that_falls_silent_is_asked_again(server, path):
    server.script = [silent, served(cut=50_000, stall=True), served()]
    fetch(Remote(server.url()), path, timeout=1)
    assert_whole(path)
    assert server.ranges == ["", "", "bytes=50000-"]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7),
        ("4000", 300),
        (formatdate(10_200, usegmt=True), 200),
        (formatdate(9_800, usegmt=True), 0.001),
        ("soon", 0.001),
        ("²", 0.001),
    ],
)
def test_the_server_says_when_to_come_again(server, path, monkeypatch, asked, seconds):
    slept = []
    monkeypatch.setattr(download, "_sleep", slept.append)
    monkeypatch.setattr(random.SystemRandom, "uniform", lambda self, low, high: high)
    monkeypatch.setattr(web.time, "time", lambda: 10_000)
    server.script = [status(429, Retry_After=asked.encode("utf-8").decode("latin-1")), served()]
    fetch(Remote(server.url()), path)
    assert slept == [seconds]


def test_pauses_double_up_to_a_minute():
    for failed, longest in ((1, 1), (2, 2), (5, 16), (7, 60), (5000, 60)):
        pauses = [download.pause_after(failed, 1.0, 0) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


WRONG = served(body=OTHER)


@pytest.mark.parametrize("facts", [{"md5": MD5}, {"sha256": SHA256}, {"md5": MD5, "size": 10**5}])
def test_wrong_bytes_are_fetched_once_more_from_the_first(server, path, facts):
    server.script = [WRONG, served()]
    fetch(Remote(server.url(), **facts), path)
    assert_whole(path)
    assert server.ranges == ["", ""]


def test_wrong_bytes_twice_are_one_line_with_both_checksums(server, path):
    server.script = [WRONG]
    message = refused(Remote(server.url(), md5=MD5), path)
    assert MD5 in message
    assert hashlib.md5(OTHER).hexdigest() in message
    assert (len(server.requests), names(path)) == (2, set())


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_another_size_than_the_published_one_is_one_line(server, path, size, chunked):
    server.script = [served(chunked=chunked)]
    assert f"{size:,}" in refused(Remote(server.url(), size=size), path)
    assert names(path) == set()


def test_another_size_is_seen_before_the_bytes_have_come(server, path):
    server.script = [served(cut=1, stall=True)]
    message = refused(Remote(server.url(), size=99), path)
    assert "another file lies there: 100,000 bytes, 99 are published: see whether" in message
    assert len(server.requests) == 1


def test_bytes_without_end_are_not_taken(server, path):
    def pour(handler):
        chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/zip"}
        send(handler, 200, chunked)
        for _ in range(1000):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(BODY), BODY))

    server.script = [pour]
    assert "more than its 100,000 bytes came" in refused(Remote(server.url(), len(BODY)), path)


def test_fewer_bytes_than_announced_are_not_the_file(server, path):
    server.script = [served(length=len(BODY) + 1, ranges=False)]
    assert "cut" in refused(Remote(server.url()), path)


def test_more_bytes_than_announced_are_not_the_file(server, path):
    server.script = [served(length=len(BODY) - 1)]
    assert "published" in refused(Remote(server.url(), size=len(BODY)), path)
    assert MD5 in refused(Remote(server.url(), md5=MD5), path)


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (b"<!DOCTYPE HTML><p>", "application/zip"),
        (b"\n <html><p>", "application/zip"),
        (b"<p>log in", "text/html; charset=utf-8"),
    ],
)
def test_a_web_page_is_not_the_file(server, path, page, kind):
    server.script = [served(body=page, kind=kind)]
    assert "a web page came instead of the file" in refused(Remote(server.url()), path)
    fetch(Remote(server.url()), path.with_name("page.html"))
    assert path.with_name("page.html").read_bytes() == page


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"body": b"<html>Log in", "kind": "text/html"}, "a web page came instead of the file"),
        ({"body": b"log in", "kind": "text/plain"}, "another file lies there: 6 bytes, 100,000"),
    ],
)
def test_another_file_in_an_answer_does_not_cost_what_has_come(server, path, answer, said):
    remote = Remote(server.url(), len(BODY))
    server.script = [served(cut=50_000), served(ranges=False, **answer)]
    assert said in refused(remote, path)
    assert part(path).read_bytes() == BODY[:50_000]
    server.script, server.requests = [served()], []
    fetch(remote, path)
    assert_whole(path)
    assert server.ranges == ["bytes=50000-"]


def test_a_web_page_costs_nothing_where_no_size_is_published(server, path):
    server.script = [served(cut=50_000), served(body=b"<html>", ranges=False, kind="text/html")]
    refused(Remote(server.url()), path)
    assert part(path).read_bytes() == BODY[:50_000]


def test_a_redirect_is_followed_with_the_range(server, path):
    there = redirect(server.url("there.bin"))
    server.script = [there, served(cut=50_000), there, served()]
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.requests[-1] == ("/there.bin", "bytes=50000-", '"first"')


@pytest.mark.parametrize("scheme", ["file", "ftp", "data", "gopher"])
def test_only_the_web_is_asked(server, path, tmp_path, scheme):
    secret = tmp_path / "secret"
    secret.write_bytes(BODY)
    address = f"{scheme}://{secret}"
    server.script = [redirect(address)]
    refused(Remote(server.url()), path)
    refused(Remote(address), path)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://", "http://[a", "http://a:b/", "http://a/b c", "http://.a/", "http://a/ü"],
)
def test_what_is_no_address_is_one_line_at_once(path, url):
    assert "in a row" not in refused(Remote(url), path)


def test_redirects_without_end_are_one_line(server, path):
    server.script = [redirect(server.url())]
    assert "302" in refused(Remote(server.url()), path)
    assert len(server.requests) < 20


def leave_part(server, path, content, **facts):
    """What a killed process has left: a part, and the note of its version."""
    note = {"url": server.url(), "validator": server.etag, "total": None, **facts}
    path.parent.mkdir()
    part(path).write_bytes(content)
    part(path).with_name(f"{part(path).name}.json").write_text(json.dumps(note))


def test_a_part_that_is_whole_needs_no_more_bytes(server, path):
    leave_part(server, path, BODY)
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == ["bytes=100000-"]
    path.unlink()
    path.parent.joinpath(f".{path.name}.lock").unlink()
    path.parent.rmdir()
    leave_part(server, path, BODY, total=len(BODY))
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("total", [None, len(BODY)])
def test_a_part_that_is_longer_than_the_file_begins_anew(server, path, total):
    leave_part(server, path, BODY + b"x", total=total)
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == (["bytes=100001-", ""] if total is None else [""])


@pytest.mark.parametrize("note", ["", "{", "{}", '{"url": 1}', None])
def test_a_part_of_which_nothing_is_known_begins_anew(server, path, note):
    leave_part(server, path, OTHER)
    server.script = [served(cut=30_000)]
    noted = path.with_name(f".{path.name}.part.json")
    noted.unlink() if note is None else noted.write_text(note)
    fetch(Remote(server.url()), path, attempts=2)
    assert_whole(path)
    assert server.ranges == ["", "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_a_part_from_another_address_begins_anew(server, path):
    leave_part(server, path, OTHER[:50_000], url=server.url("other.bin"))
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == [""]


def start(server, path):
    """Another process that fetches the file, once it has some bytes and waits for more."""
    server.script = [served(cut=SOME, stall=True), served()]
    command = [sys.executable, "-c", PROGRAM, server.url(), str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not part(path).exists() or part(path).stat().st_size < SOME:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


def test_after_a_kill_only_the_missing_bytes_are_asked_for(server, path):
    process = start(server, path)
    process.kill()
    process.communicate()
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == ["", f"bytes={SOME}-"]


def test_another_process_that_fetches_the_file_is_waited_for(server, path):
    process = start(server, path)
    assert "another process fetches" in refused(Remote(server.url()), path)
    assert len(server.requests) == 1
    server.released.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.startswith(f"fetching {server.url()} to {path}\n")
    assert_whole(path)


def test_the_file_of_the_process_that_was_faster_is_taken(server, path, monkeypatch):
    """It is done between our first look and our lock."""

    @contextlib.contextmanager
    def late(lock, wait):
        path.write_bytes(BODY)
        yield

    monkeypatch.setattr(download, "locked", late)
    fetch(Remote(server.url()), path)
    assert server.requests == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_signal_keeps_what_has_come(server, path, number, code):
    process = start(server, path)
    process.send_signal(number)
    assert process.stderr.readline().startswith("fetching")
    assert process.stderr.readline().startswith("stopping at the next step")
    server.released.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.splitlines()[-2:] == [
        "file.bin: 0.0 MB of 0.1 MB have come, the same command goes on from there",
        f"stopped by {number.name}",
    ]
    server.requests.clear()
    fetch(Remote(server.url()), path)
    assert_whole(path)
    assert server.ranges == [f"bytes={SOME}-"]


def test_a_stop_signal_takes_effect_while_bytes_come(server, path, monkeypatch):
    def signalled(handler):
        monkeypatch.setattr(stopping, "_received", signal.SIGINT)
        served()(handler)

    server.script = [signalled]
    with pytest.raises(KeyboardInterrupt):
        fetch(Remote(server.url()), path)
    assert not path.exists()


def test_a_stop_signal_ends_a_long_pause(server, path, monkeypatch):
    server.script = [status(503, Retry_After="300")]
    monkeypatch.setattr(
        time, "sleep", lambda seconds: monkeypatch.setattr(stopping, "_received", 2)
    )
    with pytest.raises(KeyboardInterrupt):
        fetch(Remote(server.url()), path)


def test_too_little_room_is_one_line_before_anything_is_written(server, path, monkeypatch):
    server.script = [served(cut=50_000)]
    refused(Remote(server.url()), path, attempts=1)
    server.script = [served()]
    for free, fits in ((49_999, False), (50_000, True)):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free)
        )
        if fits:
            fetch(Remote(server.url()), path)
        else:
            assert "file.bin needs 0.1 MB more" in refused(Remote(server.url()), path)
            assert part(path).stat().st_size == 50_000
    assert_whole(path)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_disk_that_fills_up_is_one_line_and_goes_on(server, path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    command = [sys.executable, "-c", limit + PROGRAM, server.url(), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    line = done.stderr.splitlines()[-1]
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert line.startswith(f"error: cannot write {path}: File too large: once this is mended")
    assert part(path).read_bytes() == BODY[:50_000]
    fetch(Remote(server.url()), path)
    assert_whole(path)


def test_no_space_left_is_one_line(server, path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail)
    assert "No space left on device" in refused(Remote(server.url()), path)
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(Remote(server.url()), path)
    assert_whole(path)


def fail(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_that_cannot_be_made_is_one_line(server, path):
    path.parent.write_text("")
    with pytest.raises(UserError, match="cannot write"):
        fetch(Remote(server.url()), path)


def test_a_file_has_its_name_once_it_is_on_the_disk(server, path, monkeypatch):
    done = []
    for owner, name in ((os, "fsync"), (Path, "replace")):
        real = getattr(owner, name)

        def noted(*args, name=name, real=real):
            done.append(name)
            return real(*args)

        monkeypatch.setattr(owner, name, noted)
    fetch(Remote(server.url()), path)
    # the file, its name, the folder: of the note, and of the file itself
    assert done == ["fsync", "replace", "fsync"] * 2


def test_off_a_terminal_each_try_is_a_line(server, path, capsys):
    server.script = [status(503), served(cut=50_000), served()]
    fetch(Remote(server.url(), len(BODY), MD5), path)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"fetching {server.url()} (0.1 MB) to {path}",
        "the server answers 503 Service Unavailable: trying again in 0 s",
        "the connection was cut: trying again in 0 s",
    ]


def test_on_a_terminal_there_is_a_bar_that_goes_on(server, path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    server.script = [served(cut=50_000), served()]
    fetch(Remote(server.url(), md5=MD5), path)
    said = capsys.readouterr().err
    assert "fetching" not in said
    assert "file.bin:  50%" in said
    assert "check file.bin" in said


def test_nothing_is_asked_for_compressed(server, path):
    seen = []

    def look(handler):
        seen.append(handler.headers["Accept-Encoding"])
        served()(handler)

    server.script = [look]
    fetch(Remote(server.url()), path)
    assert seen == ["identity"]
