"""Features of all images, extracted once and shared by every run that would have the same."""

import multiprocessing
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import data.cache
from cli import UserError
from data.cache import keep_decoded
from features import features_of
from hardware import Hardware
from image_files import ImageFiles
from loaders import Array
from models import build_model

CPU = Hardware(torch.device("cpu"))
HALF = Hardware(torch.device("cpu"), torch.bfloat16)
CUT = [place for place in range(80) if place % 4], [place for place in range(80) if not place % 4]
OTHER_CUT = list(range(79, 39, -1)), list(range(40))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model("resnet8", 4)


@pytest.fixture(scope="module")
def rows():
    """80 images to cut train and val from, 10 of test."""
    rng = np.random.RandomState(0)
    return torch.from_numpy(rng.randint(0, 256, (90, 3, 8, 8)).astype(np.uint8))


@pytest.fixture
def files(rows, tmp_path):
    (tmp_path / "images").mkdir()
    names = np.array([f"{place:02}.png" for place in range(90)])
    for name, row in zip(names, rows, strict=True):
        Image.fromarray(row.permute(1, 2, 0).numpy()).save(tmp_path / "images" / name)
    return ImageFiles(tmp_path / "images", names, 8)


@pytest.fixture
def arrays(rows):
    """The same in memory, in another order."""
    return Array(rows[np.argsort(ORDER)]).take(ORDER)


ORDER = np.random.RandomState(1).permutation(90)


def splits_of(images, cut=CUT):
    train, val = map(np.array, cut)
    return {
        "train": images.take(train),
        "val": images.take(val),
        "test": images.take(np.arange(80, 90)),
    }


def taken(features):
    """The features of each split, as a loader gives them."""
    return {name: part.__getitems__(range(len(part)))[0] for name, part in features.items()}


def extract(images, model, folder, cut=CUT, hardware=CPU):
    return taken(features_of(splits_of(images, cut), model, hardware, folder, 0))


def assert_right(features, rows, model, cut=CUT, tolerance=1e-5):
    with torch.inference_mode():
        expected = model.eval().features(rows)
    for name, places in zip(("train", "val", "test"), (*cut, range(80, 90)), strict=True):
        assert features[name].dtype == torch.float32
        torch.testing.assert_close(
            features[name], expected[list(places)], rtol=0, atol=tolerance, msg=name
        )


def refuse(*args):
    raise AssertionError("the features are there already")


def files_in(folder):
    return sorted(path.name for path in folder.glob("*.npy"))


@pytest.mark.parametrize("kind", ["files", "arrays"])
def test_features_are_those_of_the_model_and_extracted_once(kind, rows, model, tmp_path, request):
    images = request.getfixturevalue(kind)
    first = extract(images, model, tmp_path / "cache")
    assert_right(first, rows, model)
    assert first["train"].std() > 0.01
    assert len(files_in(tmp_path / "cache")) == 2
    model.features = refuse
    for cut in (CUT, OTHER_CUT):
        again = extract(images, model, tmp_path / "cache", cut)
        del model.features
        assert_right(again, rows, model, cut)
        model.features = refuse
    assert len(files_in(tmp_path / "cache")) == 2


def test_a_head_can_be_trained_on_them(files, model, tmp_path):
    features = extract(files, model, tmp_path / "cache")["train"]
    model.head(features).sum().backward()
    assert model.head.weight.grad.abs().sum() > 0


def test_batch_norms_are_evaluated_and_keep_their_statistics(files, rows, model, tmp_path):
    model.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert_right(extract(files, model, tmp_path / "cache"), rows, model)
    assert all(torch.equal(before[name], buffer) for name, buffer in model.named_buffers())


def test_a_part_of_an_array_has_the_features_of_its_rows_alone(arrays, model, tmp_path):
    """With other images left out, as by --ss_frac_train, the rest is the same."""
    whole = extract(arrays, model, tmp_path / "cache")
    part = extract(arrays, model, tmp_path / "cache", (CUT[0][:7], CUT[1][3:]))
    torch.testing.assert_close(part["train"], whole["train"][:7])
    torch.testing.assert_close(part["val"], whole["val"][3:])
    torch.testing.assert_close(part["test"], whole["test"])
    assert len(files_in(tmp_path / "cache")) == 3


def test_reduced_precision_is_extracted_in_it_and_kept_as_float32(files, rows, model, tmp_path):
    extract(files, model, tmp_path / "cache")
    half = extract(files, model, tmp_path / "cache", hardware=HALF)
    assert_right(half, rows, model, tolerance=0.05)
    with pytest.raises(AssertionError):
        assert_right(half, rows, model, tolerance=1e-6)
    assert len(files_in(tmp_path / "cache")) == 4


def weights(files, model):
    with torch.no_grad():
        model.backbone[1].conv1.weight[0, 0, 0, 0] += 1


