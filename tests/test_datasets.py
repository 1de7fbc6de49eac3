"""What training sees of the data: the official draws, formatted folders and their mistakes."""

import io
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_array

import config
from cli import UserError
from data import digits
from data.arrays import load_sparse
from data.class_names import COCO, PASCAL
from data.draw import Draw
from data.formatted import array_path, labels_path, load_labels
from data.labels import digest, to_dense
from data.observe import observe_labels, redraw
from data.read import read_folder
from datasets import SKIPPED, load_data, split_indices, subsample
from tests import tiny
from tests.tiny import write_labels, write_sparse

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
        assert split.names.tolist() == NAMES["train"][places].tolist()
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
    data = load(folder, "--train_set_variant", "clean")  # it has no observed positive
    np.testing.assert_array_equal(data.train.observed, -OBSERVED["train"][train])
    write(folder)  # the official name goes first
    np.testing.assert_array_equal(load(folder).train.observed, OBSERVED["train"][train])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.int64])
def test_labels_may_be_numbers_of_any_kind(tmp_path, dtype):
    data = load(write(tmp_path, truth={part: TRUTH[part].astype(dtype) for part in TRUTH}))
    np.testing.assert_array_equal(data.test.truth, TRUTH["val"] * 2 - 1)
    assert data.test.truth.dtype == np.int8


def test_images_lie_where_dataset_json_says(tmp_path):
    about = {"name": "mine", "images": "pictures", "classes": ["a", "b", "c"]}
    with pytest.raises(UserError, match=r"pictures, is missing: .* `images` in dataset.json"):
        load(write(tmp_path, about=about))
    (tmp_path / "pictures" / "val").mkdir(parents=True)
    data = load(tmp_path, "--image_size", "8")
    assert data.classes == ("a", "b", "c")
    for i in (0, 3):
        path = tmp_path / "pictures" / "val" / f"{i}.png"
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
    (tmp_path / name / images).mkdir(parents=True, exist_ok=True)
    argv = ["--train_set_variant", "clean", "--data_root", str(tmp_path)]
    data = load_data(config.parse_args(["--dataset", name, *argv]))
    assert data.test.images.folder == tmp_path / name / images
    assert data.classes == (classes or tuple(f"class {k}" for k in range(5)))
    (tmp_path / name / "formatted_train_images.npy").unlink()
    with pytest.raises(UserError, match=r"formatted_train_images.npy is missing"):
        load_data(config.parse_args(["--dataset", name, *argv]))


@pytest.mark.parametrize("name", ["coco", "pascal", "cub"])
def test_what_makes_a_missing_set_is_said(tmp_path, name):
    """With a folder that a shell would take for two."""
    argv = ["--dataset", name, "--data_root", str(tmp_path / "my data")]
    with pytest.raises(UserError, match=r"formatted_train_images.npy is missing") as caught:
        load_data(config.parse_args(argv))
    command = f"python -m data.prepare {name} --data_root '{tmp_path}/my data'"
    assert str(caught.value).endswith(command)


def test_a_known_set_has_its_own_classes(tmp_path):
    """Also without a dataset.json, which could name others."""
    write(tmp_path / "coco", kinds=("images", "labels"))
    argv = ["--dataset", "coco", "--data_root", str(tmp_path), "--train_set_variant", "clean"]
    with pytest.raises(UserError, match="80 class names for 3 label columns: make coco again"):
        load_data(config.parse_args(argv))
    (tmp_path / "coco/dataset.json").write_text('{"classes": ["a", "b", "c"]}')
    assert load_data(config.parse_args(argv)).classes == ("a", "b", "c")


@pytest.mark.parametrize("flags", [["--val_frac", "0.01"], ["--ss_frac_train", "0.01"]])
def test_a_split_of_nothing_is_refused(tmp_path, flags):
    with pytest.raises(UserError, match=r"--val_frac .* of 20 images leaves \d+ to train and"):
        load(write(tmp_path), *flags)


# Mistakes in a folder: file, its new content, words of the error

TRAIN = "formatted_train_{}.npy"
IMAGES, LABELS, LABELS_OBS = (TRAIN.format(kind) for kind in ("images", "labels", "labels_obs"))
TRAIN_TRUTH, TRAIN_OBSERVED, TRAIN_NAMES = TRUTH["train"], OBSERVED["train"], NAMES["train"]


