"""The pictures of OpenImages: where they are looked for, what is refused, and going on."""

import contextlib
import csv
import io
import os

import numpy as np
import pytest
from PIL import Image

from cli import UserError
from data import fetch_openimages
from data.fetch_openimages import fetch_pictures
from data.format_openimages import read_openimages
from tests.open_images import UNLABELLED, WITHOUT_PICTURE, labelled_ids, make_openimages, picture
from tests.servers import by_path, redirect, running, served, status

GONE, REMOVED, BROKEN, OTHER, LARGE = (f"0000000000000c0{digit}" for digit in "34567")
PLACEHOLDER = "/photo_unavailable.png"


def jpeg(image):
    return served(body=picture(image), kind="image/jpeg")


def encoded(size, kind="JPEG"):
    content = io.BytesIO()
    noise = np.random.RandomState(0).randint(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(noise).save(content, kind)
    return content.getvalue()


@pytest.fixture
def server(tmp_path):
    """A server of the thumbnails and originals of a release in tmp_path, and `steps` by path."""
    with running(b"") as server:
        server.folder = make_openimages(tmp_path, server.url("")[:-1])
        server.steps = {PLACEHOLDER: served(body=encoded((9, 9), "PNG"), kind="image/png")}
        for subset in ("train", "validation", "test"):
            for image in labelled_ids(subset):
                server.steps[f"/{subset}/{image}_z.jpg"] = jpeg(image)
                server.steps[f"/{subset}/{image}_o.jpg"] = jpeg(image)
        server.script = [by_path(server.steps)]
        yield server


def fetch(server, **options):
    """The paths that were asked for."""
    before = len(server.requests)
    options = {"workers": 3, "attempts": 1, "pause": 0.01, "timeout": 5} | options
    try:
        fetch_pictures(server.folder, **options)
    finally:
        server.asked = [path for path, _, _ in server.requests[before:]]
    return server.asked


def make_faulty(server):
    """The pictures that cannot be had: GONE, REMOVED and BROKEN."""
    for kind in "zo":
        server.steps[f"/train/{GONE}_{kind}.jpg"] = status(404)
        server.steps[f"/train/{REMOVED}_{kind}.jpg"] = redirect(PLACEHOLDER)
    server.steps[f"/train/{BROKEN}_z.jpg"] = served(body=b"<html>Log in</html>", kind="text/html")
    server.steps[f"/train/{BROKEN}_o.jpg"] = jpeg(OTHER)  # of another checksum


def missing(server, subset="train"):
    with (server.folder / f"missing_{subset}.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "reason"]
    return dict(rows)


def there(server, subset="train"):
    return {path.stem for path in (server.folder / subset).glob("*.jpg")}


def test_labelled_images_alone_are_fetched(server, capsys):
    """Neither those that no trainable class is known of, nor those without annotations."""
    asked = fetch(server)
    assert len(asked) == 13 + 6 + 8
    assert not any(UNLABELLED in path for path in asked)
    assert len(there(server)) == 13
    assert there(server, "test") == set(labelled_ids("test"))
    for image in there(server):
        assert (server.folder / "train" / f"{image}.jpg").read_bytes() == picture(image)
    assert capsys.readouterr().out == "train: 13 there, 0 missing\n" + (
        "validation: 6 there, 0 missing\ntest: 8 there, 0 missing\n"
    )
    assert not list(server.folder.glob("missing_*"))
    assert len(read_openimages(server.folder).train.images) == 13


def test_the_thumbnail_comes_first_and_then_the_original(server):
    first, second = labelled_ids("validation")[:2]  # the first has no thumbnail
    server.steps[f"/validation/{second}_z.jpg"] = status(403)
    asked = [path for path in fetch(server, workers=1) if "validation" in path]
    assert asked[:3] == [
        f"/validation/{i}.jpg" for i in (f"{first}_o", f"{second}_z", f"{second}_o")
    ]
    assert len(asked) == 7
    assert there(server, "validation") == set(labelled_ids("validation"))


def test_what_cannot_be_had_is_listed_with_the_reason(server, capsys):
    make_faulty(server)
    fetch(server)
    reasons = missing(server)
    assert list(reasons) == [GONE, REMOVED, BROKEN]
    assert reasons[GONE] == "the server answers 404 Not Found"
    assert reasons[REMOVED] == "it was removed"
    assert reasons[BROKEN].startswith("it is no JPEG or PNG; its md5 is ")
    assert not there(server) & set(reasons)
    said = capsys.readouterr().out
    assert "train: 10 there, 3 missing (missing_train.csv)\n" in said
    assert "test: 8 there, 0 missing\n" in said


def test_a_second_call_asks_only_for_what_may_have_come_back(server, capsys):
    make_faulty(server)
    fetch(server)
    before = missing(server)
    assert sorted(fetch(server)) == [f"/train/{BROKEN}_{kind}.jpg" for kind in "oz"]
    assert missing(server) == before
    server.steps[f"/train/{BROKEN}_z.jpg"] = jpeg(BROKEN)
    capsys.readouterr()
    fetch(server)
    assert list(missing(server)) == [GONE, REMOVED]
    assert "train: 11 there, 2 missing (missing_train.csv)\n" in capsys.readouterr().out
    assert fetch(server) == []


def test_what_was_gone_is_asked_for_again_if_wanted(server):
    make_faulty(server)
    fetch(server)
    server.steps[f"/train/{GONE}_z.jpg"] = jpeg(GONE)
    fetch(server, retry_missing=True)
    assert list(missing(server)) == [REMOVED, BROKEN]
    server.steps[f"/train/{REMOVED}_z.jpg"] = jpeg(REMOVED)
    server.steps[f"/train/{BROKEN}_z.jpg"] = jpeg(BROKEN)
    fetch(server, retry_missing=True)
    assert not (server.folder / "missing_train.csv").exists()


def test_one_address_that_is_gone_and_one_that_fails_is_not_gone(server):
    server.steps[f"/train/{GONE}_z.jpg"] = status(404)
    server.steps[f"/train/{GONE}_o.jpg"] = status(503)
    fetch(server)
    assert len(fetch(server)) == 2


def test_after_a_stop_the_next_call_goes_on(server, monkeypatch, capsys):
    make_faulty(server)

    def stop(path):
        if path.stem == OTHER:
            raise KeyboardInterrupt
        return ""

    with monkeypatch.context() as patch:
        patch.setattr(fetch_openimages, "shrink", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch(server, workers=1)
    assert capsys.readouterr().err == "what has come is kept: the same command goes on\n"
    assert list(missing(server)) == [GONE, REMOVED, BROKEN]
    done = there(server)
    assert {"0000000000000c01", "0000000000000c02", OTHER} <= done
    asked = {path[-22:-6] for path in fetch(server) if path.startswith("/train/")}
    assert not asked & {*done, GONE, REMOVED}
    assert len(there(server)) == 10


def test_a_mirror_is_asked_first(server):
    for image in labelled_ids("train"):
        server.steps[f"/copy/train/{image}.jpg"] = jpeg(image)
    server.steps[f"/copy/train/{GONE}.jpg"] = status(404)
    for subset in ("validation", "test"):
        for image in labelled_ids(subset):
            server.steps[f"/copy/{subset}/{image}.jpg"] = status(403)
    asked = fetch(server, mirror=server.url("copy/{subset}/{id}.jpg"))
    assert [path for path in asked if path.startswith("/train/")] == [f"/train/{GONE}_z.jpg"]
    assert len(there(server)) == 13
    assert len(there(server, "test")) == 8


@pytest.mark.parametrize("mirror", ["http://host/pictures", "file:///{id}.jpg", "{id}"])
def test_a_mirror_is_a_web_address_with_the_id(server, mirror):
    with pytest.raises(UserError, match="the mirror"):
        fetch(server, mirror=mirror)


def test_a_large_picture_is_shrunk(server):
    server.steps[f"/train/{LARGE}_z.jpg"] = served(body=encoded((1500, 900)))
    server.steps[f"/train/{OTHER}_z.jpg"] = served(body=encoded((20, 2048), "PNG"))
    fetch(server)
    sizes = {LARGE: (1024, 614), OTHER: (10, 1024)}
    for image, size in sizes.items():
        with Image.open(server.folder / "train" / f"{image}.jpg") as kept:
            assert (kept.size, kept.format) == (size, "JPEG")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(40, 32), (1500, 900)])
def test_half_a_picture_is_not_kept(server, size, kind):
    whole = encoded(size, kind)
    half = served(body=whole[: len(whole) // 2])
    for image in (LARGE, OTHER):
        server.steps[f"/train/{image}_z.jpg"] = half
    server.steps[f"/train/{LARGE}_o.jpg"] = status(404)
    fetch(server)
    assert missing(server) == {LARGE: "it is damaged; the server answers 404 Not Found"}
    assert LARGE not in there(server)
    assert (server.folder / "train" / f"{OTHER}.jpg").read_bytes() == picture(OTHER)


def test_a_large_picture_that_cannot_be_shrunk_is_missing(server, monkeypatch):
    server.steps[f"/train/{LARGE}_z.jpg"] = served(body=encoded((1500, 900)))

    def fail(*args):
        raise ValueError

    monkeypatch.setattr(Image.Image, "thumbnail", fail)
    fetch(server)
    assert LARGE not in there(server)
    assert missing(server) == {LARGE: "it is damaged"}


def test_the_list_of_what_is_missing_is_kept_on_the_way(server, monkeypatch):
    """As a kill would leave it."""
    make_faulty(server)
    lengths = []
    write = fetch_openimages._write_missing

    def note(subset):
        write(subset)
        lengths.append(len(missing(server)) if subset.list_path.exists() else 0)

    monkeypatch.setattr(fetch_openimages, "_SAVE_EVERY", 4)
    monkeypatch.setattr(fetch_openimages, "_write_missing", note)
    fetch(server, workers=1)
    assert lengths[:3] == [2, 3, 3]  # after 4, 8 and 12 of 13 pictures


def test_pictures_are_on_the_disk_at_the_end_of_a_subset_and_at_a_stop(server, monkeypatch):
    mark, synced = server.folder / ".pictures.unflushed", []
    monkeypatch.setattr(
        os, "sync", lambda: synced.append((mark.exists(), len(there(server)))), raising=False
    )
    fetch(server)
    assert synced == [(True, 13)] * 3
    assert not mark.exists()
    synced.clear()
    (server.folder / "train" / f"{OTHER}.jpg").unlink()

    def stop(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch_openimages, "shrink", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(server)
    assert synced == [(True, 13)]


def test_an_empty_picture_that_a_power_loss_left_is_fetched_again(server):
    fetch(server)
    path = server.folder / "train" / f"{OTHER}.jpg"
    path.write_bytes(b"")
    assert fetch(server) == []  # not looked at: the last call has flushed all to disk
    (server.folder / ".pictures.unflushed").touch()
    assert fetch(server) == [f"/train/{OTHER}_z.jpg"]
    assert path.read_bytes() == picture(OTHER)
    assert not (server.folder / ".pictures.unflushed").exists()


@pytest.mark.parametrize("kind", ["GIF", "BMP"])
def test_pictures_of_other_formats_are_refused(server, kind):
    for which in "zo":
        server.steps[f"/train/{LARGE}_{which}.jpg"] = served(body=encoded((8, 8), kind))
    fetch(server)
    assert list(missing(server)) == [LARGE]


def test_an_image_without_address_is_missing_and_no_sign_of_a_network_that_fails(
    server, monkeypatch
):
    monkeypatch.setattr(fetch_openimages, "_MOST_FAILURES", 1)
    path = server.folder / "2017_11" / "validation" / "images.csv"
    rows = path.read_text().split("\n0000")
    path.write_text("\n0000".join(rows[:3] + rows[4:]))
    assert len([i for i in fetch(server) if "validation" in i]) == 5
    assert missing(server, "validation") == {labelled_ids("validation")[2]: "no address is known"}


@pytest.mark.parametrize("ending", ["", "AA", "é"])
def test_a_checksum_that_is_none_is_not_compared(server, ending):
    path = server.folder / "2017_11" / "validation" / "images.csv"
    path.write_text(path.read_text().replace("==,", f"{ending},"))
    fetch(server)
    assert len(there(server, "validation")) == 6


def test_where_nothing_comes_any_more_it_ends(server, monkeypatch):
    monkeypatch.setattr(fetch_openimages, "_MOST_FAILURES", 4)
    server.script = [status(500)]
    with pytest.raises(UserError, match=r"4 pictures in a row could not be had.*500"):
        fetch(server)
    assert len(missing(server)) == 4
    server.script = [by_path(server.steps)]
    fetch(server)
    assert len(there(server)) == 13


def test_pictures_that_are_gone_do_not_end_it(server, monkeypatch):
    monkeypatch.setattr(fetch_openimages, "_MOST_FAILURES", 4)
    server.script = [status(410)]
    fetch(server)
    assert len(missing(server)) == 13


def test_a_full_disk_is_found_before_the_first_picture(server, monkeypatch):
    monkeypatch.setattr(fetch_openimages, "_BYTES", 10**18)
    with pytest.raises(UserError, match=r"27 pictures, .* are free: make room first"):
        fetch(server)
    assert server.asked == []


def test_what_is_there_needs_no_room(server, monkeypatch):
    fetch(server)
    monkeypatch.setattr(fetch_openimages, "_BYTES", 10**18)
    assert fetch(server) == []


def test_a_picture_put_there_by_hand_is_no_longer_missing(server, capsys):
    make_faulty(server)
    fetch(server)
    (server.folder / "train" / f"{GONE}.jpg").write_bytes(picture(GONE))
    fetch(server)
    assert list(missing(server)) == [REMOVED, BROKEN]
    assert "train: 11 there, 2 missing" in capsys.readouterr().out


def test_only_one_process_fetches(server, monkeypatch):
    @contextlib.contextmanager
    def held(path, wait):
        raise BlockingIOError
        yield

    monkeypatch.setattr(fetch_openimages, "locked", held)
    with pytest.raises(UserError, match="another process"):
        fetch(server)


def test_what_a_killed_process_left_is_removed(server):
    left = server.folder / "train" / f".{WITHOUT_PICTURE}.jpg.1-2.tmp"
    left.parent.mkdir()
    left.touch()
    fetch(server)
    assert not left.exists()


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (1, "ImageID,Subset"),
        (1, "ImageID,Subset,OriginalURL,a,b,c,d,e,f,g,h"),
        (2, "../../passwd,train,,,,,,,,,"),
        (2, "0000000000000c01,train,http://127.0.0.1/"),
    ],
)
def test_a_bad_line_of_images_csv_is_named(server, line, row):
    path = server.folder / "2017_11" / "train" / "images.csv"
    lines = path.read_text().splitlines()
    lines[line - 1] = row
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=f"{path}, line {line}"):
        fetch(server)


@pytest.mark.parametrize("name", ["train/images.csv", "classes-trainable.txt"])
def test_a_missing_file_is_named(server, name):
    (server.folder / "2017_11" / name).unlink()
    with pytest.raises(UserError, match=f"2017_11/{name} is missing"):
        fetch(server)


def test_a_folder_in_the_place_of_a_file_is_named(server):
    path = server.folder / "2017_11" / "test" / "images.csv"
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=f"{path} cannot be used: Is a directory"):
        fetch(server)


def test_a_list_of_missing_pictures_that_is_none_is_named(server):
    path = server.folder / "missing_test.csv"
    path.write_text("image,reason\nmine,lost\n")
    with pytest.raises(UserError, match=f"{path}, line 2.*remove"):
        fetch(server)
