"""Pictures of one digit each: one positive label, a scan of that digit, nothing else."""

import hashlib
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

import cli
from config import parse_args
from data import digit_singles
from datasets import load_data
from tests import tiny

COUNTS = {"train": 6000, "val": 1500}
FEW = {"train": 60, "val": 20}


@pytest.fixture(scope="module")
def singles():
    return {part: digit_singles.make_singles(part) for part in COUNTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A few of them on disk."""
    out = tmp_path_factory.mktemp("singles") / "few"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(digit_singles, "COUNTS", FEW)
        assert cli.run(digit_singles.main, ["--out", str(out)]) == 0
    return out


def scans_in(pictures):
    """The scan of each picture, by its pixels: what lies within the border of what is not black."""
    for picture in pictures:
        rows, columns = (np.flatnonzero(picture.any(axis=axis)) for axis in (1, 0))
        yield picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].tobytes()


@pytest.fixture(scope="module")
def digit_of():
    """The digit of each of scikit-learn's scans, cut as above."""
    scans, names = load_digits(return_X_y=True)
    pixels = (scans / 16 * 255).round().astype(np.uint8).reshape(-1, 8, 8)
    return dict(zip(scans_in(pixels), names.tolist(), strict=True))


@pytest.mark.parametrize("part", COUNTS)
def test_a_picture_holds_a_scan_of_its_digit(singles, digit_of, part):
    pictures, digits = singles[part]
    assert (pictures.shape, pictures.dtype) == ((COUNTS[part], 24, 24), np.uint8)
    assert [digit_of[scan] for scan in scans_in(pictures)] == digits.tolist()
    assert np.bincount(digits, minlength=10).min() > 0.08 * COUNTS[part]


@pytest.mark.parametrize("part", COUNTS)
def test_scans_lie_anywhere(singles, part):
    for axis in (1, 2):
        lines = singles[part][0].any(axis=axis)  # bool [N, 24]
        firsts, lasts = lines.argmax(axis=1), 23 - lines[:, ::-1].argmax(axis=1)
        assert {*range(2, 16)} <= {*firsts.tolist()}  # the border of a scan is mostly black
        assert {*range(8, 22)} <= {*lasts.tolist()}
        assert (lasts - firsts).max() < 8


def test_the_parts_share_no_scan(singles):
    train, val = ({*scans_in(singles[part][0])} for part in COUNTS)
    assert not train & val
    assert (len(train), len(val)) == (1078, 719)


@pytest.mark.parametrize(
    ("part", "expected"), [("train", "428c3f1c3a93b1f0"), ("val", "1802a9833bba091a")]
)
def test_the_pictures_are_always_the_same(singles, part, expected):
    """The pretrained results are of networks that learned these."""
    np.random.seed(99)
    again = digit_singles.make_singles(part)
    for first, second in zip(singles[part], again, strict=True):
        np.testing.assert_array_equal(first, second)
    digest = hashlib.sha256(b"".join(array.astype("u1").tobytes() for array in again)).hexdigest()
    assert digest[:16] == expected


def test_training_reads_what_was_made(folder, monkeypatch):
    words = f"--dataset {folder} --image_size 24 --train_set_variant clean"
    data = load_data(parse_args(words.split()))
    monkeypatch.setattr(digit_singles, "COUNTS", FEW)
    assert data.classes == tuple("0123456789")
    for split, part in ((data.test, "val"), (data.train, "train")):
        pictures, digits = digit_singles.make_singles(part)
        assert ((split.truth == 1).sum(axis=1) == 1).all()
        places = [int(name.removeprefix(f"{part}/").removesuffix(".png")) for name in split.names]
        assert split.truth.argmax(axis=1).tolist() == digits[places].tolist()
        read = split.images.__getitems__([0, 1, 2])[0].numpy()
        assert (read == pictures[places[:3], None]).all()
    assert json.loads((folder / "dataset.json").read_text())["source"].startswith("single digits")


def test_a_network_learns_from_them(folder, tmp_path):
    summary, _ = tiny.train(
        folder, tmp_path, "--mod_scheme", "AN", "--delta_rel", "0", "--train_set_variant", "clean",
        "--image_size", "24", "--num_epochs", "1",
    )  # fmt: skip
    assert len(summary["test_ap"]) == 10


def test_they_are_written_over_and_are_the_same_bytes(folder, monkeypatch, capsys):
    def everything():
        return {path: path.read_bytes() for path in folder.glob("**/*") if path.is_file()}

    before = everything()
    assert len([path for path in before if path.suffix == ".png"]) == 80
    monkeypatch.setattr(digit_singles, "COUNTS", FEW)
    assert cli.run(digit_singles.main, ["--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"wrote 60 + 20 pictures in {folder}\n"
    assert everything() == before


@pytest.mark.parametrize("blocked", ["", "train", "train/0000.png"])
def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, blocked):
    monkeypatch.setattr(digit_singles, "COUNTS", FEW)
    path = tmp_path / "out" / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if blocked.endswith(".png") else path.write_text("")
    assert cli.run(digit_singles.main, ["--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {tmp_path / 'out'}")
    assert error.count("\n") == 1
