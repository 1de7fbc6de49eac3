"""Looking at a data set: what is counted, written down and drawn, by hand and on odd data."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
from data.draw import Draw
from data.formatted import Formatted, Part, array_path, write_formatted
from data.labels import sparse_labels
from datasets import Split
from tests.tiny import write_array
from tools import inspect, inspect_counts, inspect_pictures

# 5 images, of which the default split makes the fourth val
TRUTH = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], np.int8)
OBSERVED = np.array([[1, 0, 0], [0, 1, -1], [0, 0, 0], [1, 0, 0], [-1, 0, 0]], np.int8)
TEST_TRUTH = np.array([[0, 1, 1], [1, 0, 0]], np.int8)
TEST_OBSERVED = np.array([[0, 0, 1], [1, -1, 0]], np.int8)
NAMES = ("a cat", "a dog", "an elk")


def pictures(folder, part, count):
    """The names of so many pictures, which are written."""
    names = [f"{part}/{place}.png" for place in range(count)]
    (folder / part).mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        Image.new("RGB", (20 + 10 * place, 10), (40 * place, 90, 0)).save(folder / name)
    return np.array(names)


def make(folder, observed=True, classes=NAMES, truth="full", tables=(TRUTH, TEST_TRUTH)):
    """The folder of the tables above, with or without what is observed."""
    train, val = (
        Part(pictures(folder, part, table.shape[0]), table)
        for part, table in zip(("train", "val"), tables, strict=True)
    )
    seen = {"train": OBSERVED, "val": TEST_OBSERVED} if observed else {}
    write_formatted(folder, Formatted(train, val, classes, truth=truth), ".", seen)
    return folder


def look(folder, capsys, *more):
    """What is printed, the rows of labels.csv, and the folder of what is written."""
    out = folder.parent / "out"
    words = [str(folder), "--out", str(out), "--num_workers", "0", *more]
    assert cli.run(inspect.main, words) == 0, capsys.readouterr().err
    text = (out / "labels.csv").read_bytes().decode()
    return capsys.readouterr().out, list(csv.DictReader(io.StringIO(text, newline=""))), out


def numbers(printed, title):
    """The cells of the first line with that title."""
    row = re.search(rf"^ *{re.escape(title)}  +(.*)$", printed, re.MULTILINE)
    assert row, printed
    return re.split(" {2,}", row[1])


def assert_are_pictures(out):
    """Both figures are whole and neither tiny nor huge; nothing else is there."""
    names = ["examples.png", "labels.csv", "labels.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    for name in names[::2]:
        with Image.open(out / name) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert all(300 < side < 3000 for side in picture.size), (name, picture.size)
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 10, f"{name} is empty"


# What is counted


def test_the_labels_of_a_full_truth_are_counted(tmp_path, capsys):
    printed, _, out = look(make(tmp_path / "set"), capsys)
    assert "3 classes; the truth is known of 100% of the labels; val is cut from" in printed
    assert "it is not known how they were drawn" in printed
    for title, expected in {
        "images": ["4", "1", "2"],
        "labels (images x classes)": ["12", "3", "6"],
        "observed labels": ["4", "1", "3"],
        "positive": ["2", "1", "2"],
        "negative": ["2", "0", "1"],
        "share of all labels": ["33.3%", "33.3%", "50%"],
        "true positives": ["6", "1", "3"],
        "hidden (false negatives)": ["4", "0", "1"],
        "share hidden": ["66.7%", "0%", "33.3%"],
        "images without an observed label": ["1", "0", "0"],
        "images without an observed positive": ["2", "0", "0"],
        "images without a true positive": ["0", "0", "0"],
        "observed positives of an image: mean, median, max": [
            "0.50, 0.5, 1", "1.00, 1, 1", "1.00, 1, 1"],
        "true positives of an image: mean, median, max": [
            "1.50, 1.5, 2", "1.00, 1, 1", "1.50, 1.5, 2"],
    }.items():  # fmt: skip
        assert numbers(printed, title) == expected, title
    assert "classes never observed positive in train: 1: an elk\n" in printed
    assert "classes never truly positive in train: 1: an elk\n" in printed
    assert "classes never positive in test: 0\n" in printed
    assert numbers(printed, "a dog") == ["4", "1", "0", "1"]  # train, observed, val, test
    order = [line.split()[:2] for line in printed.split("positives by class")[1].splitlines()[1:4]]
    assert order == [["a", "dog"], ["a", "cat"], ["an", "elk"]]
    assert_are_pictures(out)


def test_the_table_of_the_classes_is_exact(tmp_path, capsys):
    _, _, out = look(make(tmp_path / "set"), capsys)
    kinds = ("observed_positives", "observed_negatives", "true_positives", "share_hidden")
    head = ",".join(f"{split}_{kind}" for split in ("train", "val", "test") for kind in kinds)
    assert (out / "labels.csv").read_bytes().decode() == (
        f"class,{head}\n"
        "a cat,1,1,2,0.5000,1,0,1,0.0000,1,0,1,0.0000\n"
        "a dog,1,0,4,0.7500,0,0,0,,0,1,1,1.0000\n"
        "an elk,0,1,0,,0,0,0,,1,0,1,0.0000\n"
    )


def test_without_observed_labels_the_truth_is_shown(tmp_path, capsys):
    printed, rows, out = look(make(tmp_path / "set", observed=False), capsys)
    assert numbers(printed, "observed labels") == ["-", "-", "-"]
    assert numbers(printed, "true positives") == ["6", "1", "3"]
    assert numbers(printed, "hidden (false negatives)") == ["-", "-", "-"]
    assert rows[1]["train_true_positives"] == "4"
    assert rows[1]["train_observed_positives"] == rows[1]["train_share_hidden"] == ""
    assert_are_pictures(out)


def test_without_a_truth_nothing_is_called_hidden(tmp_path, capsys):
    printed, rows, out = look(make(tmp_path / "set", truth="none"), capsys)
    assert "what is not observed is unknown" in printed
    assert numbers(printed, "positive") == ["2", "1", "2"]
    assert numbers(printed, "true positives") == ["-", "-", "-"]
    assert numbers(printed, "share hidden") == ["-", "-", "-"]
    assert rows[0]["train_observed_negatives"] == "1"
    assert rows[0]["train_true_positives"] == rows[0]["train_share_hidden"] == ""
    assert_are_pictures(out)


@pytest.mark.parametrize("sparse", [False, True])
def test_of_a_partial_truth_the_hidden_part_is_counted(tmp_path, capsys, sparse):
    """Of the truth, 4 of 12 labels are not known: they are neither hidden nor negative."""
    tables = [table.copy() for table in (TRUTH, TEST_TRUTH)]
    for table in tables:
        table[table == 0] = -1
        table[:, 2] = 0
    tables[1][0, 2] = 1
    if sparse:
        tables = [as_sparse(table) for table in tables]
    printed, rows, _ = look(make(tmp_path / "set", truth="partial", tables=tables), capsys)
    assert "the truth is known of 66.7% of the labels" in printed
    assert numbers(printed, "true positives") == ["6", "1", "3"]
    assert numbers(printed, "hidden (false negatives)") == ["4", "0", "1"]
    assert [row["train_share_hidden"] for row in rows] == ["0.5000", "0.7500", ""]


def test_annotations_alone_hide_nothing_that_is_known(tmp_path, capsys):
    tables = (OBSERVED, TEST_OBSERVED)
    folder = make(tmp_path / "set", observed=False, truth="partial", tables=tables)
    printed, rows, _ = look(folder, capsys)
    assert "what is not observed is unknown" in printed
    assert numbers(printed, "observed labels") == ["4", "1", "3"]
    assert numbers(printed, "true positives") == ["-", "-", "-"]
    assert rows[0]["train_share_hidden"] == ""


@pytest.mark.parametrize("sparse", [False, True])
def test_a_positive_that_is_observed_negative_is_not_hidden(sparse):
    """Hidden is what nobody has annotated; Data.warnings() tells of wrong annotations."""
    truth = np.array([[1, 1, 1, -1]], np.int8)
    observed = np.array([[1, -1, 0, 0]], np.int8)
    if sparse:
        truth, observed = as_sparse(truth), as_sparse(observed)
    split = Split(None, None, truth, observed)
    found = inspect_counts.tally(split)
    assert [c.by_class.tolist() for c in found] == [
        [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]
    ]  # fmt: skip
    assert [c.by_image.tolist() for c in found] == [[1], [1], [3], [1]]


def as_sparse(table):
    rows, columns = np.nonzero(table)
    return sparse_labels(rows, columns, table[rows, columns], table.shape)


def make_sparse(folder, classes=300, num_images=40):
    """A set of many classes, part of its truth known and part of that observed, dev and groups."""
    rng = np.random.RandomState(3)
    parts = {}
    for part, count in (("train", num_images), ("val", 10), ("dev", 6)):
        table = rng.choice([-1, 0, 1], (count, classes), p=[0.02, 0.95, 0.03]).astype(np.int8)
        parts[part] = Part(pictures(folder, part, count), as_sparse(table))
    names = tuple(f"class {column}" for column in range(classes))
    groups = {"G1": range(0, 200), "G2": range(200, classes)}
    formatted = Formatted(parts["train"], parts["val"], names, parts["dev"], "partial", groups)
    observed = {name: Draw(share=0.5)(part.labels, "partial") for name, part in parts.items()}
    write_formatted(folder, formatted, ".", observed)
    tables = {"train": "train", "val": "dev", "test": "val"}
    return {
        split: (parts[part].labels.toarray(), observed[part].toarray())
        for split, part in tables.items()
    }


def test_a_sparse_set_with_a_dev_part_and_groups(tmp_path, capsys, monkeypatch):
    """Counted a second time on dense tables, which the tool itself never makes of a split."""
    tables = make_sparse(tmp_path / "set")
    make_dense = inspect_pictures.to_dense

    def of_one_image(table):
        assert table.shape[0] == 1
        return make_dense(table)

    monkeypatch.setattr(inspect_pictures, "to_dense", of_one_image)
    printed, rows, out = look(tmp_path / "set", capsys)
    assert "val is the set's own" in printed
    assert numbers(printed, "images") == ["40", "6", "10"]
    hidden = {s: (truth == 1) & (observed == 0) for s, (truth, observed) in tables.items()}
    expected = [str(found.sum()) for found in hidden.values()]
    assert numbers(printed, "hidden (false negatives)") == expected
    for name, columns in (("G1 (200 classes)", slice(200)), ("G2 (100 classes)", slice(200, 300))):
        counts = [str((seen[:, columns] != 0).sum()) for _, seen in tables.values()]
        assert numbers(printed, f"observed in {name}") == counts
    for column, row in enumerate(rows):
        for split, (truth, seen) in tables.items():
            counts = [(seen == 1), (seen == -1), (truth == 1), hidden[split]]
            *three, not_seen = (int(table[:, column].sum()) for table in counts)
            share = f"{not_seen / three[2]:.4f}" if three[2] else ""
            names = (f"{split}_{kind}" for kind in inspect_counts.CSV_COLUMNS)
            assert [row[name] for name in names] == [*map(str, three), share]
    assert "... 290 more" in printed
    assert_are_pictures(out)


def test_the_digits(tmp_path, capsys):
    assert cli.run(inspect.main, ["digits", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert numbers(printed, "images") == ["2,400", "600", "1,500"]
    assert numbers(printed, "observed labels") == ["2,400", "600", "1,500"]
    assert "1 positive and 0 negative labels of each image, seed 1200" in printed
    assert "pictures: in memory, 24 x 24 pixels" in printed
    assert_are_pictures(tmp_path)


def test_the_split_is_that_of_a_run_with_these_flags(tmp_path, capsys):
    printed, _, _ = look(make(tmp_path / "set"), capsys, "--val_frac", "0.4", "--split_seed", "7")
    assert numbers(printed, "images") == ["3", "2", "2"]


# Pictures


def test_sizes_and_formats_come_from_the_headers(tmp_path, capsys):
    folder = make(tmp_path / "set")
    Image.new("L", (300, 7)).save(folder / "train" / "1.png", format="JPEG")
    printed, _, _ = look(folder, capsys)
    assert "pictures: 7, of which 7 looked at (all)" in printed
    assert numbers(printed, "width") == ["20", "40", "300"]
    assert numbers(printed, "height") == ["7", "10", "10"]
    assert "formats: PNG 6, JPEG 1" in printed
    assert "missing, of all: 0\n" in printed


def test_broken_and_missing_pictures_are_named_and_drawn_as_tiles(tmp_path, capsys):
    folder = make(tmp_path / "set")
    (folder / "train" / "0.png").write_bytes(b"no picture")
    (folder / "train" / "2.png").unlink()
    whole = (folder / "val" / "1.png").read_bytes()
    (folder / "val" / "1.png").write_bytes(whole[:-30])  # its header is right
    printed, _, out = look(folder, capsys)
    assert "missing, of all: 1, train/2.png the first\n" in printed
    assert (
        f"not readable, of those looked at: 1, {folder / 'train' / '0.png'} the first "
        "(headers only; --check_images decodes all)\n"
    ) in printed
    assert "bad image" not in printed
    assert_are_pictures(out)
    with Image.open(out / "examples.png") as sheet:
        grey = sum(n for n, color in sheet.convert("RGB").getcolors(1 << 24) if color == (224,) * 3)
    assert grey > 2 * 0.8 * (1.9 * 110) * (1.5 * 110)  # two tiles, less their text
    printed, _, _ = look(folder, capsys, "--check_images")
    assert f"bad image: {folder / 'train' / '0.png'}: is no image of a known format\n" in printed
    assert f"bad image: {folder / 'train' / '2.png'}: is missing\n" in printed
    assert f"bad image: {folder / 'val' / '1.png'}: cannot be read" in printed
    assert "7 pictures decoded: 3 cannot be read" in printed
    assert "not readable" not in printed
    assert "headers only" not in printed


def test_a_large_set_is_sampled_and_a_check_looks_at_all(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inspect, "SAMPLE", 3)
    folder = make(tmp_path / "set")
    (folder / "val" / "0.png").unlink()
    printed, _, _ = look(folder, capsys)
    assert "7, of which 3 looked at (drawn at random)" in printed
    assert "missing, of all: 1, val/0.png" in printed
    printed, _, _ = look(folder, capsys, "--check_images")
    assert "7, of which 7 looked at (all)" in printed


# Examples


def test_half_of_the_examples_are_those_with_most_hidden_positives():
    by_image = np.array([0, 3, 0, 3, 0, 2, 0, 0])
    counts = inspect_counts.Counts(np.zeros(4, int), by_image)
    found = inspect_counts.Tally(counts, counts, counts, counts)
    drawn, most = inspect_pictures.choose_examples(found, 6, seed=1)
    assert most.tolist() == [1, 3, 5]
    assert len(drawn) == 3
    assert not set(drawn) & set(most)
    again, _ = inspect_pictures.choose_examples(found, 6, seed=1)
    assert again.tolist() == drawn.tolist()
    others = [inspect_pictures.choose_examples(found, 6, seed)[0].tolist() for seed in range(5)]
    assert any(other != drawn.tolist() for other in others)
    drawn, most = inspect_pictures.choose_examples(found, 99, seed=1)
    assert sorted([*drawn, *most]) == list(range(8))
    assert len(most) == 3  # of the others none is hidden
    drawn, most = inspect_pictures.choose_examples(found._replace(hidden=None), 6, seed=1)
    assert (len(set(drawn.tolist())), len(most)) == (6, 0)


def test_the_names_below_an_example(tmp_path):
    _, data = inspect.load([f"--dataset={make(tmp_path / 'set')}"])

    def below(place):
        return [name for name, _ in inspect_pictures._labels_of(data.train, place, NAMES)]

    assert [below(place) for place in range(4)] == [
        ["+a cat", "(a dog)"], ["+a dog", "-an elk"], ["(a cat)", "(a dog)"], ["(a dog)", "-a cat"]
    ]  # fmt: skip
    data.train.observed[0] = -1  # also where the truth is positive
    assert below(0) == ["-a cat", "-a dog", "-an elk"]


def test_of_many_names_six_are_shown(tmp_path):
    make_sparse(tmp_path / "set", classes=400, num_images=8)
    _, data = inspect.load([f"--dataset={tmp_path / 'set'}"])
    names = inspect_pictures._labels_of(data.train, 0, data.classes)
    known = (data.train.truth[[0]] == 1) + (data.train.observed[[0]] == -1)
    assert [name for name, _ in names[6:]] == [f"+{known.sum() - 6} more"]


# Odd names, and what is refused


HOSTILE = (
    "two\nlines",
    "$x^2$ and $ {",
    "שלום עולם",
    '\x1b[31mred, "quoted"',
    "字" * 60,
    "long " * 80,
)


def test_hostile_names_neither_break_the_lines_nor_the_figures(tmp_path, capsys):
    rng = np.random.RandomState(0)
    tables = [np.maximum(rng.randint(0, 2, (n, 6)), np.eye(n, 6)).astype(np.int8) for n in (8, 4)]
    folder = make(tmp_path / "$\\frac set", False, HOSTILE, tables=tables)
    printed, rows, out = look(folder, capsys)
    assert "\x1b" not in printed
    assert r"two\nlines" in printed
    assert max(map(len, printed.splitlines())) < 200
    assert [row["class"] for row in rows] == list(HOSTILE)
    assert_are_pictures(out)


def test_names_are_cut_in_their_middle():
    assert inspect_counts.shortened("abc", 3) == "abc"
    assert inspect_counts.shortened("abcdefghij", 7) == "abcd…ij"
    assert inspect_counts.shortened("字" * 9, 7) == "字字…字"  # two columns each
    assert inspect_counts.shortened("a\nb", 9) == r"a\nb"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["coca"], "neither one of digits"),
        (["coco"], "missing"),
        (["digits", "--out", "FILE"], "--out: FILE is a file"),
        (["digits", "--out", "FILE/below"], "--out: FILE is a file"),
        (["digits", "--examples", "0"], "--examples"),
        (["digits", "--val_frac", "1"], "--val_frac"),
        (["digits", "--sheet"], "unknown flag --sheet"),
        ([], "DATASET|FOLDER"),
    ],
)
def test_a_mistake_costs_one_line(tmp_path, capsys, words, said):
    file = tmp_path / "file"
    file.write_text("")
    words = [word.replace("FILE", str(file)) for word in words]
    assert cli.run(inspect.main, [*words, "--data_root", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said.replace("FILE", str(file)) in error


def test_an_error_of_the_files_is_that_of_a_run(tmp_path, capsys):
    folder = make(tmp_path / "set", observed=False)
    write_array(array_path(folder, "train", "labels"), np.full((5, 3), 7))
    assert cli.run(inspect.main, [str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "holds 7 (row 0, column 0)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_set_without_a_positive_is_refused_for_that(tmp_path, capsys):
    folder = make(tmp_path / "set", truth="none")
    write_array(array_path(folder, "train", "labels_obs"), np.minimum(OBSERVED, 0))
    assert cli.run(inspect.main, [str(folder), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "no label of the 1 val images is positive" in error
    assert error.count("\n") == 1


def test_what_is_odd_is_warned_of(tmp_path, capsys):
    folder = make(tmp_path / "set")
    names = np.array(["train/0.png", "val/1.png"])
    write_array(array_path(folder, "val", "images"), names)
    words = [str(folder), "--out", str(tmp_path / "out")]
    assert cli.run(inspect.main, words) == 0
    error = capsys.readouterr().err
    assert "warning: images both in training (train or val) and in test: 1" in error


def test_by_default_it_writes_below_the_current_folder(tmp_path, capsys, monkeypatch):
    make(tmp_path / "set")
    make(tmp_path / "other" / "set")
    monkeypatch.chdir(tmp_path)
    assert cli.run(inspect.main, ["set/"]) == 0
    (out,) = Path("inspect").iterdir()
    assert re.fullmatch(r"set-[0-9a-f]{8}", out.name)
    assert capsys.readouterr().out.endswith(f"in {out}\n")
    assert_are_pictures(out)
    assert cli.run(inspect.main, [str(tmp_path / "set"), "--num_workers", "0"]) == 0
    assert list(Path("inspect").iterdir()) == [out]
    assert cli.run(inspect.main, ["other/set", "--num_workers", "0"]) == 0
    assert len(list(Path("inspect").glob("set-*"))) == 2  # neither is written over


def test_a_known_set_is_written_below_its_name():
    assert inspect._folder(None, "digits") == Path("inspect/digits")
    assert inspect._folder(None, "data/coco").name.startswith("coco-")
    assert inspect._folder("out", "data/coco") == Path("out")


def test_what_is_drawn_is_there_even_if_the_lines_find_no_reader(tmp_path):
    folder, out = make(tmp_path / "set"), tmp_path / "out"
    command = [sys.executable, "-m", "tools.inspect", str(folder), "--out", str(out)]
    root = Path(__file__).parents[1]
    run = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with run:
        run.stdout.close()
        error = run.stderr.read().decode()
    assert (run.returncode, error) == (141, "")
    assert_are_pictures(out)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("observed", [False, True])
def test_an_empty_val_stops_nothing(tmp_path, capsys, sparse, observed):
    tables = tuple(table[:2] for table in (TRUTH * 2 - 1, TEST_TRUTH * 2 - 1))
    if sparse:
        tables = tuple(map(as_sparse, tables))
    folder = make(tmp_path / "set", observed=False, truth="partial", tables=tables)
    if observed:
        from data.observe import redraw

        redraw(folder, Draw())
    words = [str(folder), "--out", str(tmp_path / "out"), "--check_images", "--num_workers", "0"]
    assert cli.run(inspect.main, words) == 0
    printed, error = capsys.readouterr()
    assert "val is empty: --val_frac leaves none" in printed
    assert numbers(printed, "images") == ["2", "0", "2"]
    assert numbers(printed, "observed labels") == (["2", "0", "2"] if observed else ["6", "0", "6"])
    assert ("1 positive and 0 negative labels of each image" in printed) == observed
    assert numbers(printed, "observed positives of an image: mean, median, max")[1] == "-"
    assert "4 pictures decoded: 0 cannot be read" in printed
    assert error == "warning: val is empty: to train, give a larger --val_frac\n"
    assert_are_pictures(tmp_path / "out")


@pytest.mark.parametrize("num_classes", [1, 10, 21, 22, 80, 81, 82, 5000])
def test_the_bars_fill_their_figure(tmp_path, monkeypatch, num_classes):
    """Each class has its bar once, and no panel is beside an empty place."""
    from matplotlib.figure import Figure

    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda f, *a, **k: (savefig(f, *a, **k), drawn.append(f))
    )
    rng = np.random.RandomState(0)
    table = (rng.rand(50, num_classes) < 0.3).astype(np.int8)
    found = inspect_counts.tally(Split(None, None, table * 2 - 1, table))
    classes = [f"thing {column}" for column in range(num_classes)]
    inspect_pictures.draw_labels(found, classes, {}, "a set", tmp_path / "labels.png")
    (figure,) = drawn
    *bars, by_image = figure.axes
    if num_classes <= 81:
        named = [label.get_text() for axes in bars for label in axes.get_yticklabels()]
        assert sorted(named) == sorted(classes)
        lengths = [int(bar.get_width()) for axes in bars for bar in axes.containers[0]]
        assert lengths == sorted(table.sum(0).tolist(), reverse=True)
    area = sum(axes.get_position().width * axes.get_position().height for axes in figure.axes)
    assert area > 0.5
    assert figure.get_figheight() < 12
    below = by_image.get_position().y1 < bars[0].get_position().y0
    assert below == (21 < num_classes <= 81)


@pytest.mark.parametrize(
    ("files", "start"),
    [
        (["train2014/COCO_train2014_000000000009.jpg", "train2014/COCO_train2014_000000581921.jpg"],
         "train2014/COCO_train2014_000000"),
        (["train/apple.png", "train/apricot.png"], "train/"),
        (["train/1.png", "train/10.png"], "train/"),
        (["train/0.png", "train/01.png"], "train/"),
        (["2008_000012.jpg", "2008_000112.jpg"], "2008_000"),
        (["a/000009.jpg"], "a/00000"),
        (["a.jpg", "b.jpg"], ""),
        (["a.jpg", "a.png"], ""),
        ([".png", "x"], ""),
    ],
)  # fmt: skip
def test_what_all_names_of_files_begin_with(files, start):
    assert inspect_counts.shared_start(files) == start


def test_the_sheet_says_once_what_all_names_begin_with(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        inspect_pictures, "_write", lambda f, x, y, text, *more: written.append(text)
    )
    _, data = inspect.load([f"--dataset={make(tmp_path / 'set')}"])
    chosen = (np.array([0, 1]), np.array([2]))
    titles = ("a set", "3 drawn")
    inspect_pictures.draw_examples(data.train, NAMES, chosen, titles, tmp_path / "sheet.png")
    assert written[:2] == ["a set", "3 drawn; names after train/"]
    assert {"0.png", "1.png", "2.png"} <= {*written}
    assert not any(text.startswith("train/") for text in written)


def test_its_help_needs_no_torch_and_its_name_hides_no_module():
    program = (
        "import inspect, sys\n"
        "from tools import inspect as ours\n"
        "assert inspect.signature\n"
        "try:\n    ours.main(['--help'])\n"
        "finally:\n    assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--check_images" in done.stdout


def test_the_record_of_the_draw_is_told(tmp_path, capsys):
    from data.observe import redraw

    folder = make(tmp_path / "set")
    redraw(folder, Draw(share=0.5, seed=3))
    printed, _, _ = look(folder, capsys)
    assert "observed labels: 50% of the known labels, seed 3\n" in printed
    about = json.loads((folder / "dataset.json").read_text())
    assert about["truth"] == "full"
