"""All five sets from the web to a test mAP, with tiny releases on a server of the test's own."""

import dataclasses
import io
import json
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

import cli
from cli import UserError
from data import obtain, prepare
from data.formatted import MARKER
from data.releases import RELEASES
from data.web import Remote
from tests import open_images, releases, tiny
from tests.servers import by_path, redirect, running, served, status

# what an official archive holds, of the folder that the maker of the tiny release writes
HOLDS = {
    "VOCtrainval_11-May-2012.tar": ["VOCdevkit"],
    "annotations_trainval2014.zip": ["annotations"],
    "train2014.zip": ["train2014"],
    "val2014.zip": ["val2014"],
    "CUB_200_2011.tgz": ["CUB_200_2011", "attributes.txt"],
    "ImageList.zip": ["ImageList"],
    "Groundtruth.zip": ["Groundtruth"],
    "ConceptsList.zip": ["ConceptsList"],
    "classes_2017_11.tar.gz": ["2017_11/classes-trainable.txt", "2017_11/class-descriptions.csv"],
    "annotations_human_2017_11.tar.gz": [
        f"2017_11/{subset}/annotations-human.csv" for subset in open_images.ANSWERS
    ],
    "images_2017_11.tar.gz": [f"2017_11/{subset}/images.csv" for subset in open_images.ANSWERS],
}


def packed(folder, name):
    """The archive of that name."""
    content = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(content, "w") as archive:
            for held in HOLDS[name]:
                for path in sorted((folder / held).rglob("*")):
                    archive.write(path, path.relative_to(folder))
    else:
        mode = "w" if name.endswith(".tar") else "w:gz"
        with tarfile.open(fileobj=content, mode=mode) as archive:
            for held in HOLDS[name]:
                archive.add(folder / held, held)
    return content.getvalue()


@pytest.fixture
def web(monkeypatch):
    """A server that `offer` puts releases on."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running(b"") as server:
        yield server


def offer(server, dataset, folder, monkeypatch, **steps):
    """Let the official addresses be the server's, which has the archives of the set."""
    release = RELEASES[dataset]
    archives = []
    files = {f"/{name}": step for name, step in steps.items()}
    for archive in release.archives:
        if archive.remote:
            content = packed(folder, archive.name)
            remote = Remote(server.url(archive.name), len(content))
            archives.append(dataclasses.replace(archive, remote=remote))
            files.setdefault(f"/{archive.name}", served(body=content, ranges=False))
    local = dataclasses.replace(release, archives=tuple(archives))
    monkeypatch.setitem(prepare.RELEASES, dataset, local)
    server.script = [by_path(files)]


def pictures(server):
    """The addresses of the pictures of OpenImages, and what is there."""
    places = {}
    for subset in open_images.ANSWERS:
        for image in (*open_images.labelled_ids(subset), open_images.UNLABELLED):
            picture = served(body=open_images.picture(image), kind="image/jpeg")
            places[f"pictures/{subset}/{image}_z.jpg"] = picture
            places[f"pictures/{subset}/{image}_o.jpg"] = picture
    gone = f"pictures/train/{open_images.WITHOUT_PICTURE}"
    places[f"{gone}_z.jpg"] = redirect(server.url("photo_unavailable_l.png"))
    places[f"{gone}_o.jpg"] = status(404)
    places["photo_unavailable_l.png"] = served(body=b"\x89PNG", kind="image/png")
    return places


def run(root, *argv):
    return cli.run(prepare.main, [*argv, "--data_root", str(root)])


def trained(dataset, root, *more):
    flags = ("--data_root", str(root), "--num_epochs", "2", "--mod_scheme", "LL-Cp", *more)
    _, run_dir = tiny.train(dataset, root / "runs", *flags)
    return json.loads((run_dir / "summary.json").read_text()), run_dir


