"""The draw of the observed labels, and its command."""

import numpy as np
import pytest

import cli
from cli import UserError
from data import observe
from data.observe import observe_labels

LABELS = (np.random.RandomState(5).rand(40, 7) < 0.4).astype(np.int8)


def transcribed(labels, num_pos, num_neg, seed):
    """The official draw, written down a second time with plain lists."""
    rng = np.random.RandomState(seed)
    observed = [[0] * len(row) for row in labels.tolist()]
    for i, row in enumerate(labels.tolist()):
        positives = [j for j, value in enumerate(row) if value == 1]
        negatives = [j for j, value in enumerate(row) if value == 0]
        rng.shuffle(positives)
        rng.shuffle(negatives)
        for j in positives if num_pos == -1 else positives[:num_pos]:
            observed[i][j] = 1
        for j in negatives if num_neg == -1 else negatives[:num_neg]:
            observed[i][j] = -1
    return np.array(observed)


@pytest.mark.parametrize(("num_pos", "num_neg"), [(1, 0), (0, 0), (2, 3), (-1, 1), (1, -1)])
@pytest.mark.parametrize("seed", [0, 1200])
def test_the_draw_is_the_official_one(num_pos, num_neg, seed):
    observed = observe_labels(LABELS, num_pos, num_neg, seed)
    assert observed.dtype == np.int8
    np.testing.assert_array_equal(observed, transcribed(LABELS, num_pos, num_neg, seed))


def test_the_draw_of_seed_1200_is_committed():
    labels = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    expected = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(observe_labels(labels, 1, 0, 1200), expected)


def test_one_positive_an_image_is_kept_and_no_label_is_invented():
    observed = observe_labels(LABELS, 1, 2, 3)
    assert ((observed == 1).sum(1) == LABELS.max(1)).all()
    assert ((observed == -1).sum(1) == np.minimum(2, (LABELS == 0).sum(1))).all()
    assert (LABELS[observed == 1] == 1).all()
    assert (LABELS[observed == -1] == 0).all()


def test_everything_observed_is_the_truth():
    np.testing.assert_array_equal(observe_labels(LABELS, -1, -1, 0), np.where(LABELS == 1, 1, -1))


def test_only_the_seed_decides():
    first = observe_labels(LABELS, 1, 0, 7)
    np.random.seed(99)
    np.testing.assert_array_equal(first, observe_labels(LABELS.astype(float), 1, 0, 7))
    assert (first != observe_labels(LABELS, 1, 0, 8)).any()


def folder_with(path, train, val):
    path.mkdir(parents=True, exist_ok=True)
    for part, labels in (("train", train), ("val", val)):
        np.save(path / f"formatted_{part}_labels.npy", labels, allow_pickle=True)
    return path


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_draws_each_part_with_a_stream_of_its_own(tmp_path, capsys):
    folder = folder_with(tmp_path / "coco", LABELS, LABELS[:9])
    flags = ["--num_pos", "2", "--num_neg", "1", "--seed", "5"]
    assert cli.run(observe.main, ["coco", "--data_root", str(tmp_path), *flags]) == 0
    for part, labels in (("train", LABELS), ("val", LABELS[:9])):
        written = np.load(folder / f"formatted_{part}_labels_obs.npy")
        np.testing.assert_array_equal(written, transcribed(labels, 2, 1, 5))
    positives = (transcribed(LABELS, 2, 1, 5) == 1).sum()
    assert f"40 images x 7 classes, observed: {positives} positive and" in capsys.readouterr().out


def test_the_command_takes_the_path_of_any_folder(tmp_path):
    folder = folder_with(tmp_path / "mine", LABELS, LABELS)
    assert cli.run(observe.main, [str(folder)]) == 0
    written = np.load(folder / "formatted_val_labels_obs.npy")
    np.testing.assert_array_equal(written, transcribed(LABELS, 1, 0, 1200))


BAD_LABELS = {
    "partial truth": (LABELS - 1, "the value -1 is neither 0 nor 1"),
    "not a number": (LABELS.astype(float) * np.nan, "the value nan"),
    "one row": (LABELS[0], "must be a table [images, classes]"),
    "text": (LABELS.astype(str), "must be a table [images, classes]"),
    "pickled": (LABELS.astype(object), "no plain .npy array"),
}


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS.values(), ids=BAD_LABELS.keys())
def test_bad_labels_cost_one_line_and_no_file(tmp_path, capsys, labels, message):
    folder = folder_with(tmp_path / "mine", LABELS, labels)
    before = files_in(folder)
    assert cli.run(observe.main, [str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert "formatted_val_labels.npy" in error
    assert files_in(folder) == before


@pytest.mark.parametrize(
    "content", [b"", b"no array", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x04\x00{}"]
)
def test_a_damaged_file_costs_one_line(tmp_path, capsys, content):
    folder = folder_with(tmp_path / "mine", LABELS, LABELS)
    (folder / "formatted_train_labels.npy").write_bytes(content)
    assert cli.run(observe.main, [str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "formatted_train_labels.npy is no plain .npy array" in error


WRONG_FLAGS = {
    "unknown set": (["cocoa"], "did you mean coco?"),
    "composed set": (["digits"], "composed in memory"),
    "negative count": (["coco", "--num_pos", "-2"], "-2 must be a whole number >= -1"),
    "seed too large": (["coco", "--seed", str(2**32)], "--seed"),
    "no labels": (["coco"], "formatted_train_labels.npy is missing: make it with python -m data.p"),
    "no folder": (["pascal"], "pascal: make it with python -m data.prepare pascal --data_root"),
    "long name": (["a" * 300], "cannot be reached: File name too long"),
    "no crawl": (["nuswide"], "nuswide: put the formatted_*.npy files of SPML in"),
}


@pytest.mark.parametrize(("argv", "message"), WRONG_FLAGS.values(), ids=WRONG_FLAGS.keys())
def test_a_wrong_command_costs_one_line(tmp_path, capsys, argv, message):
    (tmp_path / "coco").mkdir()
    assert cli.run(observe.main, [*argv, "--data_root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert argv[0] == "cocoa" or "did you mean" not in error


def test_a_library_caller_gets_a_value_error():
    with pytest.raises(UserError, match="the value 2 is neither 0 nor 1"):
        observe_labels(LABELS * 2, 1, 0, 0)
