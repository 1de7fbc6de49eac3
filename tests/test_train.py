"""Whole runs: what they leave, how they are resumed, and that each setting does what it says."""

import csv
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import run
import train as training
from checkpoint import State, save_tensors
from cli import UserError
from config import parse_args
from data.draw import Draw
from data.formatted import array_path
from data.observe import redraw
from datasets import load_data, split_indices
from hardware import find_hardware
from loaders import BatchOrder
from losses import LargeLossRejection
from models import build_model
from phases import phases_of
from record import METRICS
from tests import releases, tiny
from tests.tiny import SCHEMES, assert_same_tensors, load, write_array

RECORDS = Path(__file__).parents[1] / "results" / "digits"
SUMMARY = {
    "dataset", "mod_scheme", "delta_rel", "optimizer", "lr", "bsize", "seed", "num_epochs",
    "best_epoch", "epochs_run", "val_map", "val_map_observed", "test_map", "test_map_last",
    "test_labels",
    "seconds", "empty_classes", "skipped_images", "test_ap",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("data"))


def metrics(run_dir, without=("images_per_s", "seconds")):
    rows = csv.DictReader((run_dir / "metrics.csv").read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in without} for row in rows]


def stop_in(monkeypatch, epoch, error=KeyboardInterrupt):
    """Let training be stopped in the middle of that epoch."""
    one_epoch = training.train_one_epoch

    def stopping(state, images, at, *rest):
        audit = one_epoch(state, images, at, *rest)
        if at == epoch:
            raise error
        return audit

    monkeypatch.setattr(training, "train_one_epoch", stopping)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_run_leaves_every_file_of_the_contract(folder, tmp_path, scheme, capsys):
    summary, run_dir = tiny.train(folder, tmp_path, "--mod_scheme", scheme)

    best = f"Test mAP : {summary['test_map']:.3f} when trained until epoch {summary['best_epoch']}"
    assert capsys.readouterr().out.splitlines()[-1] == best
    assert set(summary) == SUMMARY
    assert json.loads((run_dir / "summary.json").read_text()) == summary
    rows = metrics(run_dir, without=())
    assert tuple(rows[0]) == METRICS
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    config = json.loads((run_dir / "config.json").read_text())
    assert config["mod_scheme"] == scheme
    assert {"python", "torch", "torchvision", "git_commit", "command_line"} <= set(
        config["environment"]
    )
    assert (run_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
    log = (run_dir / "train.log").read_text()
    assert "epoch  3/3" in log
    assert log.splitlines()[-1] == best
    assert len(load(run_dir / "last.pt")["rows"]) == 3
    assert len(load(run_dir / "last.previous.pt")["rows"]) == 2
    assert load(run_dir / "bestmodel.pt")["epoch"] == summary["best_epoch"]


def test_rates_and_counts_follow_the_schemes(folder, tmp_path):
    """24 training images, 4 classes, 1 observed each: 72 unobserved labels, 12 a batch of 4."""
    expected = {
        "AN": [(0, 0), (0, 0), (0, 0)],
        "LL-R": [(0, 0), (0.1, 6 * 2), (0.2, 6 * 3)],  # ceil(1.2) and ceil(2.4) a batch
        "LL-Ct": [(0, 0), (0.1, 6 * 2), (0.2, 6 * 3)],
    }
    for scheme, values in expected.items():
        _, run_dir = tiny.train(folder, tmp_path / scheme, "--mod_scheme", scheme)
        rows = metrics(run_dir)
        assert [(float(row["rate"]), int(row["selected"])) for row in rows] == values


def test_permanent_corrections_are_kept_in_the_checkpoint(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path, "--mod_scheme", "LL-Cp")
    rows = metrics(run_dir)
    corrected = load(run_dir / "last.pt")["labels"]["corrected"]
    observed = np.load(array_path(folder, "train", "labels_obs"))
    train, _ = training_places(folder)
    assert corrected.sum() == sum(int(row["selected"]) for row in rows) > 0
    assert not corrected[torch.from_numpy(observed[train] != 0)].any()
    truth = np.load(array_path(folder, "train", "labels"))[train]
    missing = (truth == 1) & (observed[train] == 0)
    recall = (corrected.numpy() & missing).sum() / missing.sum()
    assert float(rows[-1]["selected_recall"]) == pytest.approx(recall, rel=1e-5)


def training_places(folder):
    from datasets import split_indices

    return split_indices(len(np.load(array_path(folder, "train", "images"))), 0.2, 1200)


def test_full_labels_leave_nothing_to_select_and_equal_assume_negative(folder, tmp_path):
    clean = ("--train_set_variant", "clean")
    _, plain = tiny.train(folder, tmp_path / "an", "--mod_scheme", "AN", *clean)
    for scheme in SCHEMES[1:]:
        _, run_dir = tiny.train(folder, tmp_path / scheme, "--mod_scheme", scheme, *clean)
        assert_same_tensors(load(run_dir / "last.pt")["model"], load(plain / "last.pt")["model"])
        assert [row["selected"] for row in metrics(run_dir)] == ["0"] * 3
        assert {row["loss_fn"] for row in metrics(run_dir)} == {""}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_resumed_run_equals_the_uninterrupted_one(folder, tmp_path, monkeypatch, scheme, epoch):
    _, whole = tiny.train(folder, tmp_path / "whole", "--mod_scheme", scheme)
    with monkeypatch.context() as patch:
        stop_in(patch, epoch)
        with pytest.raises(KeyboardInterrupt):
            tiny.train(folder, tmp_path / "parts", "--mod_scheme", scheme)
    _, parts = tiny.train(folder, tmp_path / "parts", "--mod_scheme", scheme, "--resume")

    for name in ("last.pt", "bestmodel.pt"):
        assert_same_tensors(load(parts / name), load(whole / name))
    assert metrics(parts) == metrics(whole)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_workers_do_not_change_the_result(folder, tmp_path, optimizer):
    runs = [
        tiny.train(folder, tmp_path / n, "--num_workers", n, "--optimizer", optimizer)[1]
        for n in ("0", "2")
    ]
    assert_same_tensors(*(load(run_dir / "last.pt") for run_dir in runs))


@pytest.mark.parametrize("mode", ["memory", "disk"])
def test_cached_images_do_not_change_the_result(folder, tmp_path, mode):
    root = ("--data_root", str(tmp_path / "data"))
    runs = [
        tiny.train(folder, tmp_path / cache, "--cache", cache, *root)[1] for cache in ("none", mode)
    ]
    assert_same_tensors(*(load(run_dir / "last.pt") for run_dir in runs))
    cached = list((tmp_path / "data").glob("cache/*.npy"))
    assert len(cached) == (2 if mode == "disk" else 0)


def test_another_seed_is_another_run(folder, tmp_path):
    weights = [
        load(tiny.train(folder, tmp_path / s, "--seed", s)[1] / "last.pt")["model"]["head.weight"]
        for s in ("0", "1")
    ]
    assert not torch.equal(*weights)


def test_a_run_is_never_overwritten_unasked(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    with pytest.raises(UserError, match=r"--resume .* --overwrite .* --exp_name"):
        tiny.train(folder, tmp_path)
    with pytest.raises(UserError, match=r"--lr 0\.001 --seed 0, not --lr 0\.002 --seed 1:"):
        tiny.train(folder, tmp_path, "--resume", "--lr", "0.002", "--seed", "1")
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before

    tiny.train(folder, tmp_path, "--overwrite", "--num_epochs", "1")
    assert len(metrics(run_dir)) == 1
    assert "epoch  3/3" not in (run_dir / "train.log").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_an_overwritten_run_stands_until_the_first_epoch_is_finished(
    folder, tmp_path, monkeypatch, error, capsys
):
    _, run_dir = tiny.train(folder, tmp_path)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    stop_in(monkeypatch, 1, error)
    with pytest.raises(error):
        tiny.train(folder, tmp_path, "--overwrite", "--lr", "0.002")
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before
    monkeypatch.undo()
    stop_in(monkeypatch, 2, error)
    with pytest.raises(error):
        tiny.train(folder, tmp_path, "--overwrite", "--lr", "0.002")
    assert len(metrics(run_dir)) == 1
    assert json.loads((run_dir / "config.json").read_text())["lr"] == 0.002
    printed = capsys.readouterr().out
    log = (run_dir / "train.log").read_text().removesuffix("failed: \n")  # which is not printed
    assert printed.endswith(log)
    assert "the run that lies there stands until the next epoch is finished" in log
    assert not (run_dir / "summary.json").exists()


def test_resuming_a_finished_run_repeats_its_result_without_training(
    folder, tmp_path, monkeypatch, capsys
):
    summary, _ = tiny.train(folder, tmp_path)
    last_line = capsys.readouterr().out.splitlines()[-1]
    stop_in(monkeypatch, 1, error=AssertionError)
    assert tiny.train(folder, tmp_path, "--resume")[0] == summary
    assert capsys.readouterr().out.splitlines() == [last_line]


def test_more_epochs_may_be_asked_for_later(folder, tmp_path):
    tiny.train(folder, tmp_path / "grown", "--num_epochs", "2")
    _, grown = tiny.train(folder, tmp_path / "grown", "--num_epochs", "3", "--resume")
    _, whole = tiny.train(folder, tmp_path / "whole", "--num_epochs", "3")
    assert_same_tensors(load(grown / "last.pt"), load(whole / "last.pt"))
    with pytest.raises(UserError, match="--num_epochs 3, not --num_epochs 2"):
        tiny.train(folder, tmp_path / "grown", "--num_epochs", "2", "--resume")


def test_a_result_without_checkpoints_is_not_trained_over(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path)
    for checkpoint in run_dir.glob("*.pt"):
        checkpoint.unlink()
    with pytest.raises(UserError, match="no checkpoint to go on from"):
        tiny.train(folder, tmp_path, "--num_epochs", "4", "--resume")


def test_damaged_settings_are_one_line(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path)
    (run_dir / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json is no JSON: .* --overwrite"):
        tiny.train(folder, tmp_path, "--resume")


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"test_map": "x"}'])
def test_a_damaged_result_is_had_again_from_the_checkpoint(folder, tmp_path, content):
    summary, run_dir = tiny.train(folder, tmp_path)
    (run_dir / "summary.json").write_text(content)
    again, _ = tiny.train(folder, tmp_path, "--resume")
    assert_same_tensors(again, summary)
    assert json.loads((run_dir / "summary.json").read_text()) == again


def test_a_damaged_result_without_checkpoints_is_one_line(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path)
    for checkpoint in run_dir.glob("*.pt"):
        checkpoint.unlink()
    (run_dir / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary.json is no JSON: .* --overwrite"):
        tiny.train(folder, tmp_path, "--resume")


def test_other_labels_are_not_trained_on_under_resume(tmp_path):
    folder = tiny.make_folder(tmp_path)
    tiny.train(folder, tmp_path / "runs")
    redraw(folder, Draw(num_pos=-1, num_neg=1, seed=7))
    for epochs in ("3", "4"):  # finished, and to be gone on with
        with pytest.raises(
            UserError, match="train observed, val observed, test observed are not those"
        ):
            tiny.train(folder, tmp_path / "runs", "--resume", "--num_epochs", epochs)
    for path in folder.glob("*.npy"):
        path.unlink()
    tiny.train(folder, tmp_path / "runs", "--resume")  # the data is gone, the result stands


@pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
def test_a_start_that_fails_leaves_the_earlier_run_as_it_was(folder, tmp_path, monkeypatch, flag):
    _, run_dir = tiny.train(folder, tmp_path)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        tiny.train(folder, tmp_path, flag, "--tensorboard", "--num_epochs", "4")
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before


def test_resume_restores_metrics_and_keeps_every_environment(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path)
    whole = (run_dir / "metrics.csv").read_text()
    (run_dir / "summary.json").unlink()
    (run_dir / "metrics.csv").write_text(whole[: len(whole) // 2])
    tiny.train(folder, tmp_path, "--resume")
    assert (run_dir / "metrics.csv").read_text() == whole
    environment = json.loads((run_dir / "config.json").read_text())["environment"]
    assert len(environment["resumed"]) == 1
    assert environment["resumed"][0]["torch"] == environment["torch"] == torch.__version__


def test_two_processes_never_train_in_one_folder(folder, tmp_path):
    run_dir = tiny.settings(folder, tmp_path).run_dir
    run_dir.mkdir()
    with tiny.locked_by_another(run_dir / ".lock"):
        for flag in ("--resume", "--overwrite", "--tensorboard=false"):
            with pytest.raises(UserError, match="another process trains in"):
                tiny.train(folder, tmp_path, flag)
    assert [path.name for path in run_dir.iterdir()] == [".lock"]
    tiny.train(folder, tmp_path)


def best_in(monkeypatch, best):
    """Let that epoch be the best one on validation."""
    epochs = iter(range(1, 10))
    monkeypatch.setattr(
        training,
        "_validate",
        lambda run: {"val_map": 90.0 + (next(epochs) == best), "val_map_observed": 50.0},
    )


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_best_model_that_was_not_written_any_more_is_restored(
    folder, tmp_path, monkeypatch, content
):
    """The run was killed between last.pt and bestmodel.pt of the same epoch."""
    best_in(monkeypatch, 3)
    _, run_dir = tiny.train(folder, tmp_path)
    before = load(run_dir / "bestmodel.pt")
    for name in ("summary.json", "bestmodel.pt"):
        (run_dir / name).unlink()
    if content is not None:
        (run_dir / "bestmodel.pt").write_bytes(content)
    tiny.train(folder, tmp_path, "--resume")
    assert_same_tensors(load(run_dir / "bestmodel.pt"), before)


def test_a_best_model_that_is_lost_is_noticed_before_training(folder, tmp_path, monkeypatch):
    best_in(monkeypatch, 1)
    _, run_dir = tiny.train(folder, tmp_path)
    (run_dir / "bestmodel.pt").unlink()
    stop_in(monkeypatch, 4, error=AssertionError)
    with pytest.raises(UserError, match=r"bestmodel\.pt is missing: give --overwrite"):
        tiny.train(folder, tmp_path, "--resume", "--num_epochs", "4")
    assert (run_dir / "summary.json").exists()


def test_a_best_model_of_another_epoch_is_noticed_before_training(folder, tmp_path, monkeypatch):
    best_in(monkeypatch, 1)
    _, run_dir = tiny.train(folder, tmp_path)
    save_tensors(run_dir / "bestmodel.pt", {**load(run_dir / "bestmodel.pt"), "epoch": 2})
    with pytest.raises(UserError, match=r"is of epoch 2, not of the best, 1"):
        tiny.train(folder, tmp_path, "--resume", "--num_epochs", "4")


def test_what_changes_no_result_may_change_on_resume(folder, tmp_path, monkeypatch):
    """Workers, the cache, the place of the data, deterministic algorithms."""
    _, whole = tiny.train(folder, tmp_path / "whole")
    stop_in(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        tiny.train(folder, tmp_path / "parts")
    monkeypatch.undo()
    changed = ("--num_workers", "2", "--cache", "memory", "--device", "cpu", "--deterministic",
               "--data_root", str(tmp_path), "--on_bad_image", "skip")  # fmt: skip
    _, parts = tiny.train(folder, tmp_path / "parts", "--resume", *changed)
    assert_same_tensors(load(parts / "last.pt"), load(whole / "last.pt"))


def test_what_killed_runs_left_is_removed(folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".last.pt.7.tmp").touch()
    _, run_dir = tiny.train(folder, tmp_path)
    assert not list(run_dir.glob("*.tmp"))


def test_a_batch_that_batch_norm_cannot_take_is_refused(folder, tmp_path):
    flags = ("--arch", "resnet18", "--image_size", "32")
    for size in ("23", "1"):  # of 24 images
        with pytest.raises(UserError, match=f"--bsize {size}: .* --image_size 32"):
            tiny.train(folder, tmp_path, *flags, "--bsize", size)


def test_a_name_that_looks_like_mathematics_is_only_a_name(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path, "--exp_name", "a$_$b")
    assert (run_dir / "curves.png").exists()


def test_the_golden_curve(tmp_path):
    """A short run on digits against the committed one; rounding differs between machines."""
    flags = ("--num_epochs", "3", "--ss_frac_train", "0.25", "--exp_name", "golden")
    config = parse_args(["--save_path", str(tmp_path), "--mod_scheme", "LL-R", *flags])
    training.run_train(config)
    golden = json.loads((Path(__file__).parent / "golden.json").read_text())
    for row, expected in zip(metrics(config.run_dir), golden, strict=True):
        assert float(row["train_loss"]) == pytest.approx(expected["train_loss"], rel=0.02)
        assert float(row["loss_fn"]) == pytest.approx(expected["loss_fn"], rel=0.1)
        assert int(row["selected"]) == expected["selected"]


def test_a_result_stands_until_another_epoch_is_finished(folder, tmp_path, monkeypatch):
    summary, run_dir = tiny.train(folder, tmp_path)
    for epoch in (4, 5):
        stop_in(monkeypatch, epoch)
        with pytest.raises(KeyboardInterrupt):
            tiny.train(folder, tmp_path, "--num_epochs", "5", "--resume")
        monkeypatch.undo()
        if epoch == 4:
            assert tiny.train(folder, tmp_path, "--resume")[0] == summary
    assert not (run_dir / "summary.json").exists()
    with pytest.raises(UserError, match="--num_epochs 5, not --num_epochs 3"):
        tiny.train(folder, tmp_path, "--resume")


def test_settings_that_come_between_are_not_gone_on_with(folder, tmp_path, monkeypatch):
    """Another run finishes in the folder while this one still reads its data."""
    load_data_of_this_run = run.load_data

    def slow(config, **options):
        monkeypatch.undo()
        tiny.train(folder, tmp_path, "--mod_scheme", "LL-Cp")
        return load_data_of_this_run(config, **options)

    monkeypatch.setattr(run, "load_data", slow)
    with pytest.raises(UserError, match="has --mod_scheme LL-Cp, not --mod_scheme LL-R"):
        tiny.train(folder, tmp_path, "--resume")


def test_val_images_of_unknown_truth_have_no_val_map_and_the_run_goes_on(tmp_path):
    folder = tiny.make_folder(tmp_path)
    labels = np.load(array_path(folder, "train", "labels")) * 2 - 1
    labels[split_indices(30, 0.2, 1200)[1]] = 0
    write_array(array_path(folder, "train", "labels"), labels)
    test = np.load(array_path(folder, "val", "labels"))
    write_array(array_path(folder, "val", "labels"), test * 2 - 1)
    (folder / "dataset.json").write_text('{"truth": "partial"}')
    flags = ("--val_set_variant", "observed")
    summary, run_dir = tiny.train(folder, tmp_path, *flags)
    assert summary["val_map"] is None
    assert tiny.train(folder, tmp_path, *flags, "--resume")[0] == summary
    tiny.train(folder, tmp_path, *flags, "--resume", "--num_epochs", "4")
    assert len(metrics(run_dir)) == 4


def test_committed_records_are_finished_runs():
    """Made by an earlier version: what it did not write down cannot differ."""
    (config,) = {path.parent for path in RECORDS.glob("*LL-R*seed1/config.json")}
    words = ["--config", str(config / "config.json"), "--save_path", str(RECORDS), "--resume"]
    summary = json.loads((config / "summary.json").read_text())
    assert training.run_train(parse_args(words)) == summary


def test_a_damaged_checkpoint_falls_back_to_the_one_before(folder, tmp_path, capsys):
    _, whole = tiny.train(folder, tmp_path / "whole")
    _, run_dir = tiny.train(folder, tmp_path / "damaged")
    (run_dir / "summary.json").unlink()
    content = (run_dir / "last.pt").read_bytes()
    (run_dir / "last.pt").write_bytes(content[: len(content) // 2])
    tiny.train(folder, tmp_path / "damaged", "--resume")
    assert "resumed after epoch 2" in capsys.readouterr().out
    assert_same_tensors(load(run_dir / "last.pt"), load(whole / "last.pt"))


def test_the_best_epoch_is_chosen_by_the_labels_that_val_set_variant_names(folder, tmp_path):
    for variant, column in (("clean", "val_map"), ("observed", "val_map_observed")):
        summary, run_dir = tiny.train(
            folder, tmp_path / variant, "--val_set_variant", variant, "--num_epochs", "6"
        )
        maps = [float(row[column]) for row in metrics(run_dir)]
        assert summary["best_epoch"] == 1 + int(np.argmax(maps))
        assert summary[column] == pytest.approx(max(maps), rel=1e-5)


def run_with(rows, folder, *flags):
    """A run on the folder that has come to these rows of its phase."""
    config = tiny.settings(folder, folder, *flags)
    phases = phases_of(config)
    named = [{"phase": phases[-1].name, **row} for row in rows]
    state = State(phases[-1], *[None] * 7, rows=named)
    return training.Run(config, *[None] * 3, options={}, phases=phases, state=state)


def test_clean_and_observed_choose_differently(folder):
    """Rows whose two columns peak in different epochs: the flag decides which counts."""
    rows = [{"val_map": 1.0, "val_map_observed": 2.0}, {"val_map": 2.0, "val_map_observed": 1.0}]
    for variant, best in (("clean", 2), ("observed", 1)):
        assert run_with(rows, folder, "--val_set_variant", variant).best_epoch == best


@pytest.mark.parametrize(("maps", "stops"), [([50.0, 47.0], False), ([50.0, 46.9], True)])
def test_training_stops_early_once_val_map_has_fallen_by_more_than_3(folder, maps, stops):
    rows = [{"val_map": value} for value in maps]
    assert run_with(rows, folder, "--early_stop_drop", "3").is_trained is stops


@pytest.mark.parametrize("scheme", ["AN", "LL-R"])
def test_maps_of_the_linear_phase_count_neither_for_the_best_epoch_nor_for_the_early_stop(
    folder, scheme
):
    flags = ("--linear_init", "2", "--linear_scheme", scheme.replace("LL-R", "same"))
    rows = [{"phase": "linear", "val_map": 90.0}] * 2 + [{"val_map": 50.0}, {"val_map": 49.0}]
    run = run_with(rows, folder, "--early_stop_drop", "3", *flags)
    assert (run.best_epoch, run.is_trained, run.state.epoch) == (1, False, 2)
    rows[-1] = {"val_map": 51.0}
    assert run_with(rows, folder, "--early_stop_drop", "3", *flags).best_epoch == 2


def test_early_stop_ends_a_run(folder, tmp_path, monkeypatch):
    values = iter([50.0, 60.0, 56.0, 99.0])
    monkeypatch.setattr(
        training,
        "_validate",
        lambda *run: {"val_map": next(values), "val_map_observed": None},
    )
    summary, _ = tiny.train(folder, tmp_path, "--early_stop_drop", "3", "--num_epochs", "4")
    assert (summary["epochs_run"], summary["best_epoch"]) == (3, 2)


@pytest.mark.parametrize("flag", ["--use_feats", "--freeze_feature_extractor"])
def test_a_fixed_backbone_stays_what_it_was(folder, tmp_path, flag):
    _, run_dir = tiny.train(folder, tmp_path, flag)
    torch.manual_seed(0)
    start = build_model("resnet8", tiny.NUM_CLASSES).state_dict()
    end = load(run_dir / "last.pt")["model"]
    for key in start:
        assert torch.equal(start[key], end[key]) == (not key.startswith("head")), key
    assert metrics(run_dir)[0]["phase"] == ("linear" if flag == "--use_feats" else "finetune")


def test_the_head_learns_at_its_own_rate(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path, "--lr", "0.002", "--lr_mult", "5")
    groups = load(run_dir / "last.pt")["optimizer"]["param_groups"]
    assert {g["name"]: g["lr"] for g in groups} == {"backbone": 0.002, "head": 0.01}


def test_sgd_takes_momentum_and_weight_decay(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path, "--optimizer", "sgd", "--momentum", "0.5")
    group = load(run_dir / "last.pt")["optimizer"]["param_groups"][0]
    assert (group["momentum"], group["weight_decay"]) == (0.5, 1e-3)


def test_bfloat16_trains_on_a_cpu(folder, tmp_path):
    summary, _ = tiny.train(folder, tmp_path, "--amp", "bf16", "--device", "cpu")
    assert math.isfinite(summary["test_map"])


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_earlier_epochs(
    folder, tmp_path, monkeypatch
):
    poison_step(monkeypatch, 6 + 3, lambda logits: logits * math.nan)
    config = tiny.settings(folder, tmp_path)
    order = BatchOrder(24, 4, seed=0)
    order.epoch = 2
    names = ", ".join(load_data(config).train.names[list(order)[2]])
    said = rf"^epoch 2, step 3 of 6: the loss is nan: lower --lr \(it is 0.001\), .*\({names}\)"
    with pytest.raises(UserError, match=f"{said}; epochs 1 to 1 are kept: .* --resume goes on"):
        training.run_train(config)
    assert len(metrics(config.run_dir)) == 1
    monkeypatch.undo()
    _, whole = tiny.train(folder, tmp_path / "whole")
    _, parts = tiny.train(folder, tmp_path, "--resume")
    assert_same_tensors(load(parts / "last.pt"), load(whole / "last.pt"))


def poison_step(monkeypatch, number, poison):
    """Add what `poison` makes of the logits to the losses of that step of the run."""
    modified, steps = LargeLossRejection.modified, itertools.count(1)

    def poisoned(self, loss, selected, logits):
        loss = modified(self, loss, selected, logits)
        return loss + poison(logits) if next(steps) == number else loss

    monkeypatch.setattr(LargeLossRejection, "modified", poisoned)


def test_weights_that_are_no_numbers_stop_the_run(folder, tmp_path, monkeypatch):
    """The loss of an epoch's last step is still a number, the weights after it are not."""
    poison_step(monkeypatch, 2 * 6, lambda logits: (0 * logits).sqrt())
    with pytest.raises(UserError, match=r"^epoch 2 left numbers that are not finite in .* 0\.001"):
        tiny.train(folder, tmp_path)
    assert len(metrics(tmp_path / "run")) == 1


def test_unknown_truth_leaves_the_audit_empty_and_needs_observed_validation(tmp_path):
    folder = tiny.make_folder(tmp_path)
    (folder / "dataset.json").write_text('{"truth": "none"}')
    for part in ("train", "val"):
        array_path(folder, part, "labels").unlink()
    with pytest.raises(UserError, match="--val_set_variant observed"):
        tiny.train(folder, tmp_path)
    _, run_dir = tiny.train(folder, tmp_path, "--val_set_variant", "observed")
    empty = ("val_map", "selected_precision", "selected_recall", "loss_tp", "loss_tn", "loss_fn")
    assert {row[name] for row in metrics(run_dir) for name in empty} == {""}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dataset", ["pascal", "coco", "cub"])
def test_tiny_official_releases_run_from_raw_files_to_a_test_map(tmp_path, dataset, scheme):
    from data.prepare import main as prepare

    getattr(releases, f"make_{dataset}")(tmp_path)
    prepare([dataset, "--data_root", str(tmp_path)])
    more = ("--data_root", str(tmp_path), "--mod_scheme", scheme, "--num_epochs", "2")
    summary, _ = tiny.train(dataset, tmp_path / "runs", *more)
    assert 0 <= summary["test_map"] <= 100
    assert summary["epochs_run"] == 2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_digits_run_through(tmp_path, scheme):
    more = ("--image_size", "24", "--ss_frac_train", "0.02", "--ss_frac_val", "0.1")
    summary, _ = tiny.train("digits", tmp_path, "--mod_scheme", scheme, "--num_epochs", "2", *more)
    assert list(summary["test_ap"]) == [str(digit) for digit in range(10)]


def test_digits_are_drawn_as_asked_and_the_draw_is_written_down(tmp_path):
    few = ("--ss_frac_train", "0.02", "--ss_frac_val", "0.1", "--num_epochs", "1")
    for flags, draw in {
        "": {"num_pos": 1, "num_neg": 0, "seed": 1200},
        "--fpc 40": {"fpc": 40, "seed": 1200},
        "--rps 0.3": {"rps": 0.3, "seed": 1200},
    }.items():
        words = ("--image_size", "24", *few, *flags.split())
        _, run_dir = tiny.train("digits", tmp_path / f"runs{flags}", *words)
        drawn = json.loads((run_dir / "config.json").read_text())["environment"]["drawn"]
        assert drawn == draw


@pytest.mark.parametrize("count", [5, 40, 10_000])
def test_as_many_labels_of_each_class_of_digits_are_kept_as_asked(count):
    train, val, test = load_data(parse_args(["--fpc", str(count)])).splits.values()
    whole_truth = np.concatenate([train.truth, val.truth])
    whole_observed = np.concatenate([train.observed, val.observed])
    for truth, observed in ((whole_truth, whole_observed), (test.truth, test.observed)):
        assert (observed[observed != 0] == truth[observed != 0]).all()
        for sign in (1, -1):
            kept = (observed == sign).sum(0)
            assert kept.tolist() == np.minimum(count, (truth == sign).sum(0)).tolist()


def test_each_label_of_digits_is_dropped_with_the_probability_asked_for():
    for split in load_data(parse_args(["--rps", "0.3"])).splits.values():
        dropped = split.observed == 0
        assert (split.observed == split.truth)[~dropped].all()
        for sign in (1, -1):
            assert dropped[split.truth == sign].mean() == pytest.approx(0.3, abs=0.04)


def test_one_class_and_one_image_in_the_last_batch(tmp_path):
    folder = tiny.make_folder(tmp_path, num_train=11)  # 9 to train on: batches of 4, 4, 1
    for part in ("train", "val"):
        for kind in ("labels", "labels_obs"):
            path = array_path(folder, part, kind)
            write_array(path, np.load(path)[:, :1])
    summary, _ = tiny.train(folder, tmp_path)
    assert list(summary["test_ap"]) == ["class 0"]


def test_a_missing_picture_stops_the_run_in_one_line(tmp_path):
    folder = tiny.make_folder(tmp_path)
    (folder / "train" / "03.png").unlink()
    for workers in ("0", "2"):
        with pytest.raises(UserError, match=r"03\.png is missing") as caught:
            tiny.train(folder, tmp_path / workers, "--num_workers", workers)
        assert "\n" not in str(caught.value)


def test_the_chosen_images_are_flipped():
    images = torch.arange(3 * 3 * 2 * 4).view(3, 3, 2, 4)
    flipped = training.flip(images, torch.tensor([True, False, True]))
    assert torch.equal(flipped[[0, 2]], images[[0, 2]].flip(-1))
    assert torch.equal(flipped[1], images[1])


def test_flips_are_drawn_for_half_of_the_images(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(training, "flip", lambda x, chosen: drawn.append(chosen) or x)
    tiny.train("digits", tmp_path, "--num_epochs", "1", "--ss_frac_train", "0.2", "--flip")
    assert 200 < torch.cat(drawn).sum() < 280, "of 480"


def test_load_run_gives_the_best_model_ready_to_use(folder, tmp_path):
    summary, run_dir = tiny.train(folder, tmp_path)
    model, config, classes = training.load_run(run_dir)
    assert not model.training
    assert config.run_dir == run_dir
    assert classes == tuple(summary["test_ap"])
    assert model(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).shape == (2, tiny.NUM_CLASSES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_a_gpu_trains_in_every_precision(folder, tmp_path, amp, optimizer):
    """In fp16 the first steps are skipped until the loss is scaled by less."""
    summary, _ = tiny.train(
        folder, tmp_path, "--device", "cuda", "--amp", amp, "--optimizer", optimizer
    )
    assert math.isfinite(summary["test_map"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_step_waits_for_the_gpu(folder, tmp_path, monkeypatch, scheme):
    """From the beginning of an epoch until what it summed up is read."""

    class Watched(training.LabelAudit):
        def __init__(self, device):
            super().__init__(device)
            torch.cuda.set_sync_debug_mode("error")

        def result(self, *args):
            torch.cuda.set_sync_debug_mode("default")
            return super().result(*args)

    monkeypatch.setattr(training, "LabelAudit", Watched)
    tiny.train(folder, tmp_path, "--device", "cuda", "--mod_scheme", scheme, "--flip", "true")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_deterministic_runs_on_a_gpu_are_the_same_stopped_or_not(
    folder, tmp_path, monkeypatch, scheme
):
    flags = ("--device", "cuda", "--deterministic", "--arch", "resnet18", "--image_size", "64",
             "--bsize", "8", "--mod_scheme", scheme)  # fmt: skip
    runs = [tiny.train(folder, tmp_path / name, *flags)[1] for name in ("first", "second")]
    stop_in(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        tiny.train(folder, tmp_path / "parts", *flags)
    monkeypatch.undo()
    runs.append(tiny.train(folder, tmp_path / "parts", *flags, "--resume")[1])
    first, *others = (load(run_dir / "last.pt") for run_dir in runs)
    for other in others:
        assert_same_tensors(other, first)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match="--device cuda"):
        find_hardware("cuda")
    with pytest.raises(UserError, match="--amp fp16"):
        find_hardware("cpu", amp="fp16")
