"""The tool that makes class priors of a run: their values, its words, and what it leaves alone."""

import csv
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from config import parse_args
from data.read import read_folder
from datasets import split_indices
from priors import read_prior
from tests import tiny
from tools import loading, prior
from train import load_run

AT_ONCE = 8  # images in a mini-batch, as the tool takes them at tiny's --bsize 4
IGNORE = ("--mod_scheme", "CSL", "--mode", "ignore", "--num_epochs", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs in mode ignore of CSL on the tiny folder and on the sparse one, and one of AN."""
    root = tmp_path_factory.mktemp("trained")
    folder = tiny.make_folder(root)
    tiny.train(folder, root / "runs", *IGNORE, "--exp_name", "dense")
    tiny.train(tiny.make_sparse_folder(root), root / "runs", *IGNORE, "--exp_name", "sparse")
    tiny.train(folder, root / "runs", "--mod_scheme", "AN", "--num_epochs", "1", "--exp_name", "AN")
    return root


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of these runs."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def damaged(runs, trained):
    """The folder of data that the dense run takes, a copy to damage."""
    copy = runs.parent / "tiny"
    shutil.copytree(trained / "tiny", copy)
    change(runs / "dense", dataset=str(copy))
    return copy


def change(run_dir, **settings):
    """These settings in the run's config.json; None: not there."""
    path = run_dir / "config.json"
    config = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({name: v for name, v in config.items() if v is not None}))


def mean_prediction(run_dir, folder, own_val):
    """The mean over the training images of sigmoid(logits), float32 [K], and the classes."""
    model, config, classes = load_run(run_dir)
    names = read_folder(folder, str(folder)).train.names
    if not own_val:
        names = names[split_indices(len(names), config.val_frac, config.split_seed)[0]]
    pictures = np.stack([np.array(Image.open(folder / name)) for name in names])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = torch.cat([model(chunk) for chunk in images.split(AT_ONCE)])
    return logits.sigmoid().double().mean(0).float(), classes


def run(*words):
    return cli.run(prior.main, list(map(str, words)))


def next_command(printed):
    """The words after `python main.py` of the last line."""
    python, main, *words = shlex.split(printed.splitlines()[-1])
    assert (python, main) == ("python", "main.py")
    return words


@pytest.mark.parametrize(("name", "folder"), [("dense", "tiny"), ("sparse", "sparse")])
def test_the_prior_is_the_mean_prediction_on_the_training_images(runs, trained, name, folder):
    assert run(runs / name) == 0
    path = runs / name / "prior.csv"
    expected, classes = mean_prediction(runs / name, trained / folder, own_val=name == "sparse")
    assert len(expected.unique()) == len(classes)
    assert torch.equal(torch.tensor(read_prior(path, classes)), expected)
    with path.open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == list(classes)


def test_flags_take_the_place_of_the_settings_of_the_run(runs):
    words = shlex.split("--data_root elsewhere --bsize 7 --num_workers 1 --amp bf16 --device cpu")
    for more in ([], words):
        found = loading.load(prior._parser().parse_args([str(runs / "dense"), *more]))
        config = found.config
        flags = (config.data_root, config.bsize, config.num_workers, config.amp)
        assert flags == (("elsewhere", 7, 1, "bf16") if more else (config.save_path, 4, 0, "auto"))
        assert found.loader(found.data.train).batch_sampler.batch_size == 2 * config.bsize
    assert found.hardware.half is torch.bfloat16


def test_the_batch_size_changes_nothing_but_rounding(runs):
    for size in (1, 100):
        assert run(runs / "dense", "--bsize", size, "--out", runs / f"{size}.csv") == 0
    classes = [f"class {k}" for k in range(4)]
    one, all_at_once = (read_prior(runs / f"{size}.csv", classes) for size in (1, 100))
    assert one == pytest.approx(all_at_once, abs=1e-6)


def test_of_few_classes_all_are_shown_the_highest_first(runs, capsys):
    run(runs / "dense")
    out, err = capsys.readouterr()
    head, *rows, above, wrote, _ = out.splitlines()
    assert head == "class priors: the mean predictions on 24 training images"
    values = read_prior(runs / "dense" / "prior.csv", [f"class {k}" for k in range(4)])
    order = sorted(range(4), key=lambda k: -values[k])
    assert rows == [f"class {k}  {values[k]:.4f}" for k in order]
    assert above == "4 of 4 classes above 0.05, the usual --prior_threshold"
    assert wrote == f"wrote {runs / 'dense' / 'prior.csv'}; next:"
    assert err == ""


def test_of_many_classes_both_ends_are_shown(runs, capsys):
    run(runs / "sparse")
    classes = [f"thing {k}" for k in range(tiny.MANY_CLASSES)]
    values = read_prior(runs / "sparse" / "prior.csv", classes)
    order = sorted(range(tiny.MANY_CLASSES), key=lambda k: -values[k])
    _, *rows, _, _, _ = capsys.readouterr().out.splitlines()
    shown = [f"{classes[k]:<8}  {values[k]:.4f}" for k in (*order[:5], *order[-5:])]
    assert rows == [*shown[:5], "...", *shown[5:]]


