"""What a run sees in image files, good and bad, and how it is told."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from cli import UserError
from evaluation import evaluate
from hardware import find_hardware
from image_files import read_image
from tests import tiny
from tools import loading, predict
from tools.found import find_images
from tools.overlays import MOST, draw_overlay
from tools.predicted import Batches, score
from train import load_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("predict")
    return tiny.train(tiny.make_folder(root), root / "results", "--num_epochs", "1")[1]


@pytest.fixture(scope="module")
def val(run_dir):
    """The folder of the test images of the run."""
    return run_dir.parents[1] / "tiny" / "val"


def picture(seed):
    return Image.fromarray(np.random.RandomState(seed).randint(0, 255, (20, 30, 3), np.uint8))


def rotated(path, image):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    image.save(path, exif=exif)


def half(path, image):
    image.resize((200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_16_bits(path, image):
    Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257).save(path)


GOOD = {
    "rgb.png": lambda path, image: image.save(path),
    "rgb.jpg": lambda path, image: image.save(path),
    "palette.png": lambda path, image: image.convert("P").save(path, transparency=3),
    "grey.png": lambda path, image: image.convert("L").save(path),
    "deep.png": of_16_bits,
    "alpha.PNG": lambda path, image: image.convert("RGBA").save(path),
    "cmyk.jpeg": lambda path, image: image.convert("CMYK").save(path),
    "turned.jpg": rotated,
}
BAD = {
    "half.jpg": (half, "cannot be read"),
    "text.jpg": (lambda path, image: path.write_text("hello"), "no image of a known format"),
    "empty.png": (lambda path, image: path.write_bytes(b""), "is empty"),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """100 files of all kinds."""
    folder = tmp_path_factory.mktemp("mixed")
    kinds = {**GOOD, **{name: make for name, (make, _) in BAD.items()}}
    names = sorted(kinds)
    for place in range(100):
        name = names[place % len(names)]
        kinds[name](folder / f"{place:02}_{name}", picture(place))
    return folder


def called(capfd, *words):
    """The exit status, what is printed and what is said on stderr."""
    capfd.readouterr()
    status = cli.run(predict.main, [str(word) for word in words])
    return (status, *capfd.readouterr())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_hundred_mixed_files(run_dir, mixed, workers):
    found = predict.predict(run_dir, [mixed], num_workers=workers)
    kinds = [path.name[3:] for path in sorted(mixed.iterdir())]
    assert len(kinds) == 100
    assert [path.name[3:] for path in found.images] == [kind for kind in kinds if kind in GOOD]
    assert [error.path.name[3:] for error in found.bad] == [kind for kind in kinds if kind in BAD]
    for error in found.bad:
        assert BAD[error.path.name[3:]][1] in error.reason
    model, config, classes = load_run(run_dir)
    assert found.classes == classes
    with torch.inference_mode():
        for path, scores in zip(found.images, found.scores, strict=True):
            own = model(read_image(path, config.image_size)[None]).sigmoid()[0]
            assert scores == pytest.approx(own.numpy(), abs=1e-6)


def test_mini_batches_are_those_of_evaluation_and_empty_ones_are_left_out(run_dir, tmp_path, val):
    for place in range(4):
        (tmp_path / f"{place}.png").write_text("no image")
    model, config, classes = load_run(run_dir)
    sizes = []
    model.register_forward_pre_hook(lambda model, inputs: sizes.append(len(inputs[0])))
    paths = find_images([val / "00.png", tmp_path, val])
    found = score(model, paths, classes, Batches(2, config.image_size, 0), find_hardware("cpu"))
    assert sizes == [1, 3, 4, 2]  # of 4, 4, 4 and 2 files, 3 and 1 of them bad
    assert (len(found.bad), len(found.images), found.scores.shape) == (4, 10, (10, 4))
    only_bad = score(
        model, find_images([tmp_path]), classes, Batches(2, 16, 0), find_hardware("cpu")
    )
    assert (only_bad.scores.shape, len(sizes)) == ((0, 4), 4)


def test_the_scores_are_those_that_evaluate_measures(run_dir, val):
    words = [str(run_dir), "--device", "cpu"]
    run = loading.load(predict._parser().parse_args([*words, str(val)]))
    logits = evaluate(run.model, run.loader(run.data.test), run.hardware)
    found = predict.predict(run_dir, val, device="cpu")
    assert [path.name for path in found.images] == [Path(n).name for n in run.data.test.names]
    assert (found.scores == logits.double().sigmoid().float().numpy()).all()


def test_a_rotation_noted_in_the_file_is_ignored_as_in_training(run_dir, tmp_path):
    rotated(tmp_path / "a.jpg", picture(1))
    picture(1).save(tmp_path / "b.jpg")
    first, second = predict.predict(run_dir, [tmp_path]).scores
    assert (first == second).all()


def test_the_three_lines_of_the_docstring(run_dir, val, monkeypatch, capfd):
    code = re.search(r"In Python:\n\n(.*)", predict.__doc__, flags=re.DOTALL)[1]
    lines = [line.strip() for line in code.strip().splitlines()]
    assert len(lines) == 3
    monkeypatch.chdir(val)
    shutil.copy("00.png", "a.jpg")
    shutil.copytree(".", "holiday", ignore=lambda *_: ["a.jpg", "holiday"])
    try:
        exec("\n".join(lines).replace("path/to/run", str(run_dir)), {})
    finally:
        Path("a.jpg").unlink()
        shutil.rmtree("holiday")
    assert re.fullmatch(r"a\.jpg class \d 0\.\d+\n", capfd.readouterr().out)


def test_the_table_has_a_line_an_image_best_class_first(run_dir, val, capfd):
    status, out, err = called(capfd, run_dir, val, "--threshold", 0)
    head, *lines = out.splitlines()
    assert (status, err, head.split()) == (0, "", ["image", "predicted"])
    assert [line.split()[0] for line in lines] == [str(p) for p in sorted(val.iterdir())]
    for line in lines:
        scores = [float(score) for score in re.findall(r"class \d (\d\.\d{3})", line)]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)
    assert called(capfd, run_dir, val / "00.png", "--threshold", 1)[1].endswith("  none\n")


def test_the_threshold_and_the_top_k_choose(run_dir, val, capfd):
    scores = predict.predict(run_dir, [val / "00.png"]).scores[0]
    middle = float(np.sort(scores)[2])
    for words, count in (((), (scores >= 0.5).sum()), (("--threshold", middle), 2),
                         (("--top_k", 3), 3), (("--top_k", 9), 4)):  # fmt: skip
        out = called(capfd, run_dir, val / "00.png", "--format", "jsonl", *words)[1]
        assert len(json.loads(out)["predicted"]) == count


def test_csv_and_jsonl_hold_all_scores_exactly(run_dir, mixed, capfd, tmp_path):
    found = predict.predict(run_dir, [mixed])
    words = (run_dir, mixed, "--top_k", 2, "--out", tmp_path / "new" / "file", "--format")
    assert called(capfd, *words, "csv")[:2] == (0, "")
    head, *rows = csv.reader(io.StringIO((tmp_path / "new" / "file").read_text()))
    assert head == ["image", "predicted", *found.classes]
    assert [row[0] for row in rows] == list(map(str, found.images))
    assert (np.float32([row[2:] for row in rows]) == found.scores).all()
    called(capfd, *words, "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "new" / "file").read_text().splitlines()]
    assert (np.float32([[*line["scores"].values()] for line in lines]) == found.scores).all()
    for line, row in zip(lines, rows, strict=True):
        best = sorted(line["scores"], key=line["scores"].get, reverse=True)[:2]
        assert [*line["predicted"]] == row[1].split("; ") == best


def test_bad_images_are_named_and_passed_over(run_dir, mixed, capfd):
    status, out, err = called(capfd, run_dir, mixed)
    *named, last = err.splitlines()
    bad = [path for path in sorted(mixed.iterdir()) if path.name[3:] in BAD]
    assert status == 0
    assert len(out.splitlines()) == 1 + 100 - len(bad)
    assert [line.split(": ")[1] for line in named] == list(map(str, bad))
    assert last == f"{len(bad)} of 100 images cannot be read: passed over"


def test_where_none_can_be_read_the_status_is_2(run_dir, tmp_path, capfd):
    status, out, err = called(capfd, run_dir, tmp_path / "a.jpg", tmp_path / "b.jpg")
    *named, last = err.splitlines()
    assert (status, out, len(named)) == (2, "", 2)
    assert "is missing" in named[0]
    assert last.startswith("error: none of 2 images can be read")


def test_names_are_printed_safely(run_dir, val, tmp_path, capfd):
    shutil.copy(val / "00.png", tmp_path / "a\n\x1b[31m.png")
    for form in ("table", "csv", "jsonl"):
        out = called(capfd, run_dir, tmp_path, "--format", form)[1]
        assert "\x1b" not in out
        assert r"a\n" in out
    called(capfd, run_dir, tmp_path, "--cam", tmp_path / "maps")
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["a\n\x1b[31m.png.png"]


# Which images


def test_folders_are_searched_by_name_and_patterns_match(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.PNG", "b/1.jpg", "b/c/3.webp", "b/notes.txt", "a.png", "[x].png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    below = ["b/1.jpg", "b/2.PNG", "b/c/3.webp"]
    for words, expected in (
        (["b"], below),
        (["a.png", "b", "b/1.jpg"], ["a.png", *below]),
        (["b/notes.txt", "gone.png"], ["b/notes.txt", "gone.png"]),
        (["*/[12].*"], ["b/1.jpg", "b/2.PNG"]),
        (["**/*.jpg"], ["b/1.jpg"]),
        (["?"], below),
        (["[x].png"], ["[x].png"]),
    ):
        assert list(map(str, find_images(words))) == expected
    for nothing in ("*.gif", "", "b\0"):
        with pytest.raises(UserError, match="no images found"):
            find_images([nothing])


# Class maps


def test_a_picture_an_image_under_names_of_their_own(run_dir, val, tmp_path, capfd):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        shutil.copy(val / "00.png", tmp_path / folder / "same.png")
    words = (run_dir, tmp_path / "x", tmp_path / "y", val / "01.png", "--cam", tmp_path / "maps")
    with_maps = called(capfd, *words, "--top_k", 2)
    assert with_maps == called(capfd, *words[:-2], "--top_k", 2)
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    assert names == {"same.png.png", "same.png.2.png", "01.png.png"}
    with Image.open(tmp_path / "maps" / "same.png.png") as drawn:
        assert drawn.width > 2.5 * 250  # the image and two maps


def test_the_map_lies_over_the_image_in_its_true_shape(tmp_path):
    Image.new("RGB", (100, 200), "white").save(tmp_path / "tall.png")
    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, 0, 3] = 1  # at the top right
    draw_overlay(tmp_path / "tall.png", ["cat 0.9"], maps, tmp_path / "out.png")
    pixels = read_pixels(tmp_path / "out.png")[:-60]  # without the key of the colours
    half = pixels[:, pixels.shape[1] // 2 :]
    rows, columns = np.nonzero(np.ptp(half, axis=2) > 40)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    assert (right - left) / (bottom - top) == pytest.approx(0.5, abs=0.02)
    yellow = half[top + 5, right - 5] - half[top + 5, left + 5]
    assert (yellow[:2] > 50).all()  # viridis ends in yellow, and begins in purple


def read_pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_of_many_classes_the_best_are_drawn(tmp_path):
    picture(0).save(tmp_path / "a.png")
    titles = [f"class {k}" for k in range(MOST + 5)]
    draw_overlay(tmp_path / "a.png", titles, np.ones((MOST + 5, 2, 2)), tmp_path / "many.png")
    draw_overlay(tmp_path / "a.png", [], np.ones((0, 2, 2)), tmp_path / "none.png")
    many, none = (read_pixels(tmp_path / name) for name in ("many.png", "none.png"))
    assert many.shape[1] == pytest.approx(4 * none.shape[1], abs=4)
    assert none.shape[0] < many.shape[0] < 3 * none.shape[0]  # three rows, one key


# Mistakes


WRONG = [
    ("nowhere {val}", "nowhere holds no run"),
    ("{run} {empty}", "no images found in"),
    ("{run} {val}/*.gif", "no images found in"),
    ("{run}", "are required: IMAGES"),
    ("{run} {val} --threshold 1.5", "--threshold: 1.5"),
    ("{run} {val} --threshold nan", "--threshold: nan"),
    ("{run} {val} --top_k 0", "--top_k: 0"),
    ("{run} {val} --top_k 2 --threshold 0.4", "not allowed with"),
    ("{run} {val} --format xml", "--format: 'xml'"),
    ("{run} {val} --out {val}", "cannot write"),
    ("{run} {val} --cam {val}/00.png", "cannot write"),
    ("{run} {val} --data_root x", "unknown flag --data_root"),
]


@pytest.mark.parametrize("words", ["--out {val}", "--out {val}/00.png/x", "--cam {val}/00.png"])
def test_where_nothing_can_be_written_nothing_is_computed(run_dir, val, monkeypatch, capfd, words):
    monkeypatch.setattr(loading, "load_model", None)
    status, out, err = called(capfd, run_dir, val, *words.format(val=val).split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: cannot write ")


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_a_mistake_is_one_line(run_dir, val, tmp_path, capfd, words, says):
    filled = [w.format(run=run_dir, val=val, empty=tmp_path) for w in words.split()]
    status, out, err = called(capfd, *filled)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert says in err


def test_the_tools_import_nothing_heavy():
    program = (
        "import sys; from tools import predict, evaluate; "
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=os.environ,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "[]\n"