def header(descr, shape, version=b"\x01\x00"):
    """A .npy file of 24 bytes of data whose header says something of its own."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + bytes(24)


def saved(save, array):
    file = io.BytesIO()
    save(file, array)
    return file.getvalue()


MALFORMED = [
    (IMAGES, None, "is missing"),
    (IMAGES, b"", "no plain .npy array: it does not begin with a header of numpy.save"),
    (IMAGES, b"some text\n", "no plain .npy array: it does not begin with"),
    (IMAGES, saved(np.savez, TRAIN_NAMES), "no plain .npy array: it does not begin with"),
    (IMAGES, saved(np.savetxt, TRAIN_TRUTH), "no plain .npy array: it does not begin with"),
    (IMAGES, saved(np.save, TRAIN_NAMES)[:-1], "speaks of 960 bytes of data, it holds 959"),
    (IMAGES, saved(np.save, TRAIN_NAMES)[:20], "does not begin with"),
    (IMAGES, saved(np.save, TRAIN_NAMES) + b"more", "speaks of 960 bytes .* holds 964"),
    (IMAGES, np.array(["a.jpg"] * 20, dtype=object), "holds pickled Python objects, which could"),
    (IMAGES, np.array(None), "holds pickled Python objects"),
    (IMAGES, np.arange(20), r"holds int64 of shape \(20,\), where names"),
    (IMAGES, np.array("a.jpg"), r"of shape \(\), where names"),
    (IMAGES, TRAIN_NAMES[:, None], "where names"),
    (IMAGES, TRAIN_NAMES[:19], "has 20 rows for 19 images"),
    (IMAGES, np.array([b"\xff.jpg"] * 20), "train_images.npy holds names that are no text"),
    (IMAGES, np.array(["a.jpg"] * 7 + [""] * 13), "train_images.npy, row 7: '' names no image"),
    (IMAGES, np.array([b"a.jpg"] * 7 + [b""] * 13), "train_images.npy, row 7: '' names no image"),
    (IMAGES, np.array(["a.jpg"] * 19 + ["a\0b"]), r"row 19: 'a\\x00b' names no image"),
    (IMAGES, header("<U1", (6,)).replace(bytes(24), b"\xff" * 24), "train_images.npy holds names"),
    (LABELS, header("<i8", (10**12, 80)), "speaks of 640,000,000,000,000 bytes"),
    (LABELS, header("<i8", (2**62, 2**62)), "speaks of"),
    (LABELS, header("<i8", (-1, -3)), "speaks of 24 bytes"),
    (LABELS, header("<i8", (0, -3)), "speaks of 0 bytes"),
    (LABELS, header("|V0", (3, 1)), "speaks of 0 bytes"),
    (LABELS, header("<i8", (3, 1), b"\x03\x00"), "does not begin with"),
    (LABELS, header("<i8", (3, 1), b"\x09\x00"), "does not begin with"),
    (LABELS, header("<i9", (3, 1)), "does not begin with"),
    (LABELS, header("<i8", "-" * 5000 + "3"), "does not begin with"),
    (LABELS, header("<i8", "(" * 5000), "does not begin with"),
    (LABELS, header("<i8", " " * 20000 + "(3, 1)"), "does not begin with"),
    (LABELS, header([("a", "<i4"), ("b", "<i4")], (3, 1)), r"where labels \[N, K\] belong"),
    (LABELS, TRAIN_TRUTH.astype(complex), "holds complex128 of shape"),
    (LABELS, TRAIN_TRUTH.astype("M8[s]"), "where labels"),
    (LABELS, np.array(1), r"of shape \(\), where labels"),
    (LABELS, None, "is missing"),
    (LABELS, TRAIN_TRUTH[:19], "has 19 rows for 20 images"),
    (LABELS, TRAIN_TRUTH[:, 0], "where labels"),
    (LABELS, TRAIN_TRUTH[..., None], "where labels"),
    (LABELS, TRAIN_TRUTH.astype(str), "where labels"),
    (LABELS, TRAIN_TRUTH * 2, r"holds 2 .*: a label is one of \(0, 1\)"),
    (LABELS, TRAIN_TRUTH * 2 - 1, r"holds -1 .*: a label is one of \(0, 1\)"),
    (LABELS, TRAIN_TRUTH * np.nan, "holds nan .*: a label is one of"),
    (LABELS, TRAIN_TRUTH * 0.5, "holds 0.5 .*: a label is one of"),
    (LABELS, TRAIN_TRUTH[:, :0], "is empty"),
    ("formatted_val_labels.npy", TRUTH["val"][:, :2], "columns"),
    (LABELS_OBS, TRAIN_OBSERVED * 2, r"holds 2 .*: a label is one of \(-1, 0, 1\)"),
    (LABELS_OBS, TRAIN_OBSERVED[:, :2], "has 2 columns, the true labels 3"),
    (LABELS_OBS, TRAIN_OBSERVED[:5], "has 5 rows for 20 images"),
    ("dataset.json", b"{", "dataset.json is no JSON"),
    ("dataset.json", b"\xff\xfe", "dataset.json is no UTF-8"),
    ("dataset.json", b"[" * 100_000, "dataset.json is no JSON"),
    ("dataset.json", [1], "dataset.json must hold a JSON object"),
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
    ("dataset.json", {"classes": []}, "0 class names for 3 label columns"),
    ("dataset.json", {"images": 5}, "dataset.json: images is 5, not a sub-folder"),
    ("dataset.json", {"images": "a\0b"}, "not a sub-folder"),
    ("dataset.json", {"name": 5}, "dataset.json: name is 5, not text"),
    ("dataset.json", {"truht": "none"}, "unknown key 'truht', did you mean truth"),
    ("dataset.json", {"comment": ""}, r"unknown key 'comment' \(known are name, classes"),
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


NUMBERS = [str(place) for place in range(len(MALFORMED))]


@pytest.mark.parametrize(("name", "content", "words"), MALFORMED, ids=NUMBERS)
def test_a_malformed_folder_costs_one_line_that_names_it(tmp_path, name, content, words):
    spoil(write(tmp_path) / name, content)
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", [IMAGES, LABELS, LABELS_OBS, "dataset.json"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_at_once(tmp_path, name, make):
    path = write(tmp_path) / name
    path.unlink(missing_ok=True)
    make(path)
    with pytest.raises(UserError, match=f"{name} .*(is no regular file|Is a directory)"):
        load(tmp_path)


@pytest.mark.parametrize("name", [IMAGES, LABELS, LABELS_OBS])
def test_pickled_arrays_are_not_run(tmp_path, name):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    write(tmp_path)
    for content in (np.array([Payload()], dtype=object), np.array(Payload(), dtype=object)):
        np.save(tmp_path / name, content, allow_pickle=True)
        with pytest.raises(UserError, match=r"no plain .npy array: it holds pickled") as caught:
            load(tmp_path)
        assert "allow_pickle" not in str(caught.value)
    (tmp_path / name).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(UserError, match=r"no plain .npy array: it does not begin"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_arrays_may_be_stored_by_columns_or_in_the_other_byte_order(tmp_path):
    write(tmp_path)
    expected = load(tmp_path).fingerprint()
    np.save(tmp_path / LABELS, np.asfortranarray(TRAIN_TRUTH.astype(">i2")))
    np.save(tmp_path / LABELS_OBS, TRAIN_OBSERVED.T.copy().T)
    np.save(tmp_path / IMAGES, TRAIN_NAMES.astype(">U40"))
    assert load(tmp_path).fingerprint() == expected


def test_damage_anywhere_in_an_array_is_an_array_or_one_line(tmp_path):
    """Any byte of the header may be any other; memory is not asked for before the size is known."""
    path = write(tmp_path) / LABELS
    content = path.read_bytes()
    rng = np.random.RandomState(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.choice(128, rng.randint(1, 4)):
            damaged[place] = rng.choice([0, 48, 57, 255, rng.randint(256)])
        path.write_bytes(damaged)
        try:
            load(tmp_path)
        except UserError:
            refused += 1
    assert refused > 100


# Odd data


KINDS = [f"{split} {kind}" for split in ("train", "val", "test") for kind in ("images", "truth")]
KINDS += [f"{split} observed" for split in ("train", "val", "test")]


def changed(before, folder, *argv):
    after = load(folder, *argv).fingerprint()
    assert after.keys() == before.keys()
    return {key for key in before if before[key] != after[key]}


def test_the_fingerprint_names_what_differs(tmp_path):
    before = load(write(tmp_path)).fingerprint()
    assert set(before) == {"classes", *KINDS, SKIPPED}
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in before.values())
    assert changed(before, tmp_path) == set()
    (tmp_path / "dataset.json").write_text('{"classes": ["x", "y", "z"]}')
    assert changed(before, tmp_path) == {"classes"}
    (tmp_path / "dataset.json").unlink()
    place = split_indices(20, 0.2, 1200)[1][0]
    for part, split in (("train", "val"), ("val", "test")):
        for kind, content in (("images", NAMES), ("labels", TRUTH), ("labels_obs", OBSERVED)):
            path = tmp_path / f"formatted_{part}_{kind}.npy"
            array = content[part].copy()
            array[place] = "other" if kind == "images" else 1 - array[place]
            np.save(path, array)
            name = {"labels": "truth", "labels_obs": "observed"}.get(kind, kind)
            assert changed(before, tmp_path) == {f"{split} {name}"}
            write(tmp_path)
    np.save(tmp_path / "formatted_val_images.npy", NAMES["val"][::-1])
    assert changed(before, tmp_path) == {"test images"}
    assert {"train images", "val images"} <= changed(before, tmp_path, "--split_seed", "1")


def test_the_fingerprint_of_labels_that_are_absent_is_none(tmp_path):
    folder = write(tmp_path, kinds=("images", "labels_obs"), about={"truth": "none"})
    prints = load(folder, "--val_set_variant", "observed").fingerprint()
    assert {key for key, digest in prints.items() if digest == "none"} == {
        "train truth",
        "val truth",
        "test truth",
    }


def warnings_of(folder, *argv):
    return list(load(folder, *argv).warnings())


def test_a_proper_set_gives_no_warning(tmp_path, digits_data):
    assert warnings_of(write(tmp_path)) == []
    assert list(digits_data.warnings()) == []


def test_observed_labels_that_contradict_the_truth_are_counted(tmp_path):
    train, val = split_indices(20, 0.2, 1200)
    truth = TRAIN_TRUTH.copy()
    truth[train[:5], 0] = [1, 0, 1, 0, 1]
    truth[val[:2], 2] = 1
    observed = np.where(truth == 1, 1, -1)
    observed[train[:5], 0] *= -1
    observed[val[0]] = 0  # hidden labels contradict nothing
    observed[val[1], 2] = -1
    write(tmp_path)
    np.save(tmp_path / LABELS, truth)
    np.save(tmp_path / LABELS_OBS, observed)
    rest = "labels are observed positive but negative in truth"
    assert warnings_of(tmp_path) == [
        f"train: 2 {rest}, 3 the other way round",
        f"val: 0 {rest}, 1 the other way round",
    ]


def test_what_the_truth_does_not_know_contradicts_nothing(tmp_path):
    partial = {part: np.where(OBSERVED[part] != 0, 0, 1) for part in TRUTH}
    for part in partial:
        partial[part][:, 0] = np.where(partial[part][:, 0] == 1, -1, 0)  # some must be negative
    found = warnings_of(write(tmp_path, truth=partial, about={"truth": "partial"}))
    assert [line for line in found if "observed" in line] == []


def test_images_that_are_there_twice_are_counted(tmp_path):
    train, val = split_indices(20, 0.2, 1200)
    names = TRAIN_NAMES.copy()
    names[train[1]] = names[train[2]] = names[train[0]]
    names[val[1]] = names[train[3]]
    names[val[2]] = NAMES["val"][4]
    np.save(write(tmp_path) / IMAGES, names)
    lines = warnings_of(tmp_path)
    assert lines == [
        "train: images that stand there more than once: 2, 'train/1.png' for one",
        f"images both in train and in val: 1, {str(names[train[3]])!r} for one",
        "images both in training (train or val) and in test: 1, 'val/4.png' for one",
    ]


def test_nothing_observed_positive_is_refused(tmp_path):
    np.save(write(tmp_path) / LABELS_OBS, np.minimum(TRAIN_OBSERVED, 0))
    with pytest.raises(UserError, match="no label of the 16 training images is positive"):
        load(tmp_path)


def test_a_test_class_without_positives_is_a_warning(tmp_path):
    labels = TRUTH["val"].copy()
    labels[:, 1] = 0
    path = write(tmp_path, kinds=("images", "labels"), about={"classes": ["a", "b", "c"]})
    np.save(path / "formatted_val_labels.npy", labels)
    prints = load(path, "--train_set_variant", "clean").warnings()
    assert list(prints) == [
        "test: 1 of 3 classes ('b' is the first) without a positive label, of which AP counts as 0"
    ]


@pytest.mark.parametrize("variant", ["clean", "observed"])
def test_a_val_split_without_positive_labels_is_refused(tmp_path, variant):
    """By the labels that choose the epoch; the other ones do not matter."""
    _, val = split_indices(20, 0.2, 1200)
    truth, observed = TRAIN_TRUTH.copy(), TRAIN_OBSERVED.copy()
    (truth if variant == "clean" else observed)[val] = 0
    write(tmp_path)
    np.save(tmp_path / LABELS, truth)
    np.save(tmp_path / LABELS_OBS, observed)
    with pytest.raises(UserError, match=r"no label of the 4 val images is positive .*--val_frac"):
        load(tmp_path, "--val_set_variant", variant)
    load(tmp_path, "--val_set_variant", "observed" if variant == "clean" else "clean")


@pytest.mark.parametrize("truth", ["full", "none"])
def test_a_test_split_without_positive_labels_is_refused(tmp_path, truth):
    kind = "labels" if truth == "full" else "labels_obs"
    path = write(tmp_path, about={"truth": truth}) / f"formatted_val_{kind}.npy"
    np.save(path, np.zeros((6, 3), np.int8))
    with pytest.raises(
        UserError, match=r"no label of the 6 test images is positive, .*_val_labels"
    ):
        load(tmp_path, "--val_set_variant", "observed")


# Images that cannot be read


@pytest.fixture
def pictures(tmp_path):
    """The folder with a picture for every name; each has the grey of its place."""
    write(tmp_path)
    for part, names in NAMES.items():
        (tmp_path / part).mkdir()
        for place, name in enumerate(names):
            Image.new("RGB", (4, 4), (place, place, place)).save(tmp_path / name)
    return tmp_path


FAST = ["--image_size", "8", "--num_workers", "0"]


def spoil_some(folder):
    """Two bad pictures of train, one of val, one of test; their names."""
    train, val = split_indices(20, 0.2, 1200)
    bad = [*TRAIN_NAMES[train[[3, 7]]], TRAIN_NAMES[val[1]], NAMES["val"][5]]
    (folder / bad[0]).unlink()
    for name in bad[1:]:
        (folder / name).write_bytes(b"")
    return bad


def test_without_a_flag_no_image_is_read(pictures):
    spoil_some(pictures)
    assert [len(split) for split in load(pictures, *FAST).splits.values()] == [16, 4, 6]


def test_all_bad_images_are_listed(pictures, capsys):
    bad = spoil_some(pictures)
    with pytest.raises(UserError, match=f"4 of 26 images cannot be read, .*{bad[0]}") as caught:
        load(pictures, "--check_images", *FAST)
    assert "--on_bad_image skip" in str(caught.value)
    reasons = ["is missing", "is empty", "is empty", "is empty"]
    lines = [f"bad image: {pictures / name}: {why}" for name, why in zip(bad, reasons, strict=True)]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
@pytest.mark.parametrize("num_workers", ["0", "2"])
def test_bad_images_are_left_out_with_their_labels(pictures, cache, num_workers):
    bad = spoil_some(pictures)
    argv = ["--on_bad_image", "skip", "--image_size", "8", "--num_workers", num_workers]
    argv += ["--cache", cache, "--data_root", str(pictures / "root")]
    data = load_data(config.parse_args(["--dataset", str(pictures), *argv]), decode_once=True)
    assert data.skipped == tuple(bad)
    assert data.train.skipped == tuple(bad[:2])
    assert list(data.warnings()) == [
        "train: images left out because they cannot be read: 2",
        "val: images left out because they cannot be read: 1",
        "test: images left out because they cannot be read: 1",
    ]
    train, val = split_indices(20, 0.2, 1200)
    cuts = {"train": ("train", np.delete(train, [3, 7])), "val": ("train", np.delete(val, 1))}
    cuts["test"] = ("val", np.arange(5))
    for name, (part, places) in cuts.items():
        split = data.splits[name]
        assert split.names.tolist() == NAMES[part][places].tolist()
        assert pixels(split)[:, 0, 0, 0].tolist() == places.tolist()
        np.testing.assert_array_equal(split.truth, TRUTH[part][places] * 2 - 1)
        np.testing.assert_array_equal(split.observed, OBSERVED[part][places])


def test_good_images_are_all_kept(pictures):
    plain = load(pictures, *FAST)
    for flags in (["--check_images"], ["--on_bad_image", "skip"]):
        data = load(pictures, *FAST, *flags)
        assert data.fingerprint() == plain.fingerprint()
        assert data.skipped == ()


def test_the_images_that_are_not_used_are_not_checked(pictures):
    data = load(pictures, "--ss_frac_train", "0.5", *FAST)
    for name in set(TRAIN_NAMES) - set(data.train.names) - set(data.val.names):
        (pictures / name).unlink()
    load(pictures, "--ss_frac_train", "0.5", "--check_images", *FAST)


@pytest.mark.parametrize("part", ["train", "val"])
def test_nothing_left_of_a_split_is_refused(pictures, part):
    for name in NAMES[part]:
        (pictures / name).unlink()
    with pytest.raises(UserError, match=r"no image of the .* split can be read, .* the first"):
        load(pictures, "--on_bad_image", "skip", *FAST)


def test_a_name_that_no_terminal_can_show_is_still_listed(pictures, capsys):
    names = TRAIN_NAMES.astype("U40")
    names[:2] = "a\ud800b", "two\nlines"
    np.save(pictures / IMAGES, names)
    with pytest.raises(UserError, match="2 of 26 images cannot be read"):
        load(pictures, "--check_images", *FAST)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert r"two\nlines: is missing" in out


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_another_cut_takes_the_same_decoded_images(pictures, cache):
    """The cache holds every image of train and val once, whatever the split."""
    argv = ["--dataset", str(pictures), *FAST, "--cache", cache]
    argv += ["--data_root", str(pictures / "root")]
    for seed in ("1", "2"):
        data = load_data(config.parse_args([*argv, "--split_seed", seed]), decode_once=True)
        for split, places in zip(
            (data.train, data.val), split_indices(20, 0.2, int(seed)), strict=True
        ):
            assert pixels(split)[:, 0, 0, 0].tolist() == places.tolist()
    files = list((pictures / "root" / "cache").glob("*.npy"))
    assert len(files) == (2 if cache == "disk" else 0)


def test_digits_need_no_check(digits_data):
    data = load_data(config.parse_args(["--dataset", "digits", "--check_images"]))
    assert data.fingerprint() == digits_data.fingerprint()
    assert data.val.names[0] == f"train canvas {split_indices(3000, 0.2, 1200)[1][0]}"
    assert data.test.names[:2].tolist() == ["val canvas 0", "val canvas 1"]


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


def test_a_cache_that_is_cut_off_is_made_again(pictures):
    """As by a disk that was copied or repaired badly."""
    argv = ["--dataset", str(pictures), *FAST, "--cache", "disk"]
    settings = config.parse_args([*argv, "--data_root", str(pictures / "root")])
    places = list(range(6))
    before, _ = load_data(settings, decode_once=True).test.images.__getitems__(places)
    for path in (pictures / "root" / "cache").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-100])
    after, _ = load_data(settings, decode_once=True).test.images.__getitems__(places)
    assert torch.equal(after, before)


# Sparse tables, a part of its own for val, groups


@pytest.fixture(scope="module")
def sparse_set(tmp_path_factory):
    """Like OpenImages: 40 train, 12 dev and 15 val images of 60 classes."""
    return tiny.make_sparse_folder(tmp_path_factory.mktemp("sparse"))


@pytest.fixture
def own(sparse_set, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(sparse_set, tmp_path / "own")


def write_dense(folder):
    """Write every sparse table of a folder as a dense one."""
    for path in folder.glob("formatted_*.npz"):
        _, part, kind = path.stem.split("_", 2)
        write_labels(folder, part, kind, to_dense(load_labels(path)))
    assert not list(folder.glob("*.npz"))
    return folder


def change_about(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def line_of(folder, *argv):
    """The one line with which the folder is refused."""
    with pytest.raises(UserError) as caught:
        load(folder, *argv)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_dev_part_is_val_and_cuts_nothing_from_train(sparse_set):
    data = load(sparse_set)
    assert data.own_val
    for split, part, number in (
        (data.train, "train", 40),
        (data.val, "dev", 12),
        (data.test, "val", 15),
    ):
        names = np.load(array_path(sparse_set, part, "images"))
        assert split.names.tolist() == split.images.names.tolist() == names.tolist()
        assert len(split) == number
        labels = load_sparse(labels_path(sparse_set, part, "labels"))
        assert (split.truth != labels).nnz == 0
        assert split.truth.dtype == np.int8
    assert list(data.groups) == ["G1", "G2", "G3", "G4", "G5"]
    assert list(data.groups["G2"]) == list(range(12, 24))


def test_without_a_dev_part_val_is_cut_from_train(own):
    for path in own.glob("formatted_dev_*"):
        path.unlink()
    data = load(own)
    train, val = transcribed_split(40, 0.2, 1200)
    labels = load_sparse(labels_path(own, "train", "labels")).toarray()
    assert not data.own_val
    np.testing.assert_array_equal(data.train.truth.toarray(), labels[train])
    np.testing.assert_array_equal(data.val.truth.toarray(), labels[val])
    assert data.val.names.tolist() == [f"train/{i:02}.png" for i in val]


def test_val_frac_and_split_seed_do_nothing_where_val_is_a_part_of_its_own(sparse_set):
    same = load(sparse_set).fingerprint()
    assert load(sparse_set, "--val_frac", "0.5", "--split_seed", "3").fingerprint() == same
    assert load(sparse_set, "--val_frac", "0.001").fingerprint() == same


def test_subsampling_acts_on_a_val_part_of_its_own(sparse_set):
    argv = ["--ss_frac_train", "0.5", "--ss_frac_val", "0.75", "--ss_seed", "5"]
    data = load(sparse_set, *argv)
    train, val = transcribed_subsample(list(range(40)), list(range(12)), 0.5, 0.75, 5)
    assert data.train.names.tolist() == [f"train/{i:02}.png" for i in train]
    assert data.val.names.tolist() == [f"dev/{i:02}.png" for i in val]
    labels = load_sparse(labels_path(sparse_set, "dev", "labels")).toarray()
    np.testing.assert_array_equal(data.val.truth.toarray(), labels[val])
    assert (len(data.train), len(data.val), len(data.test)) == (20, 9, 15)
    assert "leaves 0 to train and 12 to validate on" in line_of(
        sparse_set, "--ss_frac_train", "0.01"
    )


def test_a_dense_set_may_have_a_dev_part_too(tmp_path):
    write(tmp_path)
    dev = {"images": np.array(["d/0.png", "d/1.png"]), "labels": TRUTH["val"][:2]}
    for kind, array in {**dev, "labels_obs": OBSERVED["val"][:2]}.items():
        np.save(tmp_path / f"formatted_dev_{kind}.npy", array)
    data = load(tmp_path)
    assert [len(split) for split in data.splits.values()] == [20, 2, 6]
    np.testing.assert_array_equal(data.val.truth, TRUTH["val"][:2] * 2 - 1)
    np.testing.assert_array_equal(data.val.observed, OBSERVED["val"][:2])
    np.testing.assert_array_equal(data.train.truth, TRUTH["train"] * 2 - 1)
    assert data.val.names.tolist() == ["d/0.png", "d/1.png"]


def test_a_partial_truth_alone_is_what_training_sees(sparse_set, tmp_path):
    """Dense or sparse; the same object, so that no memory is taken twice."""
    partial = {part: np.where(RNG.rand(*TRUTH[part].shape) < 0.8, OBSERVED[part], -1)
               for part in TRUTH}  # fmt: skip
    dense = write(tmp_path, ("images", "labels"), truth=partial, about={"truth": "partial"})
    for folder in (dense, sparse_set):
        data = load(folder, "--ss_frac_train", "0.9")
        for split in data.splits.values():
            assert split.observed is split.truth
            assert split.labels("observed") is split.labels("clean")
        prints = data.fingerprint()
        assert prints["train observed"] == prints["train truth"] == digest(data.train.truth)
        assert data.drawn is None


def test_observed_labels_beside_a_partial_truth_are_what_training_sees(own):
    observed = redraw(own, Draw(num_pos=1, num_neg=2, seed=5))
    data = load(own)
    for split, part in ((data.train, "train"), (data.val, "dev"), (data.test, "val")):
        assert (split.observed != observed[part]).nnz == 0
        assert split.observed is not split.truth
        assert 0 < split.observed.nnz < split.truth.nnz


def test_a_full_truth_alone_leaves_nothing_observed(tmp_path):
    folder = read_folder(write(tmp_path, kinds=("images", "labels")), "mine")
    assert folder.train.observed is folder.val.observed is folder.dev is None


@pytest.mark.parametrize("part", ["train", "dev", "val"])
@pytest.mark.parametrize("kind", ["labels", "labels_obs"])
def test_labels_that_are_there_twice_are_refused(own, part, kind):
    redraw(own, Draw(num_pos=1))
    labels = load_sparse(labels_path(own, part, kind))
    np.save(array_path(own, part, kind), labels.toarray())
    name = f"formatted_{part}_{kind}"
    assert line_of(own) == (
        f"{own / name}.npy and {name}.npz hold the same labels: remove one of them"
    )


def test_a_sparse_table_is_no_full_truth(own):
    for about in ('{"truth": "full"}', "{}"):
        (own / "dataset.json").write_text(about)
        line = line_of(own)
        assert line.startswith(f"{own / 'formatted_train_labels.npz'} is sparse, where 0 is not")
        assert line.endswith('dataset.json must say "truth": "partial"')


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float32, np.float64])
def test_sparse_labels_may_be_numbers_of_any_kind(own, dtype):
    before = load(own).fingerprint()
    for part in ("train", "dev", "val"):
        path = labels_path(own, part, "labels")
        write_sparse(path, load_sparse(path).astype(dtype))
    data = load(own)
    assert data.fingerprint() == before
    assert data.train.truth.dtype == np.int8


ROWS, COLUMNS = [3, 7, 7], [5, 0, 59]


@pytest.mark.parametrize(
    ("file", "table", "words"),
    [
        ("train_labels", csr_array(([1, 2, 1], (ROWS, COLUMNS)), (40, 60)),
         r"holds 2 \(row 7, column 0\): a label is one of \(-1, 0, 1\)"),
        ("dev_labels", csr_array(([1, -1, 0.5], (ROWS, COLUMNS)), (12, 60)),
         r"holds 0.5 \(row 7, column 59\)"),
        ("val_labels", csr_array(([np.nan, 1, 1], (ROWS, COLUMNS)), (15, 60)),
         r"holds nan \(row 3, column 5\)"),
        ("train_labels", csr_array(([257, 1, 1], (ROWS, COLUMNS)), (40, 60)), "holds 257"),
        ("train_labels", csr_array((39, 60), dtype=np.int8), "has 39 rows for 40 images"),
        ("dev_labels", csr_array((13, 60), dtype=np.int8), "has 13 rows for 12 images"),
        ("train_labels", csr_array((40, 0), dtype=np.int8), "is empty, of shape"),
        ("dev_labels", csr_array((12, 59), dtype=np.int8),
         "the train labels have 60 columns, the dev labels 59"),
        ("val_labels", csr_array((15, 61), dtype=np.int8),
         "the train labels have 60 columns, the val labels 61"),
        ("train_labels_obs", csr_array((40, 59), dtype=np.int8),
         "npz has 59 columns, the true labels 60"),
        ("dev_labels_obs", csr_array(([3], ([0], [0])), (12, 60)), r"holds 3 \(row 0, column 0\)"),
        ("train_labels", csr_array((40, 60), dtype=np.int8), "no label of the 40 training images"),
        ("val_labels", csr_array((15, 60), dtype=np.int8), "no label of the 15 test images"),
        ("dev_labels", csr_array((12, 60), dtype=np.int8), "no label of the 12 val images"),
    ],
)  # fmt: skip
def test_a_wrong_sparse_table_is_one_line(own, file, table, words):
    write_sparse(own / f"formatted_{file}.npz", table)
    line = line_of(own)
    with pytest.raises(UserError, match=words):
        load(own)
    assert line.startswith(str(own))


def test_a_damaged_sparse_table_is_one_line(own):
    path = labels_path(own, "dev", "labels")
    path.write_bytes(path.read_bytes()[:-30])
    assert line_of(own).startswith(f"{path} is no sparse table")
    path.unlink()
    assert line_of(own).startswith(f"{path.with_suffix('.npy')} is missing")


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"G1": [0, 60]}, "groups names column 60, there are 60, counted from 0"),
        ({"G1": [0], "G2": [10**30]}, "groups names column 1000"),
        ({"G1": [0, -1]}, "not lists of different columns by name"),
        ({"G1": []}, "not lists of different columns by name"),
        ({"G1": [1.0]}, "not lists of different columns by name"),
        ({"G1": [True]}, "not lists of different columns by name"),
        ({"G1": ["1"]}, "not lists of different columns by name"),
        ({"G1": [[1]]}, "not lists of different columns by name"),
        ({"G1": 3}, "not lists of different columns by name"),
        ({"G1": {"0": 1}}, "not lists of different columns by name"),
        ([[0, 1]], "not lists of different columns by name"),
        ("G1", "not lists of different columns by name"),
        (None, "not lists of different columns by name"),
    ],
)
def test_wrong_groups_are_one_line(own, groups, words):
    change_about(own, groups=groups)
    line = line_of(own)
    assert line.startswith(f"{own / 'dataset.json'}: groups ")
    assert words in line


@pytest.mark.parametrize("groups", [{}, {"all": list(range(60))}, {"a": [59], "b": [59, 0]}])
def test_groups_may_share_columns_and_leave_some_out(own, groups):
    change_about(own, groups=groups)
    assert load(own).groups == groups


def test_the_fingerprint_of_sparse_labels_names_what_differs(own):
    before = load(own).fingerprint()
    assert set(before) == {"classes", "groups", *KINDS, SKIPPED}
    for part, split in (("train", "train"), ("dev", "val"), ("val", "test")):
        path = labels_path(own, part, "labels")
        content, labels = path.read_bytes(), load_sparse(path).toarray()
        labels[3, 5] = 1 if labels[3, 5] == 0 else -labels[3, 5]
        write_sparse(path, csr_array(labels))
        assert changed(before, own) == {f"{split} truth", f"{split} observed"}
        path.write_bytes(content)
    redraw(own, Draw(num_pos=1))
    assert changed(before, own) == {f"{split} observed" for split in ("train", "val", "test")}


@pytest.mark.parametrize("drawn", [False, True])
def test_sparse_and_dense_files_give_the_same_data(own, tmp_path, drawn):
    if drawn:
        redraw(own, Draw(num_pos=1, num_neg=1))
    sparse, dense = load(own), load(write_dense(shutil.copytree(own, tmp_path / "dense")))
    for ours, theirs in zip(sparse.splits.values(), dense.splits.values(), strict=True):
        for kind in ("truth", "observed", "best_known", "observed_or_negative"):
            np.testing.assert_array_equal(
                to_dense(getattr(ours, kind)), to_dense(getattr(theirs, kind))
            )
        assert isinstance(theirs.truth, np.ndarray)
        assert not isinstance(ours.truth, np.ndarray)
    assert list(sparse.warnings()) == list(dense.warnings())


def test_sparse_contradictions_are_counted(own):
    """Also where one of the two tables is dense."""
    truth = load_sparse(labels_path(own, "train", "labels")).toarray()
    observed = truth.copy()
    rows, columns = np.nonzero(truth == 1)
    observed[rows[:3], columns[:3]] = -1
    rows, columns = np.nonzero(truth == -1)
    observed[rows[:5], columns[:5]] = 1
    line = "train: 5 labels are observed positive but negative in truth, 3 the other way round"
    for kind in (csr_array, np.array):
        write_labels(own, "train", "labels_obs", kind(observed))
        assert line in warnings_of(own)


def test_bad_images_of_a_dev_part_are_left_out_with_their_labels(own):
    for name in ("dev/04.png", "train/39.png", "val/00.png"):
        (own / name).unlink()
    data = load(own, "--on_bad_image", "skip", *FAST)
    assert data.skipped == ("train/39.png", "dev/04.png", "val/00.png")
    assert data.own_val
    for split, part, place in ((data.train, "train", 39), (data.val, "dev", 4)):
        labels = load_sparse(labels_path(own, part, "labels")).toarray()
        np.testing.assert_array_equal(split.truth.toarray(), np.delete(labels, place, axis=0))
        assert split.observed is split.truth
    line = "val: images left out because they cannot be read: 1"
    assert line in list(data.warnings())


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_dev_part_is_cached_like_the_rest(own, tmp_path, cache):
    argv = ["--dataset", str(own), *FAST, "--data_root", str(tmp_path / "root"), "--cache"]
    kept = load_data(config.parse_args([*argv, cache]), decode_once=True)
    plain = load(own, *FAST)
    for name in ("train", "val", "test"):
        assert torch.equal(pixels(kept.splits[name]), pixels(plain.splits[name]))
        assert not hasattr(kept.splits[name].images, "names")  # no files any more


# The record of the draw


def test_how_the_labels_were_drawn_is_known(own):
    redraw(own, Draw(num_pos=1, num_neg=2, seed=5))
    assert load(own).drawn == {"num_pos": 1, "num_neg": 2, "seed": 5}
    assert load(own, "--ss_frac_train", "0.5").drawn == {"num_pos": 1, "num_neg": 2, "seed": 5}
    redraw(own, Draw(share=0.25, seed=6))
    assert load(own).drawn == {"share": 0.25, "seed": 6}


@pytest.mark.parametrize("part", ["train", "dev", "val"])
def test_labels_changed_by_hand_are_not_said_to_be_drawn(own, part):
    redraw(own, Draw(num_pos=1))
    path = labels_path(own, part, "labels_obs")
    labels = load_sparse(path).toarray()
    labels[2, 2] = 1 - labels[2, 2]
    write_sparse(path, csr_array(labels))
    assert load(own).drawn is None
    path.unlink()
    assert load(own).drawn is None


def test_nothing_is_said_of_a_draw_where_nobody_wrote_it_down(tmp_path):
    assert load(write(tmp_path)).drawn is None


def test_the_draw_of_digits_is_known(digits_data):
    assert digits_data.drawn == {"num_pos": 1, "num_neg": 0, "seed": 1200}