@pytest.mark.parametrize("dataset", ["pascal", "coco", "cub"])
def test_one_command_from_the_web_to_training(tmp_path, monkeypatch, web, capsys, dataset):
    folder = getattr(releases, f"make_{dataset}")(tmp_path / "there")
    offer(web, dataset, folder, monkeypatch)
    assert run(tmp_path / "here", dataset) == 0
    assert f"next: python main.py --dataset {dataset} --mod_scheme LL-R" in capsys.readouterr().out
    summary, run_dir = trained(dataset, tmp_path / "here")
    assert 0 <= summary["test_map"] <= 100
    environment = json.loads((run_dir / "config.json").read_text())["environment"]
    assert environment["drawn"] == {"num_pos": 1, "num_neg": 0, "seed": 1200}

    asked = len(web.requests)
    assert run(tmp_path / "here", dataset) == 0
    assert "is prepared already" in capsys.readouterr().out
    assert run(tmp_path / "here", dataset, "--overwrite") == 0
    assert len(web.requests) == asked, "nothing is fetched twice"


def test_nuswide_from_the_arrays_of_spml(tmp_path, web):
    releases.make_nuswide(tmp_path, spml=True)
    assert run(tmp_path, "nuswide") == 0
    assert not web.requests
    summary, _ = trained("nuswide", tmp_path)
    assert len(summary["test_ap"]) == 81


def test_nuswide_from_the_lists_of_the_release(tmp_path, monkeypatch, web):
    folder = releases.make_nuswide(tmp_path / "there")
    offer(web, "nuswide", folder, monkeypatch)
    (tmp_path / "here/nuswide").mkdir(parents=True)
    (folder / "Flickr").rename(tmp_path / "here/nuswide/Flickr")
    assert run(tmp_path / "here", "nuswide", "--source", "release") == 0
    summary, _ = trained("nuswide", tmp_path / "here")
    assert "concept_00" in summary["test_ap"]


def test_openimages_with_its_pictures(tmp_path, monkeypatch, web, capsys):
    folder = open_images.make_openimages(tmp_path / "there", base_url=web.url("pictures"))
    offer(web, "openimages", folder, monkeypatch, **pictures(web))
    assert run(tmp_path / "here", "openimages", "--jobs", "2") == 0
    printed = capsys.readouterr().out
    assert "train: 12 there" in printed or "train: 13 there" in printed, printed
    assert (tmp_path / "here/openimages/missing_train.csv").exists()
    summary, run_dir = trained("openimages", tmp_path / "here")
    assert list(summary["test_map_groups"]) == ["G1", "G2", "G3", "G4", "G5"]
    config = json.loads((run_dir / "config.json").read_text())
    assert config["environment"]["drawn"] is None
    log = (run_dir / "train.log").read_text()
    assert "12 train, 6 val and 8 test images" in log


def test_an_archive_that_breaks_off_leaves_nothing_half_done(tmp_path, monkeypatch, web, capsys):
    """The annotations come, the pictures do not; the next call asks for these alone."""
    folder = releases.make_coco(tmp_path / "there")
    offer(web, "coco", folder, monkeypatch, **{"train2014.zip": status(404)})
    assert run(tmp_path / "here", "coco") == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert "train2014.zip: the server answers 404" in error[-1]
    assert not list((tmp_path / "here/coco").glob("formatted_*"))
    before = len(web.requests)
    offer(web, "coco", folder, monkeypatch)
    assert run(tmp_path / "here", "coco") == 0
    fetched = [path for path, *_ in web.requests[before:]]
    assert fetched == ["/train2014.zip", "/val2014.zip"]


def test_without_downloads_what_to_fetch_is_told(tmp_path, capsys):
    assert run(tmp_path, "coco", "--no_download") == 2
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 3
    assert lines[1] == (
        "fetch http://images.cocodataset.org/zips/train2014.zip (13,510,573,713 bytes, sha256 "
        "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775) and put it at "
        f"{tmp_path}/coco/train2014.zip"
    )
    assert printed.err.count("\n") == 1


def test_a_disk_that_is_too_small_is_told_before_anything_comes(tmp_path, monkeypatch, capsys):
    usage = obtain.shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(obtain.shutil, "disk_usage", lambda path: usage)
    assert run(tmp_path, "coco") == 2
    assert "needs 42.2 GB, 1.0 GB are free: make room" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nuswide_says_what_to_do_where_nothing_can_be_fetched(tmp_path, capsys):
    assert run(tmp_path, "nuswide") == 2
    printed = capsys.readouterr()
    assert "ask for them with the form" in printed.out
    assert "https://caltech.box.com/v/single-positive-multi-label" in printed.out
    assert printed.err.count("\n") == 1


