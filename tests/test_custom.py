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
from data.custom_parts import draw_splits, make_formatted
from data.draw import Draw
from data.formatted import array_path
from data.labels import is_sparse, to_dense
from data.observe import drawn
from data.read import read_folder

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


def test_left_out_unobserved_leaves_them_so_and_warns(here, capsys):
    write_listed()
    assert make("--labels", "labels.csv", "--left_out", "unobserved") == 0
    for images in rows().values():
        for image, row in images.items():
            assert row == expected_row(int(Path(image).stem), 0)
    error = capsys.readouterr().err
    assert "val mAP cannot choose the epoch" in error
    assert "no label of test is negative" in error


def test_without_a_val_split_positives_alone_are_warned_about(here, capsys):
    write_listed()
    assert make("--labels", "labels.csv", "--val_frac", 0) == 0
    assert "no label of train, from which val is cut, is negative" in capsys.readouterr().err
    assert set(rows()) == {"train", "test"}


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
    assert make("--test_frac", 0.25, "--val_frac", 0, "--left_out", "unobserved") == 0
    found = {image: row for images in rows().values() for image, row in images.items()}
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
    "two draws": (["--truth", "full", "--fpc", "3", "--rps", "0.5"], "two ways to draw"),
    "data_root": (["--data_root", "x"], "--out says where"),
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
        formatted = make_formatted(splits, classes, truth, "negative", "")
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
    table = make_formatted(splits, classes, "none", "negative", "").train.labels
    assert to_dense(table)[1, :4].tolist() == [0, 1, -1, 0]


# The report


def test_the_report_counts_what_was_read(here, capsys):
    write_listed(numbers=range(20), more="20.png,rare\n21.png,\n")
    assert make("--labels", "labels.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "out: 3 classes, 22 images"
    numbers = [[int(w) for w in line.split() if w.isdigit()] for line in lines[1:4]]
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
    program = "import sys; from data import custom\ncustom._parser().format_help()\n"
    program += "assert not {'torch', 'sklearn', 'PIL', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_pictures_and_classes_can_be_asked_from_a_program(here):
    assert "00" in Pictures(here / "pics")
    assert Classes(["a"]).column("a") == 0
