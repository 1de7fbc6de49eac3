"""The pointing game, what tools.explain writes and reads, and the figures of it."""

import functools
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import cli
from cli import UserError
from config import read_config
from data import digits
from models import boost_lu
from record import RunRecord
from tests import tiny
from tools import explain, explained, figure_maps, pointing
from tools.explained import Maps, Pointing, read_maps, read_pointing, write_maps
from tools.finished import Run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def few_digits():
    """Fewer test canvases than there are, composed once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(digits, "NUM_TEST", 200)
        patched.setattr(digits, "compose", functools.cache(digits.compose))
        yield


@pytest.fixture(scope="module")
def made(few_digits, tmp_path_factory):
    """Explained runs of one epoch on a part of digits: AN of two seeds, and LL-R."""
    root = tmp_path_factory.mktemp("runs")
    few = ("--ss_frac_train", "0.05", "--ss_frac_val", "0.2", "--num_epochs", "1",
           "--image_size", "24", "--bsize", "32")  # fmt: skip
    for scheme, seed in (("AN", "1"), ("AN", "2"), ("LL-R", "1")):
        more = ("--mod_scheme", scheme, "--seed", seed, "--exp_name", f"{scheme}{seed}")
        delta = ("--delta_rel", "0") if scheme == "AN" else ()
        tiny.train("digits", root, *few, *more, *delta)
    folders = sorted(str(path) for path in root.iterdir() if path.is_dir())
    explain.main([*folders, "--split", "val", "--examples", "3"])
    return root


@pytest.fixture
def run_dir(made, tmp_path):
    """A copy of one of them, to damage."""
    return Path(shutil.copytree(made / "AN1", tmp_path / "AN1"))


def run_in(folder):
    record = RunRecord(folder)
    config = read_config(folder / "config.json")
    about = record.read_config()["environment"]
    from dataclasses import replace

    config = replace(config, save_path=str(folder.parent), exp_name=folder.name)
    return Run(config, record.read_summary(), about["data"], about["drawn"])


def runs_in(root):
    return [run_in(folder) for folder in sorted(root.iterdir()) if folder.is_dir()]


def test_hits_and_misses_of_a_case_made_by_hand():
    """Two images, three classes, maps of 2 x 4 cells: their centres lie at 1/8, 3/8, ... by 1/4."""
    maps = np.zeros((2, 3, 2, 4))
    maps[0, 0, 0, 1] = 1  # centre 3/8, 1/4: in the box
    maps[0, 1, 1, 3] = 1  # centre 7/8, 3/4: in the second of two boxes
    maps[0, 2, 0, 0] = 1  # a class that is not there
    maps[1, 0, 1, 0] = 1  # centre 1/8, 3/4: beside the box
    maps[1, 1, 0, 2] = 1  # positive, but without a box
    labels = np.array([[1, 1, -1], [1, 1, 0]], np.int8)
    boxes = [
        {0: np.array([[0.3, 0, 0.5, 0.5]]), 1: np.array([[0, 0, 0.1, 0.1], [0.8, 0.7, 1, 1]])},
        {0: np.array([[0.3, 0.5, 1, 1]]), 2: np.array([[0, 0, 1, 1]])},
    ]
    places = pointing.centre(pointing.highest_cell(maps), (2, 4))
    tally = pointing.play(places, labels, boxes)
    assert tally.hits.tolist() == [1, 1, 0]
    assert tally.tries.tolist() == [2, 1, 0]
    assert tally.total == pytest.approx(100 * 2 / 3)
    assert tally.mean == pytest.approx((50 + 100) / 2)  # the third class has no try


def test_the_axes_are_not_exchanged():
    maps = np.zeros((2, 5))
    maps[1, 3] = 1
    place = pointing.centre(pointing.highest_cell(maps), (2, 5))
    np.testing.assert_allclose(place, [3.5 / 5, 1.5 / 2])


def test_of_equal_cells_the_first_counts_in_numpy_and_in_torch():
    maps = np.array([[[0, 2, 2], [2, 1, 0]], [[3, 3, 3], [3, 3, 3]]])
    assert pointing.highest_cell(maps).tolist() == [1, 0]
    assert torch.from_numpy(maps).flatten(1).argmax(dim=1).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("place", "hit"),
    [((1 / 3, 0.5), True), ((2 / 3, 1.0), True), ((0.3333, 0.5), False), ((0.5, 0.4999), False)],
)
def test_the_border_of_a_box_belongs_to_it(place, hit):
    assert pointing.is_hit(np.array(place), np.array([[8 / 24, 0.5, 16 / 24, 1]])) is hit


def test_without_a_box_nothing_is_hit():
    assert not pointing.is_hit(np.array([0.5, 0.5]), np.empty((0, 4)))


@given(st.lists(st.floats(-9, 9, width=32), min_size=6, max_size=6), st.floats(1, 100, width=16))
def test_boostlu_does_not_move_the_highest_place(values, factor):
    maps = torch.tensor(values).reshape(1, 1, 2, 3)
    boosted = boost_lu(maps, factor).numpy()[0, 0]
    before = maps.numpy()[0, 0]
    assert boosted[np.unravel_index(pointing.highest_cell(before), (2, 3))] == boosted.max()


def test_without_a_try_there_is_no_percentage():
    empty = pointing.Tally(np.zeros(2, int), np.zeros(2, int))
    assert np.isnan(empty.total)
    assert np.isnan(empty.mean)


def test_the_examples_depend_on_the_data_and_the_seed_alone():
    tried = np.array([[True], [False], [True], [True], [False], [True]])
    chosen = explain.choose_examples(tried, 2, 0)
    assert chosen.tolist() == explain.choose_examples(tried, 2, 0).tolist()
    assert explain.choose_examples(tried, 9, 3).tolist() == [0, 2, 3, 5]
    drawn = {tuple(explain.choose_examples(tried, 2, seed).tolist()) for seed in range(30)}
    assert len(drawn) == 6  # every pair comes up


def test_the_record_is_what_the_maps_of_the_best_model_say(made):
    """Again, image by image, without the loops of the tool."""
    from datasets import load_data
    from train import load_run

    model, config, _ = load_run(made / "LL-R1")
    split = load_data(config).val
    hits, tries = np.zeros(10, int), np.zeros(10, int)
    composed = digits.compose("train")
    for name in split.names.tolist():
        number = int(name.split()[-1])
        with torch.inference_mode():
            maps = model.class_maps(torch.from_numpy(composed.images[[number]]))[0]
        for column in np.flatnonzero(composed.labels[number]):
            row, place = divmod(int(maps[column].argmax()), maps.shape[-1])
            x, y = (place + 0.5) * 24 / maps.shape[-1], (row + 0.5) * 24 / maps.shape[-2]
            x0, y0, x1, y1 = composed.boxes[number, column]
            tries[column] += 1
            hits[column] += x0 <= x <= x1 and y0 <= y <= y1
    found = read_pointing(made / "LL-R1")
    assert (found.split, found.epoch, found.num_images) == ("val", 1, len(split))
    assert found.classes == {str(k): (hits[k], tries[k]) for k in range(10)}
    assert 0 < found.tally.total < 100


def test_the_maps_that_are_kept_are_those_of_the_model(made):
    from datasets import load_data
    from train import load_run

    model, config, classes = load_run(made / "AN1")
    split = load_data(config).val
    kept = read_maps(made / "AN1")
    assert len(kept.names) == 3
    places = [split.names.tolist().index(name) for name in kept.names]
    images, _ = split.images.__getitems__(places)
    with torch.inference_mode():
        maps = model.class_maps(images).numpy()
    held = np.argwhere(split.truth[places] == 1)
    assert held.tolist() == list(map(list, zip(kept.image, kept.column, strict=True)))
    assert kept.classes == tuple(classes[column] for column in kept.column)
    np.testing.assert_allclose(kept.maps, maps[kept.image, kept.column], rtol=1e-3, atol=1e-3)
    assert kept.highest.tolist() == pointing.highest_cell(maps[kept.image, kept.column]).tolist()


def test_runs_on_the_same_data_keep_the_same_images(made):
    first, second, other = (read_maps(made / name) for name in ("AN1", "AN2", "LL-R1"))
    assert first.names == second.names == other.names
    assert first.rule == second.rule == other.rule
    assert not np.array_equal(first.maps, second.maps)  # after one epoch, LL-R is still AN


def test_the_records_are_the_same_bytes_every_time(run_dir, capsys):
    before = [(run_dir / name).read_bytes() for name in ("pointing.json", "maps.npz")]
    explain.main([str(run_dir), "--split", "val", "--examples", "3", "--per_class"])
    assert [(run_dir / name).read_bytes() for name in ("pointing.json", "maps.npz")] == before
    *classes, last, _ = capsys.readouterr().out.splitlines()
    found = read_pointing(run_dir)
    assert [line.split()[0] for line in classes] == list(found.classes)
    assert all(line.split()[2:4] == ["%", "of"] for line in classes)
    assert last == (
        f"Val pointing game : {found.tally.total:.3f} % of {sum(found.tally.tries):,} tries, "
        f"mean over classes {found.tally.mean:.3f} %, on 120 images"
    )


def test_pointing_comes_back_as_it_was_written(run_dir):
    ours = Pointing("test", 1, 9, {"a\nb": (1, 3), "<c>": (0, 0)})
    explained.write_pointing(run_dir, ours)
    assert read_pointing(run_dir) == ours
    content = json.loads((run_dir / "pointing.json").read_text())
    assert content["total"] == content["mean"] == pytest.approx(100 / 3)


def test_maps_come_back_as_they_were_written(run_dir):
    maps = np.array([[[1e9, -1e9, 0.25]], [[0, 1, 2]]])  # h 1, w 3
    ours = Maps("test", 1, "by hand", ("a.jpg", "ü.jpg"), np.array([0, 1]), np.array([2, 0]),
                ("cat", "dog"), maps, np.array([0, 2]))  # fmt: skip
    write_maps(run_dir, ours)
    again = read_maps(run_dir)
    assert again.maps.tolist() == [[[65504, -65504, 0.25]], [[0, 1, 2]]]
    for name in ("image", "column", "highest"):
        assert getattr(again, name).tolist() == getattr(ours, name).tolist()
    plain = ("split", "epoch", "rule", "names", "classes")
    assert [getattr(again, name) for name in plain] == [getattr(ours, name) for name in plain]


def test_a_run_that_was_not_explained_has_no_records(run_dir):
    for name in ("pointing.json", "maps.npz"):
        (run_dir / name).unlink()
    assert read_pointing(run_dir) is None
    assert read_maps(run_dir) is None


@pytest.mark.parametrize("read", [read_pointing, read_maps])
def test_records_of_other_weights_are_noticed(run_dir, read):
    path = run_dir / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "best_epoch": 2}))
    with pytest.raises(UserError, match=r"of epoch 1, the best is 2 now: run python -m tools\.exp"):
        read(run_dir)


CLASSES = {"a": [1, 2]}
RIGHT = {"split": "val", "epoch": 1, "num_images": 5, "total": 50, "mean": 50, "classes": CLASSES}


def test_what_the_next_test_damages_is_right(run_dir):
    (run_dir / "pointing.json").write_text(json.dumps(RIGHT))
    assert read_pointing(run_dir) == Pointing("val", 1, 5, {"a": (1, 2)})


@pytest.mark.parametrize(
    "change",
    [
        {"split": "all"}, {"split": ["val"]}, {"epoch": "1"}, {"epoch": 1.0}, {"epoch": True},
        {"num_images": 1}, {"num_images": -1}, {"num_images": 2**70}, {"total": 51},
        {"total": None}, {"total": float("nan")}, {"mean": 10**400}, {"classes": None},
        {"classes": {}}, {"classes": {"a": [3, 2]}}, {"classes": {"a": [-1, 2]}},
        {"classes": {"a": [1]}}, {"classes": {"a": "12"}}, {"classes": {"a": [0.5, 1]}},
        {"classes": {"a": [0, 0]}}, {"classes": {"a": [True, 2]}}, {"classes": [["a", 1, 2]]},
    ],
)  # fmt: skip
def test_a_damaged_pointing_is_one_line(run_dir, change):
    (run_dir / "pointing.json").write_text(json.dumps({**RIGHT, **change}))
    with pytest.raises(UserError, match=r"is not what tools\.explain writes: run") as error:
        read_pointing(run_dir)
    assert "\n" not in str(error.value)


def changed(path, **changes):
    """Write the arrays of a .npz again with some others."""
    with np.load(path) as file:
        arrays = {**file, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    "change",
    [
        {"maps": np.zeros((2, 6, 6), np.float16)},
        {"maps": np.zeros(7, np.float16)},
        {"highest": np.array([36])},
        {"image": np.array([3])},
        {"column": np.array([-1])},
        {"split": np.array("all")},
        {"epoch": np.array("1")},
        {"names": np.array([b"a"])},
        {"classes": np.array([1])},
        {"rule": None},
    ],
)
def test_damaged_maps_are_one_line(run_dir, change):
    path = run_dir / "maps.npz"
    one = {"maps": np.zeros((1, 6, 6), np.float16), "classes": np.array(["a"])}
    changed(path, **one, **{name: np.array([0]) for name in ("image", "column", "highest")})
    assert read_maps(run_dir).classes == ("a",)
    changed(path, **change)
    with pytest.raises(UserError, match=r"is not what tools\.explain writes: run") as error:
        read_maps(run_dir)
    assert "\n" not in str(error.value)


def test_maps_that_are_no_numbers_are_refused(run_dir):
    path = run_dir / "maps.npz"
    maps = read_maps(run_dir).maps.copy()
    maps[0, 0, 0] = np.nan
    changed(path, maps=maps)
    with pytest.raises(UserError, match="is not what"):
        read_maps(run_dir)


def test_maps_that_could_run_code_or_fill_the_memory_are_refused(run_dir, monkeypatch):
    path = run_dir / "maps.npz"
    whole = path.read_bytes()
    changed(path, names=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="is not what"):
        read_maps(run_dir)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is not what"):
        read_maps(run_dir)
    monkeypatch.setattr(explained, "MOST_BYTES", 2**20)
    packed = io.BytesIO(whole)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more.npy", bytes(2**20))
    path.write_bytes(packed.getvalue())
    with pytest.raises(UserError, match="is not what"):
        read_maps(run_dir)


def test_reading_pointing_does_not_import_torch(made):
    program = (
        "import sys, pathlib\nfrom tools.explained import read_pointing\n"
        "assert read_pointing(pathlib.Path(sys.argv[1]))\nassert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, str(made / "AN1")]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0


def test_help_does_not_import_torch():
    program = (
        "import sys\nfrom tools import explain\n"
        "try:\n    explain.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True).returncode == 0


def test_a_run_without_a_result_is_one_line(run_dir, capsys):
    (run_dir / "summary.json").unlink()
    assert cli.run(explain.main, [str(run_dir)]) == 2
    said = capsys.readouterr().err
    assert "no finished run" in said
    assert said.count("\n") == 1


def test_a_run_on_other_data_is_one_line(run_dir, capsys):
    path = run_dir / "config.json"
    config = json.loads(path.read_text())
    config["environment"]["data"]["test images"] = "0" * 16
    path.write_text(json.dumps(config))
    before = (run_dir / "pointing.json").read_bytes()
    assert cli.run(explain.main, [str(run_dir), "--overwrite"]) == 2
    said = capsys.readouterr().err
    assert "test images are not those that" in said
    assert said.count("\n") == 1
    assert (run_dir / "pointing.json").read_bytes() == before
    explain.main([str(run_dir), "--split", "val"])  # of which nothing has changed


def test_a_border_that_is_no_part_of_a_box_is_a_miss():
    """Of two places, one within the box and one on its border."""
    boxes = [{0: np.array([[0.25, 0.25, 0.75, 0.75]])}] * 2
    places = np.array([[[0.5, 0.5]], [[0.75, 0.5]]])
    for border, hits in ((True, 2), (False, 1)):
        tally = pointing.play(places, np.array([[1], [1]]), boxes, border)
        assert (tally.hits.tolist(), tally.tries.tolist()) == ([hits], [2])


def test_folders_without_weights_and_of_no_run_are_told_apart(run_dir, tmp_path, capsys):
    (run_dir / "bestmodel.pt").unlink()
    for folder, says in (
        (run_dir, "holds a record without weights (bestmodel.pt): train it first"),
        (run_dir.parent, "is not the folder of a run (no config.json): give one, or several"),
        (tmp_path / "nowhere", "there is no folder"),
    ):
        assert cli.run(explain.main, [str(folder)]) == 2
        said = capsys.readouterr().err
        assert says in said
        assert said.count("\n") == 1


def test_one_bad_run_holds_up_no_other(run_dir, tmp_path, capsys):
    before = (run_dir / "pointing.json").stat().st_mtime_ns
    runs = [str(tmp_path / "nowhere"), str(run_dir)]
    assert cli.run(explain.main, [*runs, "--split", "val", "--examples", "2"]) == 2
    assert (run_dir / "pointing.json").stat().st_mtime_ns > before
    assert "1 of 2 runs are not explained" in capsys.readouterr().err


def test_a_data_set_without_boxes_is_one_line(tmp_path, capsys):
    folder = tiny.make_folder(tmp_path)
    _, run_dir = tiny.train(folder, tmp_path / "results", "--num_epochs", "1")
    assert cli.run(explain.main, [str(run_dir)]) == 2
    said = capsys.readouterr().err
    assert "known of pascal, coco, digits alone" in said
    assert said.count("\n") == 1
    assert not (run_dir / "pointing.json").exists()


def test_a_run_on_coco_from_its_files_to_the_figure(tmp_path):
    """Maps that are wider than high, boxes from the json, pictures of another shape than square."""
    from PIL import Image

    from tests.test_boxes import write_coco

    folder = tmp_path / "coco"
    rng = np.random.RandomState(0)
    annotations = [
        {"image_id": n, "category_id": 5 if n % 2 else 3, "bbox": [2 * (n % 5), 2, 20, 10]}
        for n in range(20)
    ]
    for part in ("train", "val"):
        images = [{"id": n, "file_name": f"{n}.jpg", "width": 40, "height": 20} for n in range(20)]
        write_coco(folder, part, images=images, annotations=annotations)
        (folder / f"{part}2014").mkdir()
        for n in range(20):
            pixels = rng.randint(0, 256, (20, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{part}2014" / f"{n}.jpg")
    from data import prepare

    prepare.main(["coco", "--data_root", str(tmp_path), "--no_download"])
    more = ("--data_root", str(tmp_path), "--num_epochs", "1")
    _, run_dir = tiny.train("coco", tmp_path / "results", *more)
    explain.main([str(run_dir)])
    found = read_pointing(run_dir)
    assert found.tally.tries.tolist() == [10, 10]
    out = tmp_path / "maps.png"
    written = figure_maps.draw_maps([run_in(run_dir)], out, str(tmp_path))
    assert [path.suffix for path in written] == [".png", ".pdf"]
    moved = tmp_path / "moved"
    moved.mkdir()
    folder.rename(moved / "coco")
    figure_maps.draw_maps([run_in(run_dir)], out, str(moved))
    with pytest.raises(UserError, match="coco"):
        figure_maps.draw_maps([run_in(run_dir)], out)


def test_the_figures_are_drawn_the_same_every_time(made, tmp_path):
    runs = runs_in(made)
    for draw in (figure_maps.draw_maps, figure_maps.draw_pointing):
        first = [path.read_bytes() for path in draw(runs, tmp_path / "figure.png")]
        again = [path.read_bytes() for path in draw(runs, tmp_path / "figure.png")]
        assert first == again
        assert first[0].startswith(b"\x89PNG")
        assert first[1].startswith(b"%PDF")


def test_the_figures_need_no_weights(made, tmp_path):
    copied = Path(shutil.copytree(made, tmp_path / "runs"))
    for path in copied.rglob("*.pt"):
        path.unlink()
    figure_maps.draw_maps(runs_in(copied), tmp_path / "maps.png")
    figure_maps.draw_pointing(runs_in(copied), tmp_path / "pointing.png")


def test_the_figure_of_maps_takes_the_lowest_seed_that_has_some(made, tmp_path):
    from tools.examples import methods_with_maps

    copied = Path(shutil.copytree(made, tmp_path / "runs"))
    chosen = methods_with_maps(runs_in(copied))
    assert [(m.name, m.run.config.seed) for m in chosen] == [("AN", 1), ("LL-R", 1)]
    (copied / "AN1" / "maps.npz").unlink()
    (copied / "LL-R1" / "maps.npz").unlink()
    chosen = methods_with_maps(runs_in(copied))
    assert [(m.name, m.run.config.seed) for m in chosen] == [("AN", 2)]


def test_figures_without_records_are_one_line(run_dir, tmp_path):
    for name in ("pointing.json", "maps.npz"):
        (run_dir / name).unlink()
    for draw, name in ((figure_maps.draw_maps, "maps"), (figure_maps.draw_pointing, "pointing")):
        with pytest.raises(UserError, match=rf"no {name}\.\w+: make \w+ with python -m") as error:
            draw([run_in(run_dir)], tmp_path / "figure.png")
        assert "\n" not in str(error.value)


def test_maps_of_different_images_are_not_put_side_by_side(made, tmp_path):
    copied = Path(shutil.copytree(made, tmp_path / "runs"))
    explain.main([str(copied / "LL-R1"), "--split", "val", "--examples", "3", "--seed", "1"])
    with pytest.raises(UserError, match="maps of different images"):
        figure_maps.draw_maps(runs_in(copied), tmp_path / "figure.png")


def test_games_on_different_splits_are_not_put_side_by_side(made, tmp_path):
    copied = Path(shutil.copytree(made, tmp_path / "runs"))
    test = [str(copied / "LL-R1"), "--split", "test", "--examples", "3"]
    with pytest.raises(UserError, match="is of the val split: give --overwrite to replace it"):
        explain.main(test)
    explain.main([*test, "--overwrite"])
    with pytest.raises(UserError, match="different data sets or splits"):
        figure_maps.draw_pointing(runs_in(copied), tmp_path / "figure.png")


def test_pictures_of_other_data_are_refused(run_dir, tmp_path):
    path = run_dir / "config.json"
    config = json.loads(path.read_text())
    config["environment"]["data"]["val images"] = "0" * 16
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match="val images are not those that"):
        figure_maps.draw_maps([run_in(run_dir)], tmp_path / "figure.png")


def test_the_marker_says_whether_the_place_is_in_a_box():
    from matplotlib.figure import Figure

    from tools.examples import Picture

    box = {2: np.array([[0, 0, 0.5, 1.0]])}
    picture = Picture(np.zeros((10, 20, 3), np.uint8), (20, 10), box)
    maps = Maps("val", 1, "", ("a",), np.array([0, 0]), np.array([2, 2]), ("c", "c"),
                np.zeros((2, 1, 2), np.float16), np.array([0, 1]))  # fmt: skip
    for chosen, x, (marker, color) in ((0, 5, figure_maps.HIT), (1, 15, figure_maps.MISS)):
        axes = Figure().subplots()
        figure_maps._draw_map(axes, picture, maps, chosen)
        (line,) = axes.lines
        assert (line.get_marker(), line.get_color()) == (marker, color)
        assert line.get_xydata().tolist() == [[x, 5]]
    assert figure_maps.HIT[0] != figure_maps.MISS[0]
