"""What training sees of the data: the official draws, formatted folders and their mistakes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import config
from cli import UserError
from data import digits
from data.class_names import COCO, PASCAL
from data.observe import observe_labels
from datasets import load_data, split_indices, subsample

RNG = np.random.RandomState(4)
TRUTH = {"train": RNG.randint(0, 2, (20, 3)), "val": RNG.randint(0, 2, (6, 3))}
OBSERVED = {part: observe_labels(labels, 1, 0, 1200) for part, labels in TRUTH.items()}
NAMES = {part: np.array([f"{part}/{i}.png" for i in range(len(TRUTH[part]))]) for part in TRUTH}


# The official draws, written down a second time from their description


def transcribed_split(num_images, val_frac, seed):
    n = round(val_frac * num_images)
    perm = np.random.RandomState(seed).permutation(num_images).tolist()
    return sorted(perm[: num_images - n]), sorted(perm[num_images - n :])


def transcribed_subsample(train, val, frac_train, frac_val, seed):
    rng = np.random.RandomState(seed)
    kept = []
    for places, frac in ((train, frac_train), (val, frac_val)):
        m = len(places)
        keep = sorted(rng.permutation(m)[: round(frac * m)].tolist())
        kept.append([places[i] for i in keep])
    return kept


@pytest.mark.parametrize("num_images", [5717, 101, 10, 7, 1])
@pytest.mark.parametrize("val_frac", [0.2, 0.5, 0.123])
@pytest.mark.parametrize("seed", [1200, 0])
def test_the_split_is_the_official_one(num_images, val_frac, seed):
    train, val = split_indices(num_images, val_frac, seed)
    assert (train.tolist(), val.tolist()) == transcribed_split(num_images, val_frac, seed)
    assert sorted([*train, *val]) == list(range(num_images))


def test_the_split_of_seed_1200_is_committed():
    train, val = split_indices(10, 0.2, 1200)
    assert val.tolist() == [3, 7]
    assert train.tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert [len(part) for part in split_indices(5717, 0.2, 1200)] == [4574, 1143]  # VOC12


@pytest.mark.parametrize(("frac_train", "frac_val"), [(1, 1), (0.5, 1), (1, 0.3), (0.25, 0.7)])
@pytest.mark.parametrize("seed", [999, 5])
def test_the_subsampling_is_the_official_one(frac_train, frac_val, seed):
    train, val = split_indices(203, 0.2, 1200)
    got = subsample(train, val, frac_train, frac_val, seed)
    expected = transcribed_subsample(train, val, frac_train, frac_val, seed)
    assert [places.tolist() for places in got] == expected
    assert [len(places) for places in got] == [round(frac_train * 162), round(frac_val * 41)]


def test_all_of_a_split_is_the_split():
    train, val = split_indices(50, 0.3, 7)
    for places, same in zip(subsample(train, val, 1.0, 1.0, 999), (train, val), strict=True):
        np.testing.assert_array_equal(places, same)


def test_a_new_seed_draws_anew():
    first, second = (split_indices(100, 0.2, seed)[1].tolist() for seed in (1, 2))
    assert first != second
    train, val = split_indices(100, 0.2, 1)
    drawn = [subsample(train, val, 0.5, 1.0, seed)[0].tolist() for seed in (1, 2)]
    assert drawn[0] != drawn[1]


# Formatted folders


def write(folder, kinds=("images", "labels", "labels_obs"), truth=TRUTH, about=None):
    """A formatted folder with the files of these kinds, perhaps a dataset.json."""
    arrays = {"images": NAMES, "labels": truth, "labels_obs": OBSERVED}
    arrays["uniform_labels_obs"] = {part: -OBSERVED[part] for part in OBSERVED}
    folder.mkdir(exist_ok=True)
    for kind in kinds:
        for part in ("train", "val"):
            np.save(folder / f"formatted_{part}_{kind}.npy", arrays[kind][part])
    if about is not None:
        (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def load(folder, *argv):
    return load_data(config.parse_args(["--dataset", str(folder), *argv]))


def test_a_folder_with_full_truth(tmp_path):
    """{0, 1} becomes {-1, 1}; val is cut from train, and formatted_val_* is the test split."""
    data = load(write(tmp_path))
    train, val = transcribed_split(20, 0.2, 1200)
    signed = {part: np.where(TRUTH[part] == 1, 1, -1) for part in TRUTH}
    for split, places in ((data.train, train), (data.val, val)):
        np.testing.assert_array_equal(split.truth, signed["train"][places])
        np.testing.assert_array_equal(split.observed, OBSERVED["train"][places])
        assert split.images.names.tolist() == NAMES["train"][places].tolist()
        assert split.truth.dtype == split.observed.dtype == np.int8
        assert len(split) == len(places)
    np.testing.assert_array_equal(data.test.best_known, signed["val"])
    assert data.test.images.names.tolist() == NAMES["val"].tolist()
    assert data.classes == ("class 0", "class 1", "class 2")


def test_the_variants_of_the_labels(tmp_path):
    train = load(write(tmp_path)).train
    np.testing.assert_array_equal(train.labels("clean"), train.truth)
    np.testing.assert_array_equal(train.labels("observed"), train.observed)
    assert (train.labels("clean") != train.labels("observed")).any()


def test_the_flags_of_split_and_subsampling_are_followed(tmp_path):
    argv = ["--val_frac", "0.4", "--split_seed", "3", "--ss_seed", "5"]
    data = load(write(tmp_path), *argv, "--ss_frac_train", "0.5", "--ss_frac_val", "0.75")
    train, val = transcribed_subsample(*transcribed_split(20, 0.4, 3), 0.5, 0.75, 5)
    assert (len(train), len(val)) == (6, 6)
    assert data.train.images.names.tolist() == NAMES["train"][train].tolist()
    assert data.val.images.names.tolist() == NAMES["train"][val].tolist()
    assert len(data.test) == 6


def test_a_folder_with_partial_truth(tmp_path):
    """-1, 0 and 1 stay what they are; an unknown label is left out of the tests later."""
    partial = {part: RNG.randint(-1, 2, labels.shape) for part, labels in TRUTH.items()}
    data = load(write(tmp_path, truth=partial, about={"truth": "partial"}))
    np.testing.assert_array_equal(data.test.best_known, partial["val"])
    np.testing.assert_array_equal(
        data.train.truth, partial["train"][split_indices(20, 0.2, 1200)[0]]
    )


def test_a_folder_without_truth(tmp_path):
    """The annotations are all there is, to train, to validate and to test on."""
    folder = write(tmp_path, kinds=("images", "labels_obs"), about={"truth": "none"})
    data = load(folder, "--val_set_variant", "observed")
    assert data.train.truth is data.val.truth is data.test.truth is None
    np.testing.assert_array_equal(data.test.best_known, np.where(OBSERVED["val"] == 1, 1, -1))


def test_a_folder_without_truth_has_no_clean_labels(tmp_path):
    folder = write(tmp_path, kinds=("images", "labels_obs"), about={"truth": "none"})
    with pytest.raises(UserError, match=r"--val_set_variant clean: .* give --val_set_variant obs"):
        load(folder)
    argv = ["--train_set_variant", "clean", "--val_set_variant", "observed"]
    with pytest.raises(UserError, match="--train_set_variant clean: the truth of"):
        load(folder, *argv)


def test_a_folder_without_observed_labels_trains_on_all_of_them(tmp_path):
    folder = write(tmp_path, kinds=("images", "labels"))
    data = load(folder, "--train_set_variant", "clean")
    assert data.train.observed is None
    assert set(np.unique(data.train.labels("clean"))) == {-1, 1}
    with pytest.raises(UserError, match=r"--train_set_variant observed: .* data.observe"):
        load(folder)


def test_the_names_of_spml_are_accepted(tmp_path):
    folder = write(tmp_path, kinds=("images", "labels", "uniform_labels_obs"))
    train, _ = split_indices(20, 0.2, 1200)
    np.testing.assert_array_equal(load(folder).train.observed, -OBSERVED["train"][train])
    write(folder)  # the official name goes first
    np.testing.assert_array_equal(load(folder).train.observed, OBSERVED["train"][train])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.int64])
def test_labels_may_be_numbers_of_any_kind(tmp_path, dtype):
    data = load(write(tmp_path, truth={part: TRUTH[part].astype(dtype) for part in TRUTH}))
    np.testing.assert_array_equal(data.test.truth, TRUTH["val"] * 2 - 1)
    assert data.test.truth.dtype == np.int8


def test_images_lie_where_dataset_json_says(tmp_path):
    about = {"name": "mine", "images": "pictures", "classes": ["a", "b", "c"], "more": 1}
    data = load(write(tmp_path, about=about), "--image_size", "8")
    assert data.classes == ("a", "b", "c")
    for i in (0, 3):
        path = tmp_path / "pictures" / "val" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (10 * i, 0, 0)).save(path)
    images, index = data.test.images.__getitems__([3, 0])
    assert images.shape == (2, 3, 8, 8)
    assert images[:, 0, 0, 0].tolist() == [30, 0]
    assert index.tolist() == [3, 0]


KNOWN = {
    "pascal": ("VOCdevkit/VOC2012/JPEGImages", PASCAL),
    "coco": ("", COCO),
    "cub": ("CUB_200_2011/images", None),
    "nuswide": ("Flickr", None),
}


@pytest.mark.parametrize(("name", "layout"), KNOWN.items())
def test_known_sets_lie_below_the_data_root(tmp_path, name, layout):
    images, classes = layout
    num_classes = len(classes) if classes else 5
    labels = {part: np.resize(TRUTH[part], (len(TRUTH[part]), num_classes)) for part in TRUTH}
    write(tmp_path / name, kinds=("images", "labels"), truth=labels)
    argv = ["--train_set_variant", "clean", "--data_root", str(tmp_path)]
    data = load_data(config.parse_args(["--dataset", name, *argv]))
    assert data.test.images.folder == tmp_path / name / images
    assert data.classes == (classes or tuple(f"class {k}" for k in range(5)))
    (tmp_path / name / "formatted_train_images.npy").unlink()
    with pytest.raises(UserError, match=r"formatted_train_images.npy is missing"):
        load_data(config.parse_args(["--dataset", name, *argv]))


def test_what_makes_a_missing_set_is_said(tmp_path):
    (tmp_path / "coco").mkdir()
    argv = ["--dataset", "coco", "--data_root", str(tmp_path)]
    with pytest.raises(UserError, match=f"python -m data.prepare coco --data_root {tmp_path}"):
        load_data(config.parse_args(argv))


@pytest.mark.parametrize("flags", [["--val_frac", "0.01"], ["--ss_frac_train", "0.01"]])
def test_a_split_of_nothing_is_refused(tmp_path, flags):
    with pytest.raises(UserError, match=r"--val_frac .* of 20 images leaves \d+ to train and"):
        load(write(tmp_path), *flags)


# Mistakes in a folder: file, its new content, words of the error

TRAIN = "formatted_train_{}.npy"
IMAGES, LABELS, LABELS_OBS = (TRAIN.format(kind) for kind in ("images", "labels", "labels_obs"))
TRAIN_TRUTH, TRAIN_OBSERVED, TRAIN_NAMES = TRUTH["train"], OBSERVED["train"], NAMES["train"]
MALFORMED = [
    (IMAGES, None, "is missing"),
    (IMAGES, b"", "no plain .npy array"),
    (IMAGES, b"some text\n", "no plain .npy array"),
    (IMAGES, np.array(["a.jpg"] * 20, dtype=object), "no plain .npy array"),
    (IMAGES, np.arange(20), r"holds int64 of shape \(20,\), where names"),
    (IMAGES, TRAIN_NAMES[:, None], "where names"),
    (IMAGES, TRAIN_NAMES[:19], "has 20 rows for 19 images"),
    (IMAGES, np.array([b"\xff.jpg"] * 20), "formatted_train_images.npy"),
    (LABELS, None, "is missing"),
    (LABELS, TRAIN_TRUTH[:19], "has 19 rows for 20 images"),
    (LABELS, TRAIN_TRUTH[:, 0], "where labels"),
    (LABELS, TRAIN_TRUTH[..., None], "where labels"),
    (LABELS, TRAIN_TRUTH.astype(str), "where labels"),
    (LABELS, TRAIN_TRUTH * 2, r"holds 2: a label is one of \(0, 1\)"),
    (LABELS, TRAIN_TRUTH * 2 - 1, r"holds -1: a label is one of \(0, 1\)"),
    (LABELS, TRAIN_TRUTH * np.nan, "holds nan: a label is one of"),
    (LABELS, TRAIN_TRUTH * 0.5, "holds 0.5: a label is one of"),
    (LABELS, TRAIN_TRUTH[:, :0], "is empty"),
    ("formatted_val_labels.npy", TRUTH["val"][:, :2], "columns"),
    (LABELS_OBS, TRAIN_OBSERVED * 2, r"holds 2: a label is one of \(-1, 0, 1\)"),
    (LABELS_OBS, TRAIN_OBSERVED[:, :2], "has 2 columns, the true labels 3"),
    (LABELS_OBS, TRAIN_OBSERVED[:5], "has 5 rows for 20 images"),
    ("dataset.json", b"{", "dataset.json cannot be read"),
    ("dataset.json", b"\xff\xfe", "dataset.json cannot be read"),
    ("dataset.json", b"[" * 100_000, "dataset.json cannot be read"),
    ("dataset.json", [1], "dataset.json must hold an object"),
    ("dataset.json", {"truth": "half"}, "truth is 'half', not full or partial or none"),
    ("dataset.json", {"truth": ["full"]}, "dataset.json: truth is"),
    ("dataset.json", {"truth": None}, "dataset.json: truth is None"),
    (
        "dataset.json",
        {"classes": "abc"},
        "dataset.json: classes is 'abc', not a list of different names",
    ),
    ("dataset.json", {"classes": ["a", 1, "c"]}, "dataset.json: classes is"),
    ("dataset.json", {"classes": ["a", "b"]}, "2 class names for 3 label columns: .* dataset.json"),
    ("dataset.json", {"classes": ["a", "b", "a"]}, "dataset.json"),  # test_ap is by name
    ("dataset.json", {"images": 5}, "dataset.json: images is 5, not a sub-folder"),
]


def test_both_parts_must_have_the_same_classes(tmp_path):
    folder = write(tmp_path, kinds=("images", "labels"))
    np.save(folder / "formatted_val_labels.npy", TRUTH["val"][:, :2])
    with pytest.raises(UserError, match="the train labels have 3 columns, the val labels 2"):
        load(folder, "--train_set_variant", "clean")


def spoil(path, content):
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_text(json.dumps(content))


@pytest.mark.parametrize(("name", "content", "words"), MALFORMED)
def test_a_malformed_folder_costs_one_line_that_names_it(tmp_path, name, content, words):
    spoil(write(tmp_path) / name, content)
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert len(message.splitlines()) == 1


def test_pickled_arrays_are_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    write(tmp_path)
    np.save(tmp_path / LABELS, np.array([Payload()], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"no plain .npy array"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


# digits


def pixels(split):
    """All images of a split, as a loader would give them."""
    images, index = split.images.__getitems__(list(range(len(split))))
    assert index.tolist() == list(range(len(split)))
    return images


@pytest.fixture(scope="module")
def digits_data():
    return load_data(config.parse_args(["--dataset", "digits"]))


def test_digits_splits(digits_data):
    splits = (digits_data.train, digits_data.val, digits_data.test)
    assert [len(split) for split in splits] == [2400, 600, 1500]
    assert digits_data.classes == tuple("0123456789")
    for split in splits:
        assert pixels(split).shape == (len(split), 3, 24, 24)
        assert pixels(split).dtype == torch.uint8
        assert split.truth.shape == split.observed.shape == (len(split), 10)
        assert split.truth.dtype == split.observed.dtype == np.int8


def test_digits_has_one_observed_positive_an_image(digits_data):
    for split in (digits_data.train, digits_data.val, digits_data.test):
        assert set(np.unique(split.truth)) == {-1, 1}
        assert set(np.unique(split.observed)) == {0, 1}
        assert (split.observed.sum(1) == 1).all()
        assert (split.truth[split.observed == 1] == 1).all()


def test_digits_are_the_canvases_in_the_official_split(digits_data):
    canvases = digits.compose("train")
    train, val = transcribed_split(3000, 0.2, 1200)
    for split, places in ((digits_data.train, train), (digits_data.val, val)):
        np.testing.assert_array_equal(pixels(split).numpy(), canvases.images[places])
        np.testing.assert_array_equal(split.truth, canvases.labels[places] * 2 - 1)
    test = digits.compose("val")
    np.testing.assert_array_equal(pixels(digits_data.test).numpy(), test.images)
    np.testing.assert_array_equal(digits_data.test.truth, test.labels * 2 - 1)


def test_digits_are_the_same_for_every_seed(digits_data):
    torch.manual_seed(5)
    np.random.seed(5)
    again = load_data(config.parse_args(["--dataset", "digits", "--seed", "17"]))
    for name in ("train", "val", "test"):
        first, second = getattr(digits_data, name), getattr(again, name)
        assert torch.equal(pixels(first), pixels(second))
        np.testing.assert_array_equal(first.observed, second.observed)


def test_digits_at_another_size():
    data = load_data(config.parse_args(["--dataset", "digits", "--image_size", "48"]))
    assert pixels(data.train).shape == (2400, 3, 48, 48)
    assert pixels(data.train).dtype == torch.uint8