def test_the_lists_do_not_overwrite_the_arrays_of_others(tmp_path, capsys):
    folder = releases.make_nuswide(tmp_path, spml=True)
    before = {path.name: path.read_bytes() for path in folder.glob("*.npy")}
    assert run(tmp_path, "nuswide", "--source", "release") == 2
    assert "formatted files that were not made here" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.glob("*.npy")} == before


def test_difficult_objects_can_be_left_out_of_evaluation(tmp_path):
    releases.make_pascal(tmp_path)
    assert run(tmp_path, "pascal", "--no_download", "--difficult", "ignore") == 0
    about = json.loads((tmp_path / "pascal/dataset.json").read_text())
    assert about["truth"] == "partial"
    trained("pascal", tmp_path)


def test_a_set_that_is_half_written_is_not_trained_on_but_mended(tmp_path, capsys):
    folder = releases.make_coco(tmp_path)
    assert run(tmp_path, "coco", "--no_download") == 0
    (folder / MARKER).touch()  # as a kill leaves it while the files take their places
    with pytest.raises(UserError, match=r"half written, .* data.prepare coco .*--overwrite"):
        trained("coco", tmp_path)
    capsys.readouterr()
    assert run(tmp_path, "coco", "--no_download") == 0
    assert "prepared already" not in capsys.readouterr().out
    trained("coco", tmp_path)


def test_what_a_prepared_set_would_not_follow_is_refused(tmp_path, capsys):
    releases.make_pascal(tmp_path)
    assert run(tmp_path, "pascal", "--no_download") == 0
    capsys.readouterr()
    for flags in (["--difficult", "ignore"], ["--fpc", "3"]):
        assert run(tmp_path, "pascal", "--no_download", *flags) == 2
        assert "pascal is prepared already: " in capsys.readouterr().err
        assert run(tmp_path, "pascal", "--no_download", "--overwrite", *flags) == 0


def test_arrays_of_others_are_not_overwritten_unasked(tmp_path, capsys):
    folder = releases.make_pascal(tmp_path)
    assert run(tmp_path, "pascal", "--no_download", "--num_neg", "1") == 0
    for name in ("dataset.json", "observed.json"):  # which the official code does not write
        (folder / name).unlink()
    before = {path.name: path.read_bytes() for path in folder.glob("*.npy")}
    assert run(tmp_path, "pascal", "--no_download") == 2
    assert "formatted files that were not made here" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.glob("*.npy")} == before
    trained("pascal", tmp_path)


def test_observed_labels_that_came_with_the_arrays_of_spml_stay(tmp_path, capsys):
    folder = releases.make_nuswide(tmp_path, spml=True)
    for part in ("train", "val"):
        labels = np.load(folder / f"formatted_{part}_labels.npy").astype(np.int8)
        labels[::2] = 0
        np.save(folder / f"formatted_{part}_uniform_labels_obs.npy", labels)
    assert run(tmp_path, "nuswide") == 0
    assert "annotated: as the files say" in capsys.readouterr().out
    observed = np.load(folder / "formatted_train_labels_obs.npy")
    assert not observed[::2].any()
    assert observed[1::2].any()


def test_what_is_fetched_already_needs_no_room(tmp_path, monkeypatch):
    """Of three files that take 20.4 GB, and 21.8 GB unpacked, 13 GB have come."""
    needed = []
    monkeypatch.setattr(obtain, "fetch", lambda remote, path: needed.append(path.name))
    monkeypatch.setattr(obtain, "extract", lambda archive, folder: None)
    part = tmp_path / "coco/.train2014.zip.part"
    part.parent.mkdir()
    with part.open("wb") as file:
        file.truncate(13 * 10**9)
    usage = shutil.disk_usage(tmp_path)
    for free, enough in ((29, False), (30, True)):
        room = usage._replace(free=free * 10**9)
        monkeypatch.setattr(obtain.shutil, "disk_usage", lambda path, room=room: room)
        with pytest.raises(UserError) as refusal:
            obtain.obtain(RELEASES["coco"].archives, tmp_path / "coco", "there")
        assert ("make room" in str(refusal.value)) != enough
    assert len(needed) == 3
