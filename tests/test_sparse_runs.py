"""Whole runs on a set like OpenImages: sparse tables, a part of its own for val, groups."""

import csv
import json
import shutil

import numpy as np
import pytest
from scipy.sparse import csr_array

from cli import UserError
from data.arrays import load_sparse
from data.draw import Draw
from data.formatted import labels_path
from data.observe import redraw
from tests import tiny
from tests.test_datasets import write_dense
from tests.test_train import SUMMARY, metrics, stop_in
from tests.tiny import SCHEMES, assert_same_tensors, load, write_sparse
from tools import evaluate

DRAW = Draw(num_pos=1, num_neg=1)
SETS = ("all that is known", "drawn")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The sparse set, with what is known observed, or one label of each kind an image."""
    root = tmp_path_factory.mktemp("sets")
    known = tiny.make_sparse_folder(root / "known")
    drawn = shutil.copytree(known, root / "drawn" / "sparse")
    redraw(drawn, DRAW)
    return dict(zip(SETS, (known, drawn), strict=True))


@pytest.fixture(scope="module")
def runs(folders, tmp_path_factory):
    """A function that trains a scheme on one of the sets, once: the summary and the run's folder.

    `--bsize 7` leaves a last mini-batch of 5.
    """
    root, done = tmp_path_factory.mktemp("runs"), {}

    def run(kind, scheme, *more):
        key = (kind, scheme, *more)
        if key not in done:
            words = ("--mod_scheme", scheme, "--bsize", "7", *more)
            done[key] = tiny.train(folders[kind], root / str(len(done)), *words)
        return done[key]

    return run


def numbers(run_dir):
    """The cells of metrics.csv as they are written, times left out."""
    rows = csv.reader((run_dir / "metrics.csv").read_text().splitlines())
    columns = {name: values for name, *values in zip(*rows, strict=True)}
    return {name: columns[name] for name in columns if name not in ("images_per_s", "seconds")}


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_run_on_a_sparse_set_ends_with_a_map_for_each_group(runs, scheme, kind):
    summary, run_dir = runs(kind, scheme)
    assert set(summary) == SUMMARY | {"test_map_groups"}
    assert json.loads((run_dir / "summary.json").read_text()) == summary
    ap = list(summary["test_ap"].values())
    assert len(ap) == 60
    assert list(summary["test_map_groups"]) == ["G1", "G2", "G3", "G4", "G5"]
    for place, value in enumerate(summary["test_map_groups"].values()):
        known = [x for x in ap[12 * place : 12 * place + 12] if x is not None]
        assert value == pytest.approx(sum(known) / len(known))
    log = (run_dir / "train.log").read_text()
    assert "40 train, 12 val and 15 test images, 60 classes" in log
    assert "val: the set's own images, --val_frac cuts none from train" in log
    selected = [int(row["selected"]) for row in metrics(run_dir)]
    assert selected[0] == 0
    assert all(selected[1:]) == (scheme != "AN")


def test_a_group_without_a_label_in_the_test_images_has_no_map(folders, tmp_path):
    folder = shutil.copytree(folders[SETS[0]], tmp_path / "set")
    path = labels_path(folder, "val", "labels")
    labels = load_sparse(path).toarray()
    labels[:, 12:24] = 0
    write_sparse(path, csr_array(labels))
    summary, _ = tiny.train(folder, tmp_path / "runs", "--num_epochs", "1")
    assert summary["test_map_groups"]["G2"] is None
    assert summary["test_ap"]["thing 12"] is None
    assert summary["test_map_groups"]["G1"] > 0


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_dense_files_give_the_same_run_digit_for_digit(runs, folders, tmp_path, scheme, kind):
    summary, sparse = runs(kind, scheme)
    folder = write_dense(shutil.copytree(folders[kind], tmp_path / "sparse"))
    words = ("--mod_scheme", scheme, "--bsize", "7")
    same, dense = tiny.train(folder, tmp_path / "runs", *words)
    assert numbers(sparse) == numbers(dense)
    assert len(numbers(dense)["val_map"]) == 3
    for name in ("test_map", "test_map_last", "test_map_groups", "test_ap", "best_epoch"):
        assert summary[name] == same[name]
    ours, theirs = load(sparse / "last.pt"), load(dense / "last.pt")
    for part in ("model", "optimizer", "rows"):
        assert_same_tensors(ours[part], theirs[part])


def test_features_of_a_sparse_set_give_the_same_run_as_of_a_dense_one(runs, folders, tmp_path):
    _, sparse = runs("drawn", "LL-Cp", "--use_feats")
    folder = write_dense(shutil.copytree(folders["drawn"], tmp_path / "sparse"))
    words = ("--mod_scheme", "LL-Cp", "--bsize", "7", "--use_feats")
    _, dense = tiny.train(folder, tmp_path / "runs", *words)
    assert numbers(sparse) == numbers(dense)


@pytest.mark.parametrize("kind", SETS)
def test_permanent_corrections_are_kept_in_the_checkpoint(runs, folders, kind):
    """Recall and precision by hand, from what the checkpoint holds."""
    _, run_dir = runs(kind, "LL-Cp")
    state, rows = load(run_dir / "last.pt")["labels"], metrics(run_dir)
    assert set(state) == {"counts", "columns"}
    assert len(state["columns"]) == sum(int(row["selected"]) for row in rows) > 0
    corrected = np.zeros((40, 60), bool)
    images = np.repeat(np.arange(40), state["counts"].numpy())
    corrected[images, state["columns"].numpy()] = True
    assert corrected.sum() == len(state["columns"])
    truth = load_sparse(labels_path(folders[kind], "train", "labels")).toarray()
    observed = truth
    if kind == "drawn":
        observed = load_sparse(labels_path(folders[kind], "train", "labels_obs")).toarray()
    assert not corrected[observed != 0].any()
    missing = (truth == 1) & (observed == 0)
    if kind == "drawn":
        recall = (corrected & missing).sum() / missing.sum()
        assert float(rows[-1]["selected_recall"]) == pytest.approx(recall, rel=1e-5)
    else:
        assert {row["selected_recall"] for row in rows} == {""}


@pytest.mark.parametrize(
    ("scheme", "epoch"), [*((scheme, 2) for scheme in SCHEMES), ("LL-Cp", 1), ("LL-Cp", 3)]
)
def test_a_resumed_run_equals_the_uninterrupted_one(
    runs, folders, tmp_path, monkeypatch, scheme, epoch
):
    whole_summary, whole = runs("drawn", scheme)
    words = ("--mod_scheme", scheme, "--bsize", "7")
    with monkeypatch.context() as patch:
        stop_in(patch, epoch)
        with pytest.raises(KeyboardInterrupt):
            tiny.train(folders["drawn"], tmp_path, *words)
    summary, parts = tiny.train(folders["drawn"], tmp_path, *words, "--resume")
    for name in ("last.pt", "bestmodel.pt"):
        assert_same_tensors(load(parts / name), load(whole / name))
    assert numbers(parts) == numbers(whole)
    assert summary["test_map_groups"] == whole_summary["test_map_groups"]


def test_other_sparse_labels_are_not_trained_on_under_resume(runs, folders, tmp_path):
    folder = shutil.copytree(folders["drawn"], tmp_path / "set")
    tiny.train(folder, tmp_path / "runs", "--num_epochs", "1")
    path = labels_path(folder, "train", "labels_obs")
    labels = load_sparse(path)
    labels.data[0] = -labels.data[0]
    write_sparse(path, labels)
    with pytest.raises(UserError, match="--resume: train observed are not those"):
        tiny.train(folder, tmp_path / "runs", "--num_epochs", "2", "--resume")


def test_how_the_labels_were_drawn_is_in_the_record_of_the_run(runs, folders, tmp_path):
    def drawn(run_dir):
        return json.loads((run_dir / "config.json").read_text())["environment"].get("drawn")

    assert drawn(runs("drawn", "AN")[1]) == {"num_pos": 1, "num_neg": 1, "seed": 1200}
    assert drawn(runs(SETS[0], "AN")[1]) is None
    folder = shutil.copytree(folders["drawn"], tmp_path / "set")
    path = labels_path(folder, "dev", "labels_obs")
    labels = load_sparse(path)
    labels.data[0] = -labels.data[0]
    write_sparse(path, labels)
    assert drawn(tiny.train(folder, tmp_path / "runs", "--num_epochs", "1")[1]) is None


@pytest.mark.parametrize(("split", "images"), [("test", 15), ("val", 12), ("train", 40)])
def test_evaluate_measures_a_run_on_a_sparse_set_again(runs, capsys, split, images):
    summary, run_dir = runs("drawn", "LL-R")
    capsys.readouterr()
    evaluate.main([str(run_dir), "--split", split])
    *groups, last = capsys.readouterr().out.splitlines()
    assert last.startswith(f"{split.capitalize()} mAP : ")
    assert last.endswith(f" on {images} images")
    if split != "train":
        assert f" {summary[f'{split}_map']:.3f} " in last
    if split == "test":
        means = summary["test_map_groups"].items()
        assert groups == [f"{name} mAP : {mean:.3f}" for name, mean in means]


def test_evaluate_prints_every_class_of_a_sparse_set(runs, capsys):
    summary, run_dir = runs("drawn", "LL-R")
    capsys.readouterr()
    evaluate.main([str(run_dir), "--per_class"])
    classes = capsys.readouterr().out.splitlines()[: len(summary["test_ap"])]
    printed = [float(line.split()[-1]) for line in classes]
    expected = [np.nan if ap is None else round(ap, 3) for ap in summary["test_ap"].values()]
    np.testing.assert_allclose(printed, expected, atol=1e-3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_run_with_the_clean_labels_of_a_sparse_set(runs, folders, tmp_path, scheme):
    """They are what is known: the same as where nothing was drawn."""
    words = ("--mod_scheme", scheme, "--bsize", "7", "--train_set_variant", "clean")
    _, clean = tiny.train(folders["drawn"], tmp_path, *words)
    _, known = runs(SETS[0], scheme)
    assert_same_tensors(load(clean / "last.pt")["model"], load(known / "last.pt")["model"])
