"""Archives: what is unpacked, what is refused, and that nothing is left half done."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import cli
from cli import UserError
from data import prepare
from data.archives import extract
from tests.releases import make_coco, make_cub, make_pascal
from tests.tiny import locked_by_another

FILES = {"set/a.txt": b"a" * 3000, "set/deep/b.bin": bytes(range(256)) * 40, "beside.txt": b""}
TARS = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz"}
KINDS = [*TARS, ".zip"]


def entry(name, kind=tarfile.REGTYPE, **facts):
    info = tarfile.TarInfo(name)
    info.type = kind
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def make_tar(path, files, *more):
    """A tar of files {name: content}, and of the entries `more` in that order after them."""
    with tarfile.open(path, TARS["".join(path.suffixes[-2:])]) as opened:
        for name, content in files.items():
            opened.addfile(entry(name, size=len(content)), io.BytesIO(content))
        for info in more:
            opened.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


def make(path, files=FILES):
    return make_zip(path, files) if path.suffix == ".zip" else make_tar(path, files)


def files_below(folder):
    """Everything that lies there by its path, but the archives' lock."""
    paths = (path for path in folder.rglob("*") if path.name != ".unpacking.lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def refused(archive, folder):
    """The one line of an archive that leaves nothing behind, inside or outside."""
    before = files_below(folder.parent)
    with pytest.raises(UserError) as caught:
        extract(archive, folder)
    message = str(caught.value)
    assert str(archive) in message
    assert len(message.splitlines()) == 1
    assert files_below(folder.parent) == before
    assert {path.name for path in folder.iterdir()} <= {".unpacking.lock"}
    return message


@pytest.mark.parametrize("suffix", KINDS)
def test_what_was_packed_is_unpacked(tmp_path, suffix):
    extract(make(tmp_path / f"x{suffix}"), tmp_path / "new" / "out")
    assert files_below(tmp_path / "new" / "out") == FILES


@pytest.mark.parametrize("suffix", KINDS)
def test_other_files_of_the_same_folders_stay(tmp_path, suffix):
    out = tmp_path / "out"
    (out / "set/deep").mkdir(parents=True)
    (out / "set/deep/mine.txt").write_bytes(b"mine")
    (out / "set/a.txt").write_bytes(b"half of an earlier")
    extract(make(tmp_path / f"x{suffix}"), out)
    assert files_below(out) == {**FILES, "set/deep/mine.txt": b"mine"}


OUTSIDE = ["../x", "set/../../x", "/tmp/x", "C:x", "c:\\x", "..\\x", "\\x", "set/.."]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_outside_is_refused(tmp_path, suffix, name):
    archive = make(tmp_path / f"x{suffix}", {**FILES, name: b"evil"})
    assert f"{name!r} would lie outside" in refused(archive, tmp_path / "out")


def test_a_member_without_a_name_is_refused(tmp_path):
    archive = make_tar(tmp_path / "x.tar", FILES, entry("", size=4))
    assert "'' would lie outside" in refused(archive, tmp_path / "out")


# entries after FILES, words of the error
LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
ENTRIES = {
    "absolute link": ([entry("l", LINK, linkname="/etc/passwd")], "'l' links to '/etc/passwd'"),
    "link up": ([entry("set/l", LINK, linkname="../../x")], "perhaps outside"),
    "link far up": ([entry("l", LINK, linkname="set/../../out-too/x")], "perhaps outside"),
    "link to a drive": ([entry("l", LINK, linkname="c:x")], "perhaps outside"),
    "link over a link": (
        [entry("set/up", LINK, linkname=".."), entry("l", LINK, linkname="set/up/../x")],
        "'l' links to 'set/up/../x', perhaps outside",
    ),
    "file through a link": (
        [entry("l", LINK, linkname="set"), entry("l/x", size=4)],
        "'l/x' lies below a file or a link",
    ),
    "file through a link in another case": (
        [entry("L", LINK, linkname="set"), entry("l/x", size=4)],
        "'l/x' lies below a file or a link",
    ),
    "file before its link": (
        [entry("l/x", size=4), entry("l", LINK, linkname="set")],
        "'l/x' lies below a file or a link",
    ),
    "folder that is a link": (
        [entry("l", LINK, linkname="set"), entry("l", tarfile.DIRTYPE)],
        "'l' is a folder and something else",
    ),
    "file below a file": ([entry("set/a.txt/b", size=1)], "lies below a file"),
    "hard link outside": ([entry("l", HARD, linkname="../x")], "no file of the archive"),
    "hard link to the root": ([entry("l", HARD, linkname="/etc/passwd")], "no file of the archive"),
    "hard link to a link": (
        [entry("s", LINK, linkname="set/a.txt"), entry("l", HARD, linkname="s")],
        "no file of the archive",
    ),
    "pipe": ([entry("p", tarfile.FIFOTYPE)], "'p' is a special file"),
    "device": ([entry("d", tarfile.CHRTYPE)], "'d' is a special file"),
    "disk": ([entry("d", tarfile.BLKTYPE)], "'d' is a special file"),
    "twice": ([entry("set/a.txt", size=4)], "'set/a.txt' is there twice"),
    "twice but for the case": ([entry("SET/A.txt", size=4)], "'SET/A.txt' is there twice"),
    "link in place of a file": ([entry("set/a.txt", LINK, linkname="x")], "is there twice"),
}


@pytest.mark.parametrize(("entries", "words"), ENTRIES.values(), ids=ENTRIES.keys())
def test_links_and_special_files_that_lead_astray_are_refused(tmp_path, entries, words):
    archive = make_tar(tmp_path / "x.tar", FILES, *entries)
    assert words in refused(archive, tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("l")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = make_zip(tmp_path / "x.zip", {**FILES, link: b"/etc/passwd"})
    assert "'l' is a link or special file" in refused(archive, tmp_path / "out")


def test_links_within_the_archive_are_made(tmp_path):
    """A hard link becomes a copy."""
    entries = [
        entry("set/deep/up", LINK, linkname="../a.txt"),
        entry("here", LINK, linkname="./set/deep"),
        entry("copy.txt", HARD, linkname="set/a.txt"),
    ]
    out = tmp_path / "out"
    extract(make_tar(tmp_path / "x.tar", FILES, *entries), out)
    assert (out / "set/deep/up").is_symlink()
    assert (out / "set/deep/up").read_bytes() == (out / "copy.txt").read_bytes() == b"a" * 3000
    assert (out / "here").resolve() == out / "set/deep"
    assert (out / "copy.txt").stat().st_nlink == 1


def test_rights_and_owners_are_not_taken_over(tmp_path):
    info = entry("tool", mode=0o6777, uid=12345, gid=12345, size=3)
    out = tmp_path / "out"
    extract(
        make_tar(tmp_path / "x.tar", FILES, info, entry("d", tarfile.DIRTYPE, mode=0o7000)), out
    )
    found = (out / "tool").stat()
    assert not found.st_mode & 0o7111
    assert found.st_uid == os.getuid()
    assert not (out / "d").stat().st_mode & (stat.S_ISUID | stat.S_ISVTX)


@pytest.mark.parametrize("suffix", KINDS)
def test_a_damaged_archive_costs_one_line(tmp_path, suffix):
    """Cut off anywhere, even where a member ends, or empty, or something else."""
    archive = make(tmp_path / f"x{suffix}")
    whole = archive.read_bytes()
    end = whole.rstrip(b"\0") if suffix == ".tar" else whole
    cuts = {*range(0, len(end), max(1, len(end) // 15)), len(end) - 1}
    cuts |= set(range(0, len(end), 512)) if suffix == ".tar" else set()
    for cut in cuts:
        archive.write_bytes(whole[:cut])
        refused(archive, tmp_path / "out")
    archive.write_bytes(b"<html>not found</html>")
    assert "remove it, and fetch it again" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_a_wrong_checksum_is_noticed(tmp_path, suffix):
    archive = make(tmp_path / f"x{suffix}", {"a": os.urandom(5000)})
    content = bytearray(archive.read_bytes())
    content[2500] ^= 1
    archive.write_bytes(content)
    assert "is damaged" in refused(archive, tmp_path / "out")


def test_an_archive_that_is_not_there_costs_one_line(tmp_path):
    assert "No such file" in refused(tmp_path / "x.tar", tmp_path / "out")


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_too_little_space_is_noticed_before_anything_is_written(tmp_path, monkeypatch, suffix):
    archive, out = make(tmp_path / f"x{suffix}"), tmp_path / "out"
    needed = sum(map(len, FILES.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    assert "make room first" in refused(archive, out)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    extract(archive, out)
    assert files_below(out) == FILES


def test_a_hard_link_needs_the_space_of_its_file(tmp_path, monkeypatch):
    archive = make_tar(tmp_path / "x.tar", FILES, entry("copy", HARD, linkname="set/a.txt"))
    needed = sum(map(len, FILES.values())) + 3000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    assert "make room first" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", KINDS)
def test_a_disk_that_fills_up_costs_one_line(tmp_path, monkeypatch, suffix):
    def fail(source, target, length):
        target.write(source.read(10))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    assert "No space left" in refused(make(tmp_path / f"x{suffix}"), tmp_path / "out")


def test_an_interrupted_extraction_leaves_nothing(tmp_path, monkeypatch):
    def stop(source, target, length):
        raise KeyboardInterrupt

    archive, out = make(tmp_path / "x.tar"), tmp_path / "out"
    monkeypatch.setattr(shutil, "copyfileobj", stop)
    with pytest.raises(KeyboardInterrupt):
        extract(archive, out)
    assert not files_below(out)


def test_what_a_killed_process_left_is_removed(tmp_path):
    archive, out = make(tmp_path / "x.tar"), tmp_path / "out"
    (out / ".unpacking-x.tar" / "set").mkdir(parents=True)
    (out / ".unpacking-x.tar" / "set" / "half.txt").write_bytes(b"half")
    extract(archive, out)
    assert files_below(out) == FILES


def test_two_processes_do_not_unpack_into_one_folder(tmp_path):
    archive, out = make(tmp_path / "x.tar"), tmp_path / "out"
    out.mkdir()
    with locked_by_another(out / ".unpacking.lock"):
        with pytest.raises(UserError, match="another process unpacks in"):
            extract(archive, out)
        assert not files_below(out)


def test_a_folder_in_the_way_of_a_file_costs_one_line(tmp_path):
    out = tmp_path / "out"
    (out / "beside.txt").mkdir(parents=True)
    with pytest.raises(UserError, match=r"beside.txt is in the way: .*x.tar"):
        extract(make(tmp_path / "x.tar"), out)


# data.prepare

ARCHIVES = {
    "pascal": (make_pascal, {"VOCtrainval_11-May-2012.tar": ["VOCdevkit"]}),
    "coco": (
        make_coco,
        {
            "annotations_trainval2014.zip": ["annotations"],
            "train2014.zip": ["train2014"],
            "val2014.zip": ["val2014"],
        },
    ),
    "cub": (make_cub, {"CUB_200_2011.tgz": ["CUB_200_2011", "attributes.txt"]}),
}


def packed(root, dataset):
    """A release as its official archives alone."""
    maker, contents = ARCHIVES[dataset]
    folder = maker(root)
    for name, tops in contents.items():
        whole = files_below(folder)
        make(folder / name, {k: v for k, v in whole.items() if k.split("/")[0] in tops})
        for top in tops:
            path = folder / top
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


@pytest.mark.parametrize("dataset", ARCHIVES)
def test_prepare_unpacks_the_official_archives_once(tmp_path, capsys, dataset):
    folder = packed(tmp_path / "packed", dataset)
    ARCHIVES[dataset][0](tmp_path / "plain")
    for root in ("packed", "plain"):
        assert cli.run(prepare.main, [dataset, "--data_root", str(tmp_path / root)]) == 0
    printed = capsys.readouterr()
    assert "missing" not in printed.err
    for name in ARCHIVES[dataset][1]:
        assert f"unpacking {folder / name}\n" in printed.out
    there = files_below(folder)
    expected = files_below(tmp_path / "plain" / dataset)
    assert {name: there[name] for name in expected} == expected
    assert cli.run(prepare.main, [dataset, "--data_root", str(tmp_path / "packed")]) == 0
    assert "unpacking" not in capsys.readouterr().out


def test_prepare_unpacks_what_is_missing_alone(tmp_path, capsys):
    folder = packed(tmp_path, "coco")
    extract(folder / "train2014.zip", folder)
    picture = next((folder / "train2014").iterdir())
    picture.write_bytes(b"mine")
    assert cli.run(prepare.main, ["coco", "--data_root", str(tmp_path)]) == 0
    assert picture.read_bytes() == b"mine"
    assert capsys.readouterr().out.count("unpacking") == 2


def test_prepare_names_a_damaged_archive(tmp_path, capsys):
    folder = packed(tmp_path, "cub")
    archive = folder / "CUB_200_2011.tgz"
    archive.write_bytes(archive.read_bytes()[:-2000])
    assert cli.run(prepare.main, ["cub", "--data_root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"error: {archive} is damaged (" in error
    assert set(files_below(Path(folder))) == {archive.name}
