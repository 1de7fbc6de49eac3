"""Official releases to formatted files: values, order, malformed input, the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cli
from data import prepare
from data.arrays import load_array
from data.class_names import COCO, PASCAL
from data.format_coco import read_coco
from data.format_cub import read_cub
from data.format_pascal import read_pascal
from data.observe import observe_labels
from files import write_atomically
from tests import tiny
from tests.releases import (
    COCO_CROWD_ONLY,
    COCO_IDS,
    COCO_UNANNOTATED,
    LISTS,
    PASCAL_DIFFICULT_ONLY,
    make_coco,
    make_cub,
    make_pascal,
    write_voc,
)

REPOSITORY = Path(__file__).parent.parent
COCO_SAMPLE = REPOSITORY.parent / "shared" / "data" / "coco"
MAKERS = {"pascal": make_pascal, "coco": make_coco, "cub": make_cub}
ATTRIBUTES = "CUB_200_2011/attributes/image_attribute_labels.txt"


def run_prepare(root, *argv):
    offline = ["--no_download", "--overwrite"]
    return cli.run(prepare.main, [*argv, "--data_root", str(root), *offline])


def formatted_files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.*") if path.is_file()}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# PASCAL VOC


def test_pascal_by_hand(tmp_path):
    """Unsorted lists; c has a difficult person beside its dog, b difficult objects alone."""
    train = {"person": [1, 0, 0, 1], "dog": [-1, 1, -1, 1], "tvmonitor": [-1, -1, 0, -1]}
    write_voc(tmp_path, ["d", "c", "b", "a"], train, "train")
    write_voc(tmp_path, ["e"], {"aeroplane": [1]}, "val")
    formatted = read_pascal(tmp_path)
    assert formatted.train.images.tolist() == ["a.jpg", "c.jpg", "d.jpg"]
    assert formatted.train.labels.dtype == np.int8
    positives = [[PASCAL[k] for k in np.flatnonzero(row)] for row in formatted.train.labels]
    assert positives == [["dog", "person"], ["dog"], ["person"]]
    assert formatted.val.labels.tolist() == [[1] + [0] * 19]
    assert formatted.classes == PASCAL


def test_pascal_agrees_with_the_lists(tmp_path):
    folder = make_pascal(tmp_path)
    formatted = read_pascal(folder)
    assert (len(formatted.train.images), len(formatted.val.images)) == (12, 8)
    for name, part in (("train", formatted.train), ("val", formatted.val)):
        assert f"{PASCAL_DIFFICULT_ONLY[name]}.jpg" not in part.images
        for column, label in enumerate(PASCAL):
            lines = (folder / LISTS / f"{label}_{name}.txt").read_text().splitlines()
            positive = {line.split()[0] + ".jpg" for line in lines if line.endswith(" 1")}
            assert set(part.images[part.labels[:, column] == 1]) == positive


# MS COCO


def write_coco(folder, part, image_ids, annotations):
    """Image ids, and annotations (image id, category id, crowd), of categories 7 and 3."""
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in image_ids],
        "annotations": [
            {"image_id": image, "category_id": category, "iscrowd": crowd}
            for image, category, crowd in annotations
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "ant"}],
    }
    path = folder / "annotations" / f"instances_{part}2014.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def test_coco_by_hand(tmp_path):
    """Order 10 < 100 < 9 as strings; 50 has no annotation, 100 a crowd, 9 two of a category."""
    train = [(9, 3, 0), (10, 7, 0), (9, 3, 0), (100, 7, 1), (10, 3, 0)]
    write_coco(tmp_path, "train", [9, 50, 100, 10], train)
    write_coco(tmp_path, "val", [1], [(1, 3, 0)])
    formatted = read_coco(tmp_path)
    expected = ["train2014/10.jpg", "train2014/100.jpg", "train2014/9.jpg"]
    assert formatted.train.images.tolist() == expected
    assert formatted.train.labels.tolist() == [[1, 1], [1, 0], [0, 1]]
    assert formatted.train.labels.dtype == np.int8
    assert formatted.val.images.tolist() == ["val2014/1.jpg"]
    assert formatted.classes == ("cat", "ant")


def test_coco_agrees_with_the_annotations(tmp_path):
    folder = make_coco(tmp_path)
    formatted = read_coco(folder)
    assert formatted.classes == COCO
    for name, part in (("train", formatted.train), ("val", formatted.val)):
        content = json.loads((folder / f"annotations/instances_{name}2014.json").read_text())
        name_of = {category["id"]: category["name"] for category in content["categories"]}
        ids = [int(path[-16:-4]) for path in part.images]
        assert [str(i) for i in ids] == sorted(str(i) for i in COCO_IDS[name])
        assert COCO_UNANNOTATED[name] not in ids
        for image_id, row in zip(ids, part.labels, strict=True):
            mine = [a for a in content["annotations"] if a["image_id"] == image_id]
            assert {COCO[k] for k in np.flatnonzero(row)} == {
                name_of[a["category_id"]] for a in mine
            }
    assert f"train2014/COCO_train2014_{COCO_CROWD_ONLY:012d}.jpg" in formatted.train.images


@pytest.mark.skipif(not COCO_SAMPLE.exists(), reason="the COCO sample is not beside this checkout")
def test_the_real_coco_sample(tmp_path, capsys):
    (tmp_path / "coco").mkdir()
    for name in ("annotations", "train2014", "val2014"):
        (tmp_path / "coco" / name).symlink_to(COCO_SAMPLE / name)
    assert run_prepare(tmp_path, "coco") == 0
    printed = capsys.readouterr()
    assert "train: 126 images, 2.87 positives per image" in printed.out
    assert "test: 128 images, 2.91 positives per image" in printed.out
    assert "missing" not in printed.err
    assert json.loads((tmp_path / "coco/dataset.json").read_text())["classes"] == list(COCO)
    more = (
        "--data_root",
        str(tmp_path),
        "--image_size",
        "32",
        "--num_epochs",
        "1",
        "--bsize",
        "16",
    )
    summary, _ = tiny.train("coco", tmp_path / "runs", *more)
    assert summary["epochs_run"] == 1
    assert list(summary["test_ap"]) == list(COCO)


# CUB


def test_cub_by_hand(tmp_path):
    """images.txt is not by id, one line has extra columns, certainty is ignored."""
    release = tmp_path / "CUB_200_2011"
    (release / "attributes").mkdir(parents=True)
    (tmp_path / "attributes.txt").write_text("1 red\n2 blue\n")
    (release / "images.txt").write_text("8 x/c.jpg\n2 x/a.jpg\n5 y/b.jpg\n")
    (release / "train_test_split.txt").write_text("2 1\n5 0\n8 1\n")
    lines = "2 1 1 1 0.5\n2 2 0 4 1\n5 1 0 3 0 0 2.1\n5 2 1 3 2\n8 2 1 1 2\n8 1 1 2 9.1\n"
    (tmp_path / ATTRIBUTES).write_text(lines)
    formatted = read_cub(tmp_path)
    assert formatted.train.images.tolist() == ["x/c.jpg", "x/a.jpg"]
    assert formatted.train.labels.tolist() == [[1, 1], [1, 0]]
    assert formatted.val.images.tolist() == ["y/b.jpg"]
    assert formatted.val.labels.tolist() == [[0, 1]]
    assert formatted.train.labels.dtype == np.int8
    assert formatted.classes == ("red", "blue")


def test_cub_agrees_with_the_lines(tmp_path):
    folder = make_cub(tmp_path)
    formatted = read_cub(folder)
    assert (formatted.train.labels.shape, formatted.val.labels.shape) == ((12, 312), (8, 312))
    images = dict(
        line.split() for line in (folder / "CUB_200_2011/images.txt").read_text().splitlines()
    )
    present = {
        tuple(line.split()[:2]): int(line.split()[2])
        for line in (folder / ATTRIBUTES).read_text().splitlines()
    }
    id_of = {path: key for key, path in images.items()}
    for part in (formatted.train, formatted.val):
        for path, row in zip(part.images, part.labels, strict=True):
            assert row.tolist() == [present[id_of[path], str(k + 1)] for k in range(312)]


def test_cub_finds_attributes_in_either_place(tmp_path):
    folder = make_cub(tmp_path)
    classes = read_cub(folder).classes
    (folder / "attributes.txt").rename(folder / "CUB_200_2011/attributes/attributes.txt")
    assert read_cub(folder).classes == classes
    assert len(classes) == 312


# the command

SUMMARY = {
    "pascal": "20 classes",
    "coco": "80 classes",
    "cub": "312 classes",
}


@pytest.mark.parametrize("dataset", MAKERS)
def test_the_command_writes_the_layout(tmp_path, capsys, dataset):
    folder = MAKERS[dataset](tmp_path)
    assert run_prepare(tmp_path, dataset) == 0
    about = json.loads((folder / "dataset.json").read_text())
    assert (about["name"], about["truth"]) == (dataset, "full")
    for part, count in (("train", 12), ("val", 8)):
        images = load_array(folder / f"formatted_{part}_images.npy")
        labels = load_array(folder / f"formatted_{part}_labels.npy")
        assert labels.shape == (count, len(about["classes"]))
        assert all((folder / about["images"] / image).is_file() for image in images)
        expected = observe_labels(labels, 1, 0, 1200)
        observed = load_array(folder / f"formatted_{part}_labels_obs.npy")
        np.testing.assert_array_equal(observed, expected)
        assert (labels.dtype, observed.dtype) == (np.int8, np.int8)
    printed = capsys.readouterr()
    assert SUMMARY[dataset] in printed.out
    assert "train: 12 images, " in printed.out
    assert f"python main.py --dataset {dataset} --mod_scheme LL-R --data_root" in printed.out
    assert printed.err.count("warning: ") == 2  # both sizes differ from the release


@pytest.mark.parametrize("dataset", MAKERS)
def test_preparing_twice_gives_the_same_bytes(tmp_path, dataset):
    for root in (tmp_path / "one", tmp_path / "two"):
        MAKERS[dataset](root)
        assert run_prepare(root, dataset) == 0
    first, second = (formatted_files(tmp_path / name / dataset) for name in ("one", "two"))
    assert first == second
    assert sum(name.startswith("formatted_") for name in first) == 6


def test_the_draw_follows_its_flags(tmp_path):
    folder = make_coco(tmp_path)
    flags = ["--num_pos", "-1", "--num_neg", "2", "--seed", "3"]
    assert run_prepare(tmp_path, "coco", *flags) == 0
    labels = np.load(folder / "formatted_val_labels.npy")
    observed = np.load(folder / "formatted_val_labels_obs.npy")
    np.testing.assert_array_equal(observed, observe_labels(labels, -1, 2, 3))


def test_missing_pictures_are_told_each_time(tmp_path, capsys):
    """The labels are there: to prepare again would change nothing."""
    folder = make_coco(tmp_path)
    (folder / "val2014/COCO_val2014_000000000042.jpg").unlink()
    for _ in range(2):
        assert cli.run(prepare.main, ["coco", "--no_download", "--data_root", str(tmp_path)]) == 2
        assert "1 of 8 test pictures are missing, " in capsys.readouterr().err
        assert (folder / "dataset.json").exists()


def test_the_next_command_is_plain_for_the_default_root(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_pascal(Path("data"))
    assert cli.run(prepare.main, ["pascal", "--no_download"]) == 0
    assert capsys.readouterr().out.endswith(
        "next: python main.py --dataset pascal --mod_scheme LL-R\n"
    )


NOTHING_TO_READ = {
    "pascal": "VOCtrainval_11-May-2012.tar is missing: fetch what is missing (from http",
    "coco": "annotations_trainval2014.zip is missing, one of 3 files: fetch what",
    "cub": "CUB_200_2011.tgz is missing: fetch what is missing (from http",
    "openimages": "classes_2017_11.tar.gz is missing, one of 3 files: fetch what",
    "nuswide": "TrainImagelist.txt is missing: get it as described above",
    "digits": "digits needs no files",
    "pascall": "did you mean pascal?",
}


@pytest.mark.parametrize(("dataset", "message"), NOTHING_TO_READ.items())
def test_nothing_to_read_costs_one_line(tmp_path, capsys, dataset, message):
    assert run_prepare(tmp_path, dataset) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


COCO_TRAIN = "annotations/instances_train2014.json"
DOG = f"{LISTS}/dog_train.txt"
SPLIT = "CUB_200_2011/train_test_split.txt"
# data set, file, text in it, text instead of it, the words of the error
MALFORMED = [
    (
        "pascal",
        DOG,
        "2008_000010",
        "2008_000005",
        "dog_train.txt, line 2: the image 2008_000005 is",
    ),
    ("pascal", DOG, "2008_000010", "2008_999999", "must list the same images"),
    ("pascal", DOG, "2008_000010", "\n\n", "dog_train.txt, line 4: '-1' must have 2 columns"),
    ("pascal", DOG, "2008_000010 -1", "2008_000010 2", "dog_train.txt, line 2: '2' must be 1, 0"),
    ("coco", COCO_TRAIN, '"annotations"', '"annotation"', "has no list of annotations"),
    ("coco", COCO_TRAIN, '"categories"', '"categories', "train2014.json is no valid json"),
    ("coco", COCO_TRAIN, '{"images"', '[[{"images"', "train2014.json is no valid json"),
    ("coco", COCO_TRAIN, '"image_id": ', '"image_id": 5', "is of the unknown image id 5"),
    ("coco", COCO_TRAIN, '"category_id": ', '"category_id": 9900', "unknown category id 9900"),
    ("coco", COCO_TRAIN, '"category_id": ', '"category": ', "annotations[0] must have image_id"),
    ("coco", COCO_TRAIN, '"image_id": ', '"image_id": null, "x": ', "must have image_id (int)"),
    ("coco", COCO_TRAIN, '"id": 100}', '"id": 9}', "has the image id 9 more than once"),
    ("coco", COCO_TRAIN, '"id": 2, ', '"id": 1, ', "has the category id 1 more than once"),
    ("coco", COCO_TRAIN, "_000000000100.", "_000000000009.", "gives two image ids the same name"),
    ("coco", COCO_TRAIN, '"person"', '"people"', "must have the categories of instances_train2014"),
    ("cub", "CUB_200_2011/images.txt", "6 001", "x 001", "images.txt, line 2: the id 'x' must be"),
    ("cub", "CUB_200_2011/images.txt", "6 001", "5 001", "images.txt, line 2: the id 5 is listed"),
    (
        "cub",
        "CUB_200_2011/images.txt",
        "0001_527.jpg",
        "0000_168.jpg",
        "images.txt holds a name twice",
    ),
    ("cub", SPLIT, "6 0\n", "6 2\n", "train_test_split.txt, line 2: is_training_image '2'"),
    ("cub", SPLIT, "6 0\n", "6\n", "train_test_split.txt, line 2: '6' must have 2 columns"),
    ("cub", SPLIT, "6 0\n", "5 0\n", "train_test_split.txt, line 2: image 5 is unknown or"),
    ("cub", SPLIT, "6 0\n", "", "must list every image of images.txt, 6 is missing"),
    ("cub", ATTRIBUTES, "\n6 7 ", "\n6 6 ", "labels.txt, line 319: '6 6 "),
    ("cub", ATTRIBUTES, "\n6 7 ", "\n6 313 ", "line 319: '6 313 "),
    ("cub", ATTRIBUTES, "\n6 7 ", "\n99 7 ", "line 319: '99 7 "),
    ("cub", ATTRIBUTES, "\n6 7 ", "\n6 7 3 ", "line 319: '6 7 3' breaks a rule: is_present"),
    ("cub", ATTRIBUTES, "\n6 7 ", "\n6 7\n", "line 319: '6 7' must have 3 columns"),
    ("cub", ATTRIBUTES, "\n6 7 ", "\n6 seven ", "line 319: '6 seven "),
    ("cub", ATTRIBUTES, "\n6 7 ", f"\n{'6' * 30} 7 ", "line 319: '"),
]


@pytest.mark.parametrize(("dataset", "name", "old", "new", "message"), MALFORMED)
def test_a_malformed_release_costs_one_line(tmp_path, capsys, dataset, name, old, new, message):
    folder = MAKERS[dataset](tmp_path)
    assert run_prepare(tmp_path, dataset) == 0
    before = formatted_files(folder)
    edit(folder / name, old, new)
    capsys.readouterr()
    assert run_prepare(tmp_path, dataset) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert formatted_files(folder) == before


UNREADABLE = [b"", b"\xff\xfe\x00\x81", b"\n\n", b"[1]", b"[" * 100_000]


@pytest.mark.parametrize("content", UNREADABLE, ids=["empty", "binary", "blank", "list", "deep"])
@pytest.mark.parametrize(
    ("dataset", "name"), [("coco", COCO_TRAIN), ("cub", ATTRIBUTES), ("pascal", DOG)]
)
def test_an_unreadable_file_costs_one_line(tmp_path, capsys, dataset, name, content):
    folder = MAKERS[dataset](tmp_path)
    (folder / name).write_bytes(content)
    assert run_prepare(tmp_path, dataset) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert Path(name).name in error


def test_an_image_in_both_parts_of_pascal_is_refused(tmp_path, capsys):
    picture = tmp_path / "pascal/VOCdevkit/VOC2012/JPEGImages/a.jpg"
    picture.parent.mkdir(parents=True)
    picture.touch()
    for part in ("train", "val"):
        write_voc(tmp_path / "pascal", ["a"], {"cat": [1]}, part)
    assert run_prepare(tmp_path, "pascal") == 2
    assert "a.jpg in train and in val" in capsys.readouterr().err


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(cli.UserError, match="file: No space left on device"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_prepare_does_not_import_torch():
    code = "import sys, data.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_a_root_that_cannot_be_reached_costs_one_line(tmp_path, capsys):
    assert run_prepare(tmp_path / ("a" * 300), "coco") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "File name too long" in error
