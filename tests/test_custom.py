"""python -m data.prepare custom: a user's own pictures and labels to a set that trains."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
import main
from data import custom, custom_report
from data.custom_images import Pictures
from data.custom_listing import Classes, Entry
from data.custom_names import typos
from data.custom_parts import draw_splits, filled, make_formatted
from data.draw import Draw
from data.formatted import array_path
from data.labels import is_sparse, to_dense
from data.observe import drawn
from data.read import read_folder
from datasets import split_indices

REPOSITORY = Path(__file__).parents[1]
CLASSES = ("ant", "bee")
COUNT = 30


TRAINING = (
    "--dataset out --save_path runs --exp_name run --arch resnet8 --use_pretrained false "
    "--image_size 16 --bsize 8 --num_epochs 2 --num_workers 0 --lr 1e-3 --mod_scheme LL-R"
)


def picture(path, number):
    """A picture that is another one for another number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(number).randint(0, 256, (16, 16, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def names_of(number):
    """What is on picture `number`, by a rule that the tests know."""
    return [name for name, every in zip(CLASSES, (2, 3), strict=True) if number % every == 0]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with 30 pictures in pics/, in which the commands are given."""
    for number in range(COUNT):
        picture(tmp_path / "pics" / f"{number:02}.png", number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_listed(path="labels.csv", numbers=range(COUNT), more=""):
    rows = "".join(f"{n:02}.png,{';'.join(names_of(n))}\n" for n in numbers)
    Path(path).write_text(f"image,labels\n{rows}{more}")


def write_wide(path="labels.csv", numbers=range(COUNT), absent="-1"):
    cells = (",".join("1" if name in names_of(n) else absent for name in CLASSES) for n in numbers)
    rows = "".join(f"{n:02}.png,{c}\n" for n, c in zip(numbers, cells, strict=True))
    Path(path).write_text(f"image,{','.join(CLASSES)}\n{rows}")


def write_coco(path="labels.json", numbers=range(COUNT)):
    ids = {"ant": 7, "bee": 3}
    content = {
        "images": [{"id": n, "file_name": f"{n:02}.png"} for n in numbers],
        "categories": [{"id": key, "name": name} for name, key in ids.items()],
        "annotations": [
            {"image_id": n, "category_id": ids[name], "segmentation": [[1, 2]]}
            for n in numbers
            for name in names_of(n)
        ],
    }
    Path(path).write_text(json.dumps(content))


def make(*flags, out="out"):
    return cli.run(custom.main, ["--images", "pics", "--out", out, *map(str, flags)])


def tables(out="out", kind="truth"):
    """By split: the names of the images and their labels, as training reads them."""
    folder = read_folder(Path(out), "mine")
    parts = {
        "train": folder.train,
        "test": folder.val,
        **({"val": folder.dev} if folder.dev else {}),
    }
    return {split: (p.names.tolist(), to_dense(getattr(p, kind))) for split, p in parts.items()}


def rows(out="out", kind="truth"):
    """By split and image, its labels."""
    return {
        split: dict(zip(names, labels.tolist(), strict=True))
        for split, (names, labels) in tables(out, kind).items()
    }


def expected_row(number, absent):
    return [1 if name in names_of(number) else absent for name in CLASSES]


# Sources of labels, end to end


def as_folders():
    """Every picture in the folders of all its classes; those of none are outside."""
    for number in range(COUNT):
        source = Path(f"pics/{number:02}.png")
        for name in names_of(number):
            target = Path("pics", name, "deep" if number % 4 else "", source.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        source.unlink()


SOURCES = {
    "listed": (write_listed, "labels.csv"),
    "wide": (write_wide, "labels.csv"),
    "coco": (write_coco, "labels.json"),
    "folders": (as_folders, None),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("truth", ["partial", "full", "none"])
def test_every_source_becomes_a_set_that_trains(here, capsys, source, truth):
    write, labels = SOURCES[source]
    write()
    flags = ["--labels", labels] if labels else []
    assert make(*flags, "--truth", truth) == 0
    words = shlex.split(TRAINING)
    variants = ["--val_set_variant", "observed"] if truth == "none" else []
    assert cli.run(main.main, [*words, *variants]) == 0, capsys.readouterr().err
    assert 0 <= json.loads(Path("runs/run/summary.json").read_text())["test_map"] <= 100


@pytest.mark.parametrize("source", SOURCES)
def test_labels_left_out_are_negative_in_val_and_test_alone(here, source):
    write, labels = SOURCES[source]
    write()
    assert make(*(["--labels", labels] if labels else [])) == 0
    kept = [n for n in range(COUNT) if names_of(n) or source in ("listed", "wide")]
    found = rows()
    for split, images in found.items():
        absent = 0 if split == "train" and source != "wide" else -1
        for image, row in images.items():
            assert row == expected_row(int(Path(image).stem), absent)
    assert sorted(int(Path(i).stem) for images in found.values() for i in images) == kept
    assert [len(found[split]) for split in ("test", "val")] == [
        round(0.2 * len(kept)), round(0.1 * len(kept))
    ]  # fmt: skip
    assert read_folder(Path("out"), "mine").classes == CLASSES
    assert rows(kind="observed") == found


@pytest.mark.parametrize("cell", ["0", "", "?", "nan", "0.0", "None"])
def test_what_is_written_as_not_annotated_stays_so_in_every_split(here, capsys, cell):
    write_wide()
    text = Path("labels.csv").read_text().replace("png,-1,1", f"png,{cell},1")
    Path("labels.csv").write_text(text)
    unknown = [n for n in range(COUNT) if names_of(n) == ["bee"]]

    def found(**options):
        images = {int(i[:2]): row for part in rows(**options).values() for i, row in part.items()}
        return [images[n] for n in unknown]

    assert make("--labels", "labels.csv") == 0
    assert found() == [[0, 1]] * len(unknown)
    assert "taken for negative" not in capsys.readouterr().out
    assert make("--labels", "labels.csv", "--left_out", "negative", out="told") == 0
    told = rows("told")
    counts = {s: sum(int(i[:2]) in unknown for i in told[s]) for s in ("val", "test")}
    assert 0 < counts["test"]
    for split, images in told.items():
        absent = 0 if split == "train" else -1
        assert all(row == [absent, 1] for i, row in images.items() if int(i[:2]) in unknown)
    out = capsys.readouterr().out
    for split, number in counts.items():
        line = next(line for line in out.splitlines() if line.startswith(f"  {split}: "))
        assert f"; {number} labels not mentioned, taken for negative" in line
    assert "taken for negative" not in out.splitlines()[1]


def test_a_zero_that_is_unobserved_is_no_negative_of_val_and_test(here, capsys):
    write_wide(absent="0")
    assert make("--labels", "labels.csv", "--zero", "unobserved") == 2
    error = capsys.readouterr().err
    assert "no label of the 6 test images is negative, every mAP would be 100: write -1" in error
    assert "or give --zero negative or --left_out negative" in error
    assert not Path("out").exists()


def test_a_label_that_is_not_mentioned_is_negative_by_the_kind_of_its_file():
    everywhere = dict.fromkeys(("train", "val", "test"), True)
    assert filled("full", None, True, True) == everywhere
    assert filled("none", None, False, False) == dict.fromkeys(everywhere, False)
    tables = {"train": False, "val": False, "test": True}
    assert filled("partial", None, True, False) == tables
    assert filled("partial", None, False, True) == {"train": False, "val": True, "test": False}
    assert filled("partial", "negative", True, True) == {**everywhere, "train": False}
    assert filled("partial", "unobserved", False, False) == dict.fromkeys(everywhere, False)


def test_labels_not_mentioned_that_are_negative_are_counted(here, capsys):
    write_listed()
    assert make("--labels", "labels.csv") == 0
    out = capsys.readouterr().out.splitlines()
    for split, line in zip(("val", "test"), out[2:4], strict=True):
        absent = sum(row.count(-1) for row in rows()[split].values())
        assert line.endswith(f"; {absent} labels not mentioned, taken for negative")
    assert "taken" not in out[1]


# What training would refuse


def no_negative(kind, split=False):
    """Labels of which none of val is known to be negative; those of test are."""
    if kind == "listed":
        cells = [";".join(names_of(n)) for n in range(COUNT)]
    else:
        cells = [",".join("1" if name in names_of(n) else "" for name in CLASSES)
                 for n in range(COUNT)]  # fmt: skip
    header = "image,labels" if kind == "listed" else f"image,{','.join(CLASSES)}"
    words = ["test" if n < 6 else "train" for n in range(COUNT)]
    lines = [f"{n:02}.png,{cells[n]},{words[n]}" for n in range(COUNT)]
    Path("labels.csv").write_text("\n".join([f"{header},split", *lines]))


REFUSED_VAL = {  # how to get there, and the advice
    "val_frac 0": (write_listed, ["--val_frac", 0], "give --val_frac 0.1; or"),
    "a split column": (lambda: no_negative("listed"), [], "add rows whose `split` is val; or"),
    "truth none": (write_listed, ["--truth", "none"], ""),
    "truth none, negatives": (write_wide, ["--truth", "none"], ""),
    "truth none, val_frac 0": (write_listed, ["--truth", "none", "--val_frac", 0], ""),
}


def next_command(out):
    line = out.splitlines()[-1]
    return shlex.split(line.partition("main.py ")[2])


@pytest.mark.parametrize("kind", REFUSED_VAL)
def test_the_next_command_works_where_val_has_no_known_negative(here, capsys, kind):
    write, flags, advice = REFUSED_VAL[kind]
    write()
    assert make("--labels", "labels.csv", *flags) == 0
    output = capsys.readouterr()
    words = next_command(output.out)
    assert words[-2:] == ["--val_set_variant", "observed"]
    assert ("train with --val_set_variant observed" in output.err) == bool(advice)
    assert advice in output.err
    assert "give --left_out negative" not in output.err
    small = shlex.split(TRAINING)
    assert cli.run(main.main, [*small, *words[2:]]) == 0, capsys.readouterr().err
    assert cli.run(main.main, [*small, "--overwrite"]) == 2, "without it training refuses"


def test_a_table_whose_val_images_have_no_negative_trains_by_observed_labels(here, capsys):
    lines = [f"{n:02}.png,1,,{('train', 'val')[n % 2]}" for n in range(20)]
    lines += [f"{n:02}.png,-1,1,test" for n in range(20, COUNT)]
    Path("labels.csv").write_text("\n".join(["image,ant,bee,split", *lines]))
    assert make("--labels", "labels.csv") == 0
    output = capsys.readouterr()
    assert "of val is known to be negative: write -1 where a class is absent, or" in output.err
    assert next_command(output.out)[-2:] == ["--val_set_variant", "observed"]
    assert make("--labels", "labels.csv", "--left_out", "negative", "--overwrite") == 0
    output = capsys.readouterr()
    assert not output.err
    assert "--val_set_variant" not in output.out


NO_TEST = {
    "left out by a flag": (write_listed, ["--left_out", "unobserved"], "drop --left_out unobserv"),
    "a table": (lambda: no_negative("wide"), [], "or give --left_out negative"),
    "all positive": (lambda: write_wide(absent="1"), [], "every label of the 6 test images is pos"),
    "all positive, full": (
        lambda: write_wide(absent="1"), ["--truth", "full"], "every label of the 6 test images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_TEST)
def test_a_test_split_without_a_negative_is_refused(here, capsys, kind):
    write, flags, message = NO_TEST[kind]
    write()
    before = everything(here)
    assert make("--labels", "labels.csv", *flags) == 2
    output = capsys.readouterr()
    assert message in output.err.splitlines()[-1]
    assert everything(here) == before
    if "full" not in flags and "--left_out" not in flags:
        assert make("--labels", "labels.csv", "--truth", "none") == 0


def test_a_cut_of_train_without_a_positive_is_refused(here, capsys):
    places = split_indices(24, 0.2, 1200)[1]
    lines = [f"{n:02}.png,{'' if n in places else 'ant'},train" for n in range(24)]
    lines += [f"{n:02}.png,{('ant', 'bee')[n % 2]},test" for n in range(24, COUNT)]
    Path("labels.csv").write_text("\n".join(["image,labels,split", *lines]))
    assert make("--labels", "labels.csv") == 2
    error = capsys.readouterr().err
    assert "cuts 5 val images from the 24 of train, and no label of val would be positive" in error
    assert "name some as val" in error
    assert not Path("out").exists()


def test_a_full_truth_is_drawn_from_and_the_draw_recorded(here):
    write_wide(absent="0")
    assert make("--labels", "labels.csv", "--truth", "full", "--num_neg", 1, "--seed", 3) == 0
    on_disk = np.load(array_path(Path("out"), "train", "labels"))
    assert set(np.unique(on_disk)) == {0, 1}
    for split, images in rows().items():
        for image, row in images.items():
            assert row == expected_row(int(Path(image).stem), -1), split
    stored = {p: np.load(array_path(Path("out"), p, "labels_obs")) for p in ("train", "val", "dev")}
    np.testing.assert_array_equal(stored["train"], Draw(1, 1, seed=3)(on_disk))
    assert drawn(Path("out"), stored) == {"num_pos": 1, "num_neg": 1, "seed": 3}


def test_without_truth_the_labels_are_observations(here):
    write_listed()
    assert make("--labels", "labels.csv", "--truth", "none") == 0
    assert not list(Path("out").glob("*_labels.np?"))
    for images in rows(kind="observed").values():
        for image, row in images.items():
            assert row == expected_row(int(Path(image).stem), 0)


# Splits


def test_the_splits_are_drawn_once_with_the_seed():
    images = {f"{n}": Entry((0,), (), "", "") for n in range(10)}
    order = np.random.RandomState(4).permutation(10)
    splits = draw_splits(images, None, 0.2, 0.1, 4)
    assert list(splits["test"]) == [str(n) for n in sorted(order[:2])]
    assert list(splits["val"]) == [str(order[2])]
    assert list(splits["train"]) == [str(n) for n in sorted(order[3:])]


@pytest.mark.parametrize("word", ["val", "valid", "dev", ""])
def test_a_column_gives_the_splits(here, word):
    kinds = ["train", "TEST", word or "train"]
    lines = [f"{n:02}.png,{';'.join(names_of(n))},{kinds[n % 5 % 3]}" for n in range(COUNT)]
    Path("labels.csv").write_text("image,labels,split\n" + "\n".join(lines))
    assert make("--labels", "labels.csv") == 0
    found = {split: sorted(int(i[:2]) for i in images) for split, images in rows().items()}
    expected = {kind: [n for n in range(COUNT) if n % 5 % 3 == k] for k, kind in enumerate(kinds)}
    assert found["test"] == expected["TEST"]
    if word:
        assert found["val"] == expected[word]
    else:
        assert "val" not in found


def test_test_labels_are_a_second_file(here):
    write_wide("labels.csv", range(20))
    write_coco("test.json", range(20, COUNT))
    assert make("--labels", "labels.csv", "--test_labels", "test.json") == 0
    found = rows()
    assert {image for image in found["test"]} == {
        f"{n:02}.png" for n in range(20, COUNT) if names_of(n)
    }
    assert len(found["val"]) == 2
    assert len(found["train"]) == 18


def test_the_column_may_give_train_and_val_and_another_file_the_test_images(here):
    lines = [f"{n:02}.png,{';'.join(names_of(n))},{'val' if n % 3 else 'train'}" for n in range(20)]
    Path("labels.csv").write_text("image,labels,split\n" + "\n".join(lines))
    write_listed("test.csv", range(20, COUNT))
    assert make("--labels", "labels.csv", "--test_labels", "test.csv") == 0
    assert {split: len(images) for split, images in rows().items()} == {
        "train": 7, "val": 13, "test": 10,
    }  # fmt: skip


def test_test_images_may_lie_in_another_folder(here):
    write_listed("labels.csv")
    for number in range(5):
        picture(here / "others" / f"{number:02}.png", number + 100)
    write_listed("test.csv", range(5))
    flags = ["--labels", "labels.csv", "--test_labels", "test.csv", "--test_images", "others"]
    assert make(*flags) == 0
    found = rows()
    assert list(found["test"]) == [f"others/{n:02}.png" for n in range(5)]
    assert all(image.startswith("pics/") for image in found["train"])
    folder = read_folder(Path("out"), "mine")
    assert all(
        (folder.images / name).is_file() for name in (*folder.train.names, *folder.val.names)
    )


def test_lines_of_two_files_are_told_apart(here, capsys):
    write_listed("labels.csv", more="no.png,ant\n")
    write_listed("test.csv", range(3), more="03.png,ants\n")
    assert make("--labels", "labels.csv", "--test_labels", "test.csv") == 2
    error = capsys.readouterr().err
    assert "labels.csv, line 32: there is no image 'no.png'" in error
    assert "test.csv, line 5: 'ants' is no class of labels.csv" in error
    assert "did you mean ant?" in error
    assert "2 of 35 lines cannot be read" in error


# Folders


def test_a_picture_in_two_folders_has_both_classes(here, capsys):
    shutil.rmtree("pics")
    for number, path in enumerate(("ant/a.png", "ant/deep/b.png", "bee/c.png", "bee/d.png")):
        picture(here / "pics" / path, number)
    shutil.copy("pics/ant/a.png", "pics/bee/again.png")
    shutil.copy("pics/ant/a.png", "pics/ant/again.png")
    picture(here / "pics" / "outside.png", 9)
    for name in ("notes.txt", "ant/Thumbs.db", "ant/._a.png", "empty/.keep"):
        (here / "pics" / name).parent.mkdir(exist_ok=True)
        (here / "pics" / name).write_text("")
    assert make("--test_frac", 0.25, "--val_frac", 0, "--seed", 2) == 0
    split = {image: row for images in rows().values() for image, row in images.items()}
    found = {image: [max(label, 0) for label in row] for image, row in split.items()}
    assert found == {
        "ant/a.png": [1, 1], "ant/deep/b.png": [1, 0], "bee/c.png": [0, 1], "bee/d.png": [0, 1],
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "copies of another, which has the classes of both: 2" in out
    assert "outside the folders of the classes, passed over: 1" in out
    assert "files that are no pictures, passed over: 4" in out


def test_folders_of_splits_are_no_classes(here, capsys):
    for path in ("train/ant/a.png", "test/ant/a.png"):
        picture(here / "sets" / path, 1)
    assert cli.run(custom.main, ["--images", "sets", "--out", "out"]) == 2
    assert "no folders of classes but of splits (test, train)" in capsys.readouterr().err
    for number in range(12):
        for split in ("train", "test"):
            picture(here / "sets" / split / CLASSES[number % 2] / f"{number}.png", number)
    flags = ["--images", "sets/train", "--test_images", "sets/test", "--out", "out"]
    assert cli.run(custom.main, flags) == 0
    assert "test/ant/0.png" in rows()["test"]


def test_a_folder_outside_the_list_of_classes_is_named(here, capsys):
    as_folders()
    Path("classes.txt").write_text("\ufeffbee\n\nfly\n", encoding="utf-8")
    assert make("--classes", "classes.txt") == 2
    assert "folder 'ant': 'ant' is no class of --classes classes.txt" in capsys.readouterr().err
    assert make("--classes", "classes.txt", "--skip_bad_lines") == 0
    assert read_folder(Path("out"), "mine").classes == ("bee", "fly")


# COCO


def coco(**tables):
    content = {
        "images": [{"id": n, "file_name": f"{n:02}.png"} for n in range(COUNT)],
        "categories": [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}],
        "annotations": [{"image_id": n, "category_id": 1 + n % 2} for n in range(COUNT)],
    }
    for name, records in tables.items():
        content[name] += records
    Path("labels.json").write_text(json.dumps(content))


BAD_RECORDS = {
    "missing file": ("images", {"id": 99, "file_name": "no.png"}, "images[30]: there is no image"),
    "no name": ("images", {"id": 99}, "images[30]: it must have id (int) and file_name (str)"),
    "id again": ("images", {"id": 3, "file_name": "04.png"}, "images[30]: the id 3 is given twice"),
    "no object": ("images", [1], "images[30]: it must have id"),
    "true": ("annotations", {"image_id": True, "category_id": 1}, "annotations[30]: it must"),
    "image": ("annotations", {"image_id": 77, "category_id": 1}, "no image of the id 77"),
    "category": ("annotations", {"image_id": 1, "category_id": 7}, "no category of the id 7"),
    "category again": ("categories", {"id": 2, "name": "fly"}, "categories[2]: the id 2 or"),
    "class again": ("categories", {"id": 3, "name": "bee"}, "categories[2]: the id 3 or the name"),
}


@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_a_bad_record_of_coco_is_named_and_can_be_left_out(here, capsys, kind):
    table, record, message = BAD_RECORDS[kind]
    coco(**{table: [record]})
    assert make("--labels", "labels.json") == 2
    error = capsys.readouterr().err
    assert message in error
    total = COUNT + 2 + COUNT + 1
    assert f"1 of {total} records cannot be read" in error
    assert make("--labels", "labels.json", "--skip_bad_lines") == 0
    assert sum(map(len, rows().values())) == COUNT


def test_unlabelled_images_of_coco_are_left_out_or_kept(here, capsys):
    write_coco()
    bare = [n for n in range(COUNT) if not names_of(n)]
    assert make("--labels", "labels.json") == 0
    assert sum(map(len, rows().values())) == COUNT - len(bare)
    out = capsys.readouterr().out
    assert f"without annotation, left out (--keep_unlabelled): {len(bare)}" in out
    assert "no line mentions" not in out
    assert make("--labels", "labels.json", "--keep_unlabelled", out="kept") == 0
    assert sum(map(len, rows("kept").values())) == COUNT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "must hold a JSON object"),
        ('{"images": [], "categories": []}', "has no list of annotations"),
        (b"\xff\xfe", "is no UTF-8"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_json_file_of_something_else(here, capsys, content, message):
    path = Path("labels.json")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert make("--labels", path) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# What is written, and what is not


WRONG = {  # the flags after --labels labels.csv
    "bad line": ([], "1 of 31 lines cannot be read: mend them, or give --skip_bad_lines"),
    "no pictures": (["--images", "none"], "there is no folder none"),
    "no labels": (["--labels", "none.csv"], "none.csv is missing"),
    "out is a file": (["--out", "labels.csv"], "is a file: give a folder"),
    "two truths": (["--truth", "none", "--left_out", "negative"], "--left_out is for --truth par"),
    "draw": (["--num_pos", "1"], "--num_pos draws from labels that are all known"),
    "two zeros": (
        ["--labels", "zeros.csv", "--truth", "full", "--zero", "unobserved"],
        "--truth full says that all labels are known, --zero unobserved that a 0 is not",
    ),
    "no json": (["--keep_unlabelled"], "--keep_unlabelled is for COCO's json: drop it"),
    "zero of a json": (["--labels", "coco.json", "--zero", "negative"], "--zero is for CSV tables"),
    "zero of labels in a cell": (
        ["--labels", "last.csv", "--zero", "negative"],
        "--zero is for tables with a column",
    ),
    "no list": (["--other_classes", "ignore"], "--other_classes goes with --classes FILE"),
    "a known set": (["--out", "data/coco"], "main.py --dataset coco would take it for the offi"),
    "a known set in capitals": (["--out", "./Pascal/"], "--dataset pascal would take it for"),
    "digits": (["--out", "digits", "--dry_run"], "--dataset digits would take it for"),
    "lost": (["--labels", "lost.csv"], "lost.csv: none of the 3 images is below "),
    "lost, skipped": (["--labels", "lost.csv", "--skip_bad_lines"], "pics: is --images right?"),
    "header alone": (["--labels", "header.csv"], "holds no line below its header"),
    "binary": (["--labels", "pics/00.png"], "is no text: give a CSV table or a COCO .json"),
    "binary classes": (["--classes", "pics/00.png"], "is no text: give class names, one a line"),
    "two draws": (["--truth", "full", "--fpc", "3", "--rps", "0.5"], "two ways to draw"),
    "data_root": (["--data_root", "x"], "unknown flag --data_root"),
    "test images": (["--test_images", "pics"], "--test_images goes with --test_labels"),
    "test share": (["--test_labels", "labels.csv", "--test_frac", "0.3"], "drop it"),
    "in both": (["--test_labels", "labels.csv", "--skip_bad_lines"], "30 images are both to train"),
    "empty split": (["--val_frac", "0.01", "--skip_bad_lines"], "no split may be empty"),
    "too much": (["--test_frac", "0.9", "--val_frac", "0.1", "--skip_bad_lines"], "0 train"),
    "no class": (["--classes", "empty.txt"], "names no class"),
    "class twice": (["--classes", "twice.txt"], "names 'ant' twice"),
    "zero": (["--labels", "zeros.csv"], "give --zero negative"),
    "no positive": (["--labels", "bare.csv"], "no label of the"),
    "wrong flag": (["--skip_bad_line"], "did you mean --skip_bad_lines?"),
    "unknown truth": (["--truth", "partly"], "did you mean partial?"),
    "split and share": (["--labels", "split.csv", "--val_frac", "0.2"], "--val_frac draws a split"),
    "no test": (["--labels", "only.csv"], "has no image of test"),
    "split and file": (["--labels", "most.csv", "--test_labels", "last.csv"], "drop one"),
    "split of the test": (["--labels", "last.csv", "--test_labels", "most.csv"], "say 'train' in"),
}


def write_wrong_files():
    write_listed(more="no.png,ant\n")
    write_wide("zeros.csv", absent="0")
    write_listed("last.csv", [4])
    write_coco("coco.json")
    Path("lost.csv").write_text("image,labels\nx.png,ant\ny.png,bee\nz.png,\n")
    Path("header.csv").write_text("image,labels\n")
    Path("empty.txt").write_text("\n")
    Path("twice.txt").write_text("ant\nbee\nant\n")
    Path("bare.csv").write_text("image,labels\n" + "".join(f"{n:02}.png,\n" for n in range(COUNT)))
    header = "image,labels,split\n"
    lines = [f"{n:02}.png,ant,{'train' if n % 2 else 'test'}\n" for n in range(COUNT)]
    Path("split.csv").write_text(header + "".join(lines))
    Path("only.csv").write_text(header + lines[1])
    Path("most.csv").write_text(header + "".join(lines[5:]))


def everything(folder):
    return {p: p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_costs_a_line_and_no_file(here, capsys, kind):
    flags, message = WRONG[kind]
    write_wrong_files()
    before = everything(here)
    assert make("--labels", "labels.csv", *flags) == 2
    output = capsys.readouterr()
    last = output.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert not output.out
    assert everything(here) == before


def test_rejected_lines_are_counted_and_written_down(here, capsys):
    write_listed(more='no.png,ant\n"open,ant\n')
    assert make("--labels", "labels.csv", "--skip_bad_lines") == 0
    output = capsys.readouterr()
    bad = ["line 32: there is no image 'no.png'", "line 33: a quote is not closed"]
    assert output.err.splitlines() == bad
    assert Path("out/rejected_lines.txt").read_text().splitlines() == bad
    assert "rejected lines: 2" in output.out
    write_listed()
    assert make("--labels", "labels.csv", "--overwrite") == 0
    assert not Path("out/rejected_lines.txt").exists()


def test_a_set_that_is_there_is_overwritten_on_request_alone(here, capsys):
    write_listed()
    assert make("--labels", "labels.csv", "--truth", "full") == 0
    before = everything(here / "out")
    assert make("--labels", "labels.csv") == 2
    assert "out holds a formatted set already: give --overwrite" in capsys.readouterr().err
    assert everything(here / "out") == before
    assert make("--labels", "labels.csv", "--overwrite") == 0
    assert not list(Path("out").glob("*_obs.np?"))
    assert not Path("out/observed.json").exists()


def test_a_dry_run_reports_and_writes_nothing(here, capsys):
    write_listed()
    before = everything(here)
    assert make("--labels", "labels.csv", "--dry_run") == 0
    out = capsys.readouterr().out
    assert "out: 2 classes, 30 images" in out
    assert "dry run: nothing is written" in out
    assert everything(here) == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs the rights of Unix")
def test_a_folder_that_cannot_be_written_costs_a_line(here, capsys):
    write_listed()
    (here / "file").write_text("")
    assert make("--labels", "labels.csv", out="file/below") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_the_folder_of_the_pictures_is_relative_below_out(here):
    write_listed()
    assert make("--labels", "labels.csv", out=".") == 0
    assert json.loads(Path("dataset.json").read_text())["images"] == "pics"
    assert make("--labels", "labels.csv") == 0
    assert json.loads(Path("out/dataset.json").read_text())["images"] == str(here / "pics")


def test_a_large_thin_table_is_stored_sparse():
    entries = {f"{n}": Entry((n,), (n + 1,), "", "") for n in range(3)}
    splits = {"train": entries, "val": {}, "test": entries}

    def kinds(num_classes, truth, splits=splits):
        classes = [str(n) for n in range(num_classes)]
        formatted = make_formatted(splits, classes, truth, filled(truth, None, False, False), "")
        return is_sparse(formatted.train.labels), is_sparse(formatted.val.labels)

    assert kinds(2_000, "partial") == (False, False)
    assert kinds(2_001, "partial") == (True, False)
    assert kinds(2_001, "none") == (True, True)
    for labels, expected in ((40, True), (41, False)):  # 2 % of 2,001 are 40.02
        thick = {"0": Entry(tuple(range(labels)), (), "", "")}
        both = {"train": thick, "val": {}, "test": thick}
        assert kinds(2_001, "none", both) == (expected, expected)
    assert kinds(2_001, "full") == (False, False)
    classes = [str(n) for n in range(2_001)]
    fills = filled("none", None, False, False)
    table = make_formatted(splits, classes, "none", fills, "").train.labels
    assert to_dense(table)[1, :4].tolist() == [0, 1, -1, 0]


# The report


def test_the_report_counts_what_was_read(here, capsys):
    write_listed(numbers=range(20), more="20.png,rare\n21.png,\n")
    assert make("--labels", "labels.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "out: 3 classes, 22 images"
    numbers = [[int(w) for w in line.split() if w.isdigit()][:4] for line in lines[1:4]]
    assert np.sum(numbers, axis=0).tolist() == [22, 10 + 7 + 1, 0, 1 + 7]
    assert [n[0] for n in numbers] == [16, 2, 4]
    assert "  labels that occur once: 1 ('rare')" in lines
    assert "  pictures that no line mentions: 8, " in "\n".join(lines)
    assert lines[-2:] == [
        "next: python -m tools.inspect ./out",
        "next: python main.py --dataset ./out --mod_scheme LL-R",
    ]


@pytest.mark.parametrize("name", ["out", "coco", "my set", "it's", "-x", "-x/y", "a/b", "/t m/x"])
def test_the_next_command_names_the_folder_for_a_shell(name):
    for line in custom_report.commands(Path(name)):
        words = shlex.split(line.removeprefix("next: "))
        word = next(word for word in words if name in word)
        assert Path(word) == Path(name)
        assert "/" in word
        assert not word.startswith("-")


def test_classes_that_are_nearly_the_same_are_warned_about(here, capsys):
    lines = [f"{n:02}.png,{('Cat', 'cat', 'cat  owl', 'cat owl')[n % 4]}\n" for n in range(COUNT)]
    Path("labels.csv").write_text("image,labels\n" + "".join(lines))
    assert make("--labels", "labels.csv") == 0
    error = capsys.readouterr().err
    assert "the classes 'Cat' and 'cat' differ only in case or space" in error
    assert "the classes 'cat  owl' and 'cat owl' differ" in error


def test_a_label_that_looks_like_a_typo_is_warned_about(here, capsys):
    words = ["perosn" if n == 4 else ("person", "horse")[n % 2] for n in range(COUNT)]
    lines = [f"{n:02}.png,{word}\n" for n, word in enumerate(words)]
    Path("labels.csv").write_text("image,labels\n" + "".join(lines))
    assert make("--labels", "labels.csv") == 0
    assert capsys.readouterr().err == (
        "warning: 'perosn' occurs once, did you mean 'person' (14 times)?\n"
    )
    Path("classes.txt").write_text("perosn\nperson\nhorse\n")
    flags = ["--labels", "labels.csv", "--classes", "classes.txt"]
    assert make(*flags, out="listed") == 0
    assert not capsys.readouterr().err


def test_only_a_name_that_occurs_once_beside_one_that_occurs_often_is_a_typo():
    def found(**times):
        return list(typos(times))

    assert found(perosn=1, person=5)
    assert not found(perosn=2, person=5)
    assert not found(perosn=1, person=4)
    assert not found(chair=1, car=50)
    assert found(Cats=1, cat=1_234) == ["'Cats' occurs once, did you mean 'cat' (1,234 times)?"]
    assert not found(Person=1, person=50), "that is said already"
    assert not found(**{"breed 12": 1, "breed 13": 50}), "numbers differ by intent"
    assert not found(**{"a" * 12: 1, "a" * 15: 50}), "three letters more"
    many = {f"perso{letter}": 1 for letter in "abcdefghijklmopqrstuvwxyz"}
    lines = found(person=5, **many)
    assert len(lines) == 21
    assert lines[-1].endswith("more of them: 5")


def test_columns_and_labels_outside_the_list_can_be_left_out(here, capsys):
    Path("classes.txt").write_text("bee\n")
    for number, (source, (write, labels)) in enumerate(SOURCES.items()):
        write()
        flags = [*(["--labels", labels] if labels else []), "--classes", "classes.txt"]
        assert make(*flags, out="strict") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert "--other_classes ignore" in error, source
        flags += [
            "--other_classes",
            "ignore",
            *(["--keep_unlabelled"] if labels and "json" in labels else []),
        ]
        status = make(*flags, out=f"out{number}")
        if source == "folders":
            assert status == 2, "all images are bees"
            continue
        assert status == 0
        assert "no class of --classes classes.txt, ignored: 1 ('ant')" in capsys.readouterr().out
        assert read_folder(Path(f"out{number}"), "mine").classes == ("bee",)
        for images in rows(f"out{number}").values():
            assert all((row == [1]) == ("bee" in names_of(int(i[:2]))) for i, row in images.items())
        assert "other classes ignored" in source_of(f"out{number}")


def test_many_rejected_lines_are_not_all_printed(here, capsys):
    write_listed(more="".join(f"no{n}.png,ant\n" for n in range(300)))
    for flags, status in (([], 2), (["--skip_bad_lines"], 0)):
        assert make("--labels", "labels.csv", *flags) == status
        lines = capsys.readouterr().err.splitlines()
        assert lines[199].startswith("line 231: ")
        assert (
            lines[200]
            == "and 100 more (with --skip_bad_lines all of them are in rejected_lines.txt)"
        )
        assert len(lines) == 201 + (status == 2)
    assert len(Path("out/rejected_lines.txt").read_text().splitlines()) == 300


def test_test_images_that_are_all_missing_name_their_flag(here, capsys):
    write_listed("labels.csv", range(20))
    Path("test.csv").write_text("image,labels\nx.png,ant\n")
    (here / "others").mkdir()
    flags = ["--labels", "labels.csv", "--test_labels", "test.csv"]
    assert make(*flags) == 2
    assert "pics: is --images right?" in capsys.readouterr().err
    assert make(*flags, "--test_images", "others") == 2
    assert "others: is --test_images right?" in capsys.readouterr().err


def test_pictures_without_folders_of_classes_are_counted(here, capsys):
    assert make() == 2
    error = capsys.readouterr().err
    assert "30 pictures lie in " in error
    assert "each class needs a folder of its own there, or give --labels FILE" in error


def source_of(out):
    return json.loads(Path(out, "dataset.json").read_text())["source"]


def test_what_was_assumed_is_written_down(here):
    write_wide(absent="0")
    Path("labels.csv").write_text(
        Path("labels.csv").read_text().replace("00.png,1,1", "00.png,1,-1")
    )
    flags = ["--labels", "labels.csv", "--truth", "none"]
    for zero in ("negative", "unobserved"):
        assert make(*flags, "--zero", zero, out=zero) == 0
        assert f"; a 0 is {zero};" in source_of(zero)
    assert "truth none" in source_of("negative")
    assert make("--labels", "labels.csv", "--left_out", "negative") == 0
    assert source_of("out") == (
        "labels.csv; splits drawn with test_frac 0.2, val_frac 0.1, seed 1200; truth partial: the "
        "labels given are known; left_out unobserved in train, negative in val, negative in test; "
        "a 0 is unobserved; lines skipped: 0"
    )
    write_listed("labels.csv", range(20), more="no.png,ant\n")
    write_wide("test.csv", range(20, COUNT))
    flags = ["--labels", "labels.csv", "--test_labels", "test.csv", "--skip_bad_lines"]
    assert make(*flags, out="two") == 0
    assert "negative in val, unobserved in test" in source_of("two")
    assert "lines skipped: 1" in source_of("two")
    assert "a 0" not in source_of("two")
    assert make(*flags, "--val_frac", 0, out="cut") == 0
    assert "left_out unobserved in train, unobserved in test" in source_of("cut")


def test_the_report_of_a_full_truth_says_what_was_drawn(here, capsys):
    write_listed()
    assert make("--labels", "labels.csv", "--truth", "full") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  annotated: 1 positive and 0 negative labels of each image, seed 1200"
    seen = tables(kind="observed")
    for line, split in zip(lines[2:5], ("train", "val", "test"), strict=True):
        truth = tables()[split][1]
        positives, negatives = (truth == 1).sum(), (truth == -1).sum()
        assert f"{split}: {len(truth)} images, {positives} positives, all {negatives} other" in line
        shown = (seen[split][1] == 1).sum()
        assert line.endswith(f"observed: {shown} positive and 0 negative labels")
        assert "0 negatives" not in line


def test_nothing_rejected_is_not_reported(here, capsys):
    write_listed()
    assert make("--labels", "labels.csv") == 0
    assert "rejected" not in capsys.readouterr().out


def test_observed_labels_of_an_earlier_set_do_not_survive(here):
    write_listed()
    Path("out").mkdir()
    for name in ("uniform_labels_obs", "labels_obs"):
        for part in ("train", "val", "dev"):
            np.save(f"out/formatted_{part}_{name}.npy", np.ones((3, 2), np.int8))
    assert make("--labels", "labels.csv", "--overwrite") == 0
    assert not list(Path("out").glob("*_obs.np?"))
    assert rows(kind="observed") == rows()


def test_the_help_shows_no_flag_of_other_sets(capsys):
    with pytest.raises(SystemExit):
        custom.main(["--help"])
    out = capsys.readouterr().out
    assert "--data_root" not in out
    assert "--truth {partial,full,none}" in out
    assert "of the splits and the draw" in out


HOSTILE = ["line\nbreak", "\x1b[31mred", 'quo"te', "it's; rm", "ünïcode", "\u202eleft", "-dash"]


def test_hostile_names_come_out_printable_and_train(here, capsys):
    shutil.rmtree("pics")
    for number in range(28):
        picture(here / "pics" / HOSTILE[number % 7] / f"{number} {HOSTILE[number % 7]}.png", number)
    classes = [name for name in HOSTILE if name != "-dash"]
    Path("classes.txt").write_text("".join(f"{name!r}\n" for name in classes))
    assert make(out="./-o\x1bn\nut") == 0
    (here / "pics" / "\x1b[31mred" / "new").mkdir()
    assert make("--classes", "classes.txt") == 2
    output = capsys.readouterr()
    for stream in (output.out, output.err):
        assert all(line.isprintable() for line in stream.splitlines())
        assert "\x1b" not in stream
    assert r"folder 'line\nbreak': " in output.err
    found = read_folder(Path("-o\x1bn\nut"), "mine")
    assert set(found.classes) == set(HOSTILE)
    assert all((found.images / name).is_file() for name in found.train.names)


def test_hostile_cells_come_out_printable(here, capsys):
    cells = ["\x1b[2J.png,x", '"a\nb.png","c\nd"', "\u202e.png,\u2028", '"\x07", ""', "é\x85.png,"]
    write_listed(more="\n".join(cells))
    assert make("--labels", "labels.csv") == 2
    error = capsys.readouterr().err
    assert all(line.isprintable() for line in error.split("\n"))
    assert "5 of 35 lines cannot be read" in error


def test_a_hostile_name_of_the_file_itself_comes_out_printable(here, capsys):
    name = "la\x1b[31m\nbels.csv"
    write_listed(name, more="no.png,ant\n")
    write_listed("test.csv", [3])
    flags = ["--labels", name, "--test_labels", "test.csv", "--skip_bad_lines"]
    assert make(*flags) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[0].startswith(r"la\x1b[31m\nbels.csv, line 32: there is no image")
    assert "\x1b" not in error


def test_nothing_heavy_is_imported_for_the_help():
    program = "import sys; from data import custom, custom_flags as flags\n"
    program += "flags._parser(None).format_help()\n"
    program += "assert not {'torch', 'sklearn', 'PIL', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_pictures_and_classes_can_be_asked_from_a_program(here):
    assert "00" in Pictures(here / "pics")
    assert Classes(["a"]).column("a") == 0