def statistics(files, model):
    model.backbone[0][1].running_mean[3] += 1


def normalization(files, model):
    model.mean[0] += 1


def structure(files, model):
    model.backbone[0][2] = nn.GELU()


def size(files, model):
    files.size = 12


def a_time(files, model):
    for name in ("00.png", "85.png"):
        path = files.folder / name
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [weights, statistics, normalization, structure, size, a_time])
def test_what_changes_features_makes_another_file(files, model, tmp_path, change):
    extract(files, model, tmp_path / "cache")
    change(files, model)
    changed = extract(files, model, tmp_path / "cache")
    assert len(files_in(tmp_path / "cache")) == 4
    pixels = files.__getitems__(range(90))[0]
    assert_right(changed, pixels, model)


def test_pixels_that_change_make_another_file(rows, model, tmp_path):
    rows = rows.clone()
    extract(Array(rows), model, tmp_path / "cache")
    rows[20] = 0
    assert_right(extract(Array(rows), model, tmp_path / "cache"), rows, model)
    assert len(files_in(tmp_path / "cache")) == 3


def test_the_head_changes_no_features(files, model, tmp_path):
    extract(files, model, tmp_path / "cache")
    torch.manual_seed(0)
    other = build_model("resnet8", 7, frozen=True)
    nn.init.zeros_(other.head.weight)
    other.features = refuse
    extract(files, other, tmp_path / "cache")


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_decoded_images_have_the_features_of_their_files(files, model, tmp_path, mode):
    """The cache of decoded images, which --cache sets, changes nothing of that of features."""
    expected = extract(files, model, tmp_path / "cache")
    decoded = keep_decoded(files, mode, tmp_path / "cache", 0)
    model.features = refuse
    found = extract(decoded, model, tmp_path / "cache")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_file_that_is_cut_off_is_made_again(files, rows, model, tmp_path):
    extract(files, model, tmp_path / "cache")
    for path in (tmp_path / "cache").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-100])
    assert_right(extract(files, model, tmp_path / "cache"), rows, model)


def full(tmp_path, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(data.cache.shutil, "disk_usage", lambda path: Usage)
    return "has no room for 0.0 GB"


def fills_up(tmp_path, monkeypatch):
    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data.cache.os, "fsync", no_space)
    return "No space left on device"


def read_only(tmp_path, monkeypatch):
    def denied(path, wait):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(data.cache, "locked", denied)
    return "Permission denied"


def a_file_in_the_way(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("hello")
    return "Not a directory"


@pytest.mark.parametrize("trouble", [full, fills_up, read_only, a_file_in_the_way])
def test_where_nothing_can_be_kept_a_line_says_so(
    files, rows, model, tmp_path, monkeypatch, capsys, trouble
):
    words = trouble(tmp_path, monkeypatch)
    features = extract(files, model, tmp_path / "cache")
    assert_right(features, rows, model)
    said = capsys.readouterr().err
    assert said.startswith("warning: the features are not kept for other runs: ")
    assert words in said
    assert said.count("\n") == 1
    model.head(features["train"]).sum().backward()
    assert not list(tmp_path.glob("cache/*.npy"))
    assert not list(tmp_path.glob("cache/.*"))


def test_what_is_kept_is_the_same_to_the_bit_as_what_is_not(
    files, model, tmp_path, monkeypatch, capsys
):
    kept = extract(files, model, tmp_path / "cache")
    read_only(tmp_path, monkeypatch)
    again = extract(files, model, tmp_path / "elsewhere")
    assert capsys.readouterr().err
    assert all(torch.equal(again[name], kept[name]) for name in kept)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_image_is_an_error_that_names_it_and_nothing_is_kept(
    files, model, tmp_path, num_workers
):
    (files.folder / "70.png").write_text("no picture")
    with pytest.raises(UserError, match=r"70.png is no image of a known format"):
        features_of(splits_of(files), model, CPU, tmp_path / "cache", num_workers)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_ctrl_c_leaves_nothing(files, model, tmp_path):
    batches = []

    def interrupted(x):
        batches.append(len(x))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return type(model).features(model, x)

    model.features = interrupted
    with pytest.raises(KeyboardInterrupt):
        extract(files, model, tmp_path / "cache")
    assert len(batches) == 2
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    assert torch.is_inference_mode_enabled() is False


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_of_runs_that_start_together_one_extracts(files, rows, model, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, log = context.Barrier(2), tmp_path / "log"

    def logged(x):
        with log.open("a") as file:
            file.write(f"{len(x)}\n")
        return type(model).features(model, x)

    def want():
        model.features = logged
        barrier.wait(30)
        features = extract(files, model, tmp_path / "cache")
        del model.features
        assert_right(features, rows, model)

    processes = [context.Process(target=want) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(log.read_text().split()) == ["10", "16", "32", "32"]