def test_the_next_command_trains_with_the_prior_under_another_name(runs, capsys):
    change(runs / "dense", save_path=str(runs), exp_name="dense")
    out = runs / "a prior.csv"
    assert run(runs / "dense", "--out", out) == 0
    words = next_command(capsys.readouterr().out)
    config = parse_args(words)
    assert (config.mod_scheme, config.mode, config.prior) == ("CSL", "selective", str(out))
    assert config.run_dir == runs / "dense_selective"
    assert (config.lr, config.num_epochs, config.bsize) == (1e-3, 2, 4)


def test_the_next_command_leaves_an_automatic_name_to_main(runs, capsys):
    change(runs / "dense", exp_name=None)
    before = parse_args(["--config", str(runs / "dense" / "config.json")])
    change(runs / "dense", exp_name=before.exp_name)
    assert run(runs / "dense") == 0
    words = next_command(capsys.readouterr().out)
    path = str(runs / "dense" / "prior.csv")
    config = str(runs / "dense" / "config.json")
    assert words == ["--config", config, "--mode", "selective", "--prior", path]
    assert parse_args(words).run_dir != before.run_dir


def test_of_a_run_of_another_kind_a_note_tells(runs, capsys):
    assert run(runs / "AN", "--data_root", runs) == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("note: the prior is meant to come from a run in mode ignore of CSL")
    config = parse_args(next_command(out))
    assert (config.mod_scheme, config.mode) == ("CSL", "selective")
    assert config.data_root == str(runs)


def test_so_it_does_of_csl_in_another_mode(runs, capsys):
    change(runs / "dense", mode="negative")
    assert run(runs / "dense") == 0
    assert "note: the prior is meant to come from" in capsys.readouterr().err


def test_a_prior_that_is_there_is_kept_unless_it_may_be_replaced(runs, capsys):
    path = runs / "dense" / "prior.csv"
    path.write_text("mine")
    assert run(runs / "dense") == 2
    assert capsys.readouterr().err == (
        f"error: {path} is there already: give --overwrite, or another --out\n"
    )
    assert path.read_text() == "mine"
    assert run(runs / "dense", "--overwrite") == 0
    assert len(read_prior(path, [f"class {k}" for k in range(4)])) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere",), "nowhere holds no run"),
        (("dense", "--out", "dense"), "dense is no plain file"),
        (("dense", "--out", "dense/config.json/prior.csv"), "dense/config.json is a file"),
        (("dense", "--out", ""), "must be the path of a file"),
        (("dense", "--overwrit"), "unknown flag --overwrit, did you mean --overwrite?"),
        (("dense", "--bsize", "0"), "--bsize"),
        (("dense", "--device", "gpu"), "--device"),
        (("dense", "sparse"), "unexpected argument 'sparse'"),
        ((), "run_dir"),
    ],
)
def test_a_mistake_costs_one_line_and_nothing_is_written(runs, monkeypatch, capsys, words, says):
    monkeypatch.chdir(runs)
    before = sorted(runs.rglob("*"))
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
    assert sorted(runs.rglob("*")) == before


def without_the_last_image(folder):
    last = split_indices(30, 0.2, 1200)[0][-1]
    (folder / "train" / f"{last:02}.png").unlink()


def with_other_classes(folder):
    (folder / "dataset.json").write_text('{"classes": ["a", "b", "c", "d"]}')


def without_labels(folder):
    for path in folder.glob("formatted_train_labels*"):
        path.unlink()


@pytest.mark.parametrize("damage", [without_the_last_image, with_other_classes, without_labels])
def test_with_damaged_data_nothing_is_written(runs, damaged, capsys, damage):
    damage(damaged)
    before = sorted(runs.rglob("*"))
    assert run(runs / "dense") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(runs.rglob("*")) == before


def test_predictions_that_are_no_numbers_are_refused(runs, monkeypatch, capsys):
    def forward(self, x):
        return torch.full((len(x), 4), float("nan"))

    monkeypatch.setattr("models.ImageClassifier.forward", forward)
    assert run(runs / "dense") == 2
    assert "no finite numbers" in capsys.readouterr().err
    assert not (runs / "dense" / "prior.csv").exists()


def test_names_are_shown_so_that_a_terminal_obeys_none_of_them():
    *lines, above = prior._table(["a\x1b[2J\nb", "c"], (0.05, 0.5), 0.05)
    assert lines == [f"{'c':<11}  0.5000", "a\\x1b[2J\\nb  0.0500"]
    assert above.startswith("1 of 2 classes above 0.05")


def test_a_wrong_flag_does_not_wait_for_torch():
    program = "import sys, tools.prior; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], check=True)
