"""LinearInit: the head alone on fixed features, then all of it, each phase with its own epochs."""

import copy
import random
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import features
import result
import train as training
from cli import UserError
from instrumentation import draw_curves
from models import ImageClassifier
from tests import tiny
from tests.faults import Fault
from tests.kills import VARIANTS, Cell, kill_and_resume, make_reference
from tests.test_every_scheme import stop_in
from tests.test_train import metrics, poison_step
from tests.tiny import assert_same_tensors, load
from tools import evaluate

TWO_PHASES = ("--linear_init", "3", "--num_epochs", "2")
LINEAR_ALONE = ("--linear_init", "3", "--num_epochs", "0")


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """No picture of the curves, but where it is asked for: it takes longer than a tiny run."""
    monkeypatch.setattr(result, "draw_curves", lambda *args: None)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def folder(root):
    return tiny.make_folder(root)


@pytest.fixture
def train(folder, root, tmp_path):
    """A function that trains in tmp_path, or a folder there, with the features of all tests."""

    def run(*words, within=".", data_root=root):
        return tiny.train(folder, tmp_path / within, "--data_root", str(data_root), *words)

    return run


class Epoch(NamedTuple):
    """What there was before the steps of an epoch and after them."""

    phase: str
    epoch: int
    batch_size: int
    before: dict
    after: dict


@pytest.fixture
def epochs(monkeypatch):
    """Every epoch that is trained from now on."""
    one_epoch, seen = training.train_one_epoch, []
    parts = ("model", "scheme", "optimizer", "labels")

    def contents(state):
        return {part: copy.deepcopy(getattr(state, part).state_dict()) for part in parts}

    def watched(state, images, epoch, *rest):
        before = contents(state)
        audit = one_epoch(state, images, epoch, *rest)
        batch_size = images.batch_sampler.batch_size
        seen.append(Epoch(state.phase.name, epoch, batch_size, before, contents(state)))
        return audit

    monkeypatch.setattr(training, "train_one_epoch", watched)
    return seen


def column(run_dir, name, kind=float):
    return [kind(row[name]) for row in metrics(run_dir)]


def head_of(model):
    return {key: value for key, value in model.items() if key.startswith("head.")}


def backbone_of(model):
    return {key: value for key, value in model.items() if not key.startswith("head.")}


def validate(monkeypatch, maps):
    """Let these be the val mAPs, epoch by epoch."""
    left = iter(maps)
    monkeypatch.setattr(
        training, "_validate", lambda run: {"val_map": next(left), "val_map_observed": 50.0}
    )


# what begins anew and what goes on


@pytest.mark.parametrize(
    ("scheme", "rates"), [("LL-R", (0, 0.1, 0.2, 0, 0.1)), ("LL-Cp", (0, 0.1, 0.1, 0, 0.1))]
)
def test_the_epochs_of_each_phase_count_from_1(train, scheme, rates):
    _, run_dir = train("--mod_scheme", scheme, *TWO_PHASES)
    assert column(run_dir, "phase", str) == ["linear"] * 3 + ["finetune"] * 2
    assert column(run_dir, "epoch", int) == [1, 2, 3, 1, 2]
    assert column(run_dir, "rate") == pytest.approx(rates)
    assert [count > 0 for count in column(run_dir, "selected")] == [rate > 0 for rate in rates]


def test_corrections_of_the_linear_phase_are_dropped(train, epochs):
    _, run_dir = train("--mod_scheme", "LL-Cp", *TWO_PHASES)
    corrected = [int(epoch.after["labels"]["corrected"].sum()) for epoch in epochs]
    selected = column(run_dir, "selected", int)
    assert corrected[:3] == np.cumsum(selected[:3]).tolist()
    assert corrected[2] > 0
    assert not epochs[3].before["labels"]["corrected"].any()
    kept = load(run_dir / "last.pt")["labels"]["corrected"]
    assert int(kept.sum()) == corrected[-1] == sum(selected[3:]) > 0


def test_soft_labels_of_the_linear_phase_are_dropped(train, epochs):
    train("--mod_scheme", "EM+APL", "--apl_start", "1", *TWO_PHASES)
    given = [float((epoch.before["scheme"]["soft_labels"] >= 0).float().mean()) for epoch in epochs]
    assert [share > 0 for share in given] == [False, True, True, False, True]


@pytest.mark.parametrize("first", ["same", "AN"])
def test_labels_that_the_linear_phase_has_estimated_go_on(train, epochs, first):
    """With another scheme there, ROLE starts as it would without a linear phase."""
    words = ("--mod_scheme", "ROLE", "--expected_positives", "2", *TWO_PHASES)
    train(*words, "--linear_scheme", first)
    begun = epochs[3].before["scheme"]["estimator"]
    if first == "same":
        assert torch.equal(begun, epochs[2].after["scheme"]["estimator"])
        assert not torch.equal(begun, epochs[0].before["scheme"]["estimator"])
    else:
        train(*words, "--linear_init", "0", within="end to end")
        assert torch.equal(begun, epochs[5].before["scheme"]["estimator"])
    assert not torch.equal(begun, epochs[4].after["scheme"]["estimator"])


@pytest.mark.parametrize("best", [1, 2, 3])
def test_fine_tuning_starts_from_the_best_head_of_the_linear_phase(
    train, epochs, monkeypatch, best
):
    validate(monkeypatch, [50.0 + (epoch == best) for epoch in (1, 2, 3, 4, 5)])
    train(*TWO_PHASES)
    start = epochs[3].before
    assert_same_tensors(head_of(start["model"]), head_of(epochs[best - 1].after["model"]))
    assert not torch.equal(start["model"]["head.weight"], epochs[0].before["model"]["head.weight"])
    assert start["optimizer"]["state"] == {}


def test_a_run_that_is_resumed_at_the_border_has_the_best_head_too(train, epochs, monkeypatch):
    maps = [50.0, 60.0, 55.0, 40.0, 30.0]
    validate(monkeypatch, maps)
    _, whole = train(*TWO_PHASES, within="whole")
    with monkeypatch.context() as patch:
        validate(patch, maps)
        stop_in(patch, "finetune", 1)
        with pytest.raises(KeyboardInterrupt):
            train(*TWO_PHASES, within="parts")
    validate(monkeypatch, maps[3:])
    _, parts = train(*TWO_PHASES, "--resume", within="parts")
    assert_same_tensors(load(parts / "last.pt"), load(whole / "last.pt"))
    assert_same_tensors(head_of(epochs[-2].before["model"]), head_of(epochs[1].after["model"]))


def test_the_backbone_stands_still_in_the_linear_phase_and_learns_in_fine_tuning(train, epochs):
    """Its batch norms too, to the bit."""
    train(*TWO_PHASES)
    start = backbone_of(epochs[0].before["model"])
    assert_same_tensors(backbone_of(epochs[2].after["model"]), start)
    assert all(group["name"] != "backbone" for group in _groups(epochs[0]))
    end = backbone_of(epochs[-1].after["model"])
    assert [key for key in start if torch.equal(start[key], end[key])] == []
    assert {int(end[key]) for key in end if key.endswith("num_batches_tracked")} == {2 * 6}


def _groups(epoch):
    return epoch.before["optimizer"]["param_groups"]


def test_a_frozen_backbone_stays_frozen_after_the_linear_phase(train, epochs):
    train("--freeze_feature_extractor", *TWO_PHASES)
    start, end = epochs[0].before["model"], epochs[-1].after["model"]
    assert_same_tensors(backbone_of(end), backbone_of(start))
    assert not torch.equal(end["head.weight"], epochs[2].after["model"]["head.weight"])


# which epoch is the result


def test_the_best_epoch_is_one_of_the_last_phase(train, epochs, monkeypatch):
    validate(monkeypatch, [99.0, 98.0, 97.0, 60.0, 50.0])
    summary, run_dir = train(*TWO_PHASES)
    assert (summary["best_epoch"], summary["val_map"], summary["epochs_run"]) == (1, 60.0, 2)
    best = load(run_dir / "bestmodel.pt")
    assert best["epoch"] == 1
    assert_same_tensors(best["model"], epochs[3].after["model"])
    assert (run_dir / "train.log").read_text().splitlines()[-1].endswith("until epoch 1")


def test_there_is_no_best_model_before_fine_tuning(train, tmp_path, monkeypatch):
    stop_in(monkeypatch, "finetune", 1)
    with pytest.raises(KeyboardInterrupt):
        train(*TWO_PHASES)
    assert not (tmp_path / "run" / "bestmodel.pt").exists()


def test_without_fine_tuning_the_best_linear_epoch_is_the_result(
    train, root, epochs, monkeypatch, capsys
):
    validate(monkeypatch, [50.0, 70.0, 60.0])
    summary, run_dir = train(*LINEAR_ALONE)
    assert (summary["best_epoch"], summary["epochs_run"], summary["num_epochs"]) == (2, 3, 0)
    assert column(run_dir, "phase", str) == ["linear"] * 3
    model, _, _ = training.load_run(run_dir)
    assert_same_tensors(dict(model.state_dict()), dict(epochs[1].after["model"]))
    assert not torch.equal(model.head.weight, epochs[2].after["model"]["head.weight"])
    capsys.readouterr()
    evaluate.main([str(run_dir)])
    measured = float(capsys.readouterr().out.splitlines()[-1].split()[3])
    assert measured == pytest.approx(summary["test_map"], abs=1e-3)


@pytest.mark.parametrize("scheme", ["LL-Cp", "ROLE"])
def test_use_feats_is_a_linear_phase_alone(train, scheme):
    own = ("--expected_positives", "2") if scheme == "ROLE" else ()
    words = ("--mod_scheme", scheme, *own, "--lr", "0.002", "--lr_mult", "3")
    first, feats = train(*words, "--use_feats", "--num_epochs", "3", within="feats")
    second, linear = train(*words, *LINEAR_ALONE, within="linear")
    assert_same_tensors(load(feats / "last.pt"), load(linear / "last.pt"))
    assert_same_tensors(load(feats / "bestmodel.pt"), load(linear / "bestmodel.pt"))
    assert metrics(feats) == metrics(linear)
    assert first["test_ap"] == second["test_ap"]
    assert column(linear, "lr") == pytest.approx([0.006] * 3)


# the settings of the linear phase


def test_the_linear_phase_may_assume_negatives_before_another_scheme(train, epochs):
    _, run_dir = train("--linear_scheme", "AN", *TWO_PHASES, within="mixed")
    train("--mod_scheme", "AN", *TWO_PHASES, within="plain")
    mixed, plain = epochs[:5], epochs[5:]
    for ours, theirs in zip(mixed[:3], plain[:3], strict=True):
        assert_same_tensors(ours.after, theirs.after)
    assert column(run_dir, "rate") == pytest.approx([0, 0, 0, 0, 0.1])
    assert column(run_dir, "selected", int)[:4] == [0, 0, 0, 0]
    assert column(run_dir, "selected", int)[4] > 0
    assert not torch.equal(
        mixed[4].after["model"]["head.weight"], plain[4].after["model"]["head.weight"]
    )


def test_corrections_of_a_scheme_come_after_a_linear_phase_without_any(train, epochs):
    train("--linear_scheme", "AN", "--mod_scheme", "LL-Cp", *TWO_PHASES)
    corrected = [int(epoch.after["labels"]["corrected"].sum()) for epoch in epochs]
    assert [count > 0 for count in corrected] == [False] * 4 + [True]


def test_the_linear_phase_has_a_learning_rate_and_a_batch_of_its_own(train, epochs):
    words = ("--lr", "0.002", "--lr_mult", "5", "--bsize", "4", *TWO_PHASES)
    _, usual = train(*words, within="usual")
    _, own = train(*words, "--linear_lr", "0.03", "--linear_bsize", "12", within="own")
    assert column(usual, "lr") == pytest.approx([0.01] * 3 + [0.002] * 2)
    assert column(own, "lr") == pytest.approx([0.03] * 3 + [0.002] * 2)
    rates = [{group["name"]: group["lr"] for group in _groups(epoch)} for epoch in epochs]
    tuned = {"backbone": 0.002, "head": 0.01}
    assert rates == [{"head": 0.01}] * 3 + [tuned] * 2 + [{"head": 0.03}] * 3 + [tuned] * 2
    assert [epoch.batch_size for epoch in epochs] == [4] * 5 + [12] * 3 + [4] * 2


def test_a_step_of_the_linear_phase_by_hand(train, epochs, folder):
    """One batch of all images, one epoch of plain SGD on the un-augmented features."""
    words = ("--optimizer", "sgd", "--momentum", "0", "--weight_decay", "0", "--mod_scheme", "AN")
    more = ("--linear_init", "1", "--linear_lr", "0.5", "--linear_bsize", "24", "--num_epochs", "0")
    train(*words, *more, "--flip")
    before, after = head_of(epochs[0].before["model"]), head_of(epochs[0].after["model"])
    from datasets import load_data

    data = load_data(tiny.settings(folder, "unused")).train
    images = torch.stack([data.images.__getitems__([i])[0][0] for i in range(24)])
    torch.manual_seed(0)
    model = training.build_model("resnet8", tiny.NUM_CLASSES, image_size=16).eval()
    with torch.inference_mode():
        rows = model.features(images)
    weight = before["head.weight"].clone().requires_grad_()
    logits = rows.clone() @ weight.T + before["head.bias"]
    target = torch.from_numpy(data.observed == 1).float()
    torch.nn.functional.binary_cross_entropy_with_logits(logits, target).backward()
    torch.testing.assert_close(after["head.weight"], weight.detach() - 0.5 * weight.grad)


def test_a_linear_phase_that_stops_early_goes_on_to_fine_tuning(train, monkeypatch):
    maps = [50.0, 60.0, 56.0, 40.0, 70.0]
    validate(monkeypatch, maps)
    words = ("--linear_init", "9", "--num_epochs", "2", "--early_stop_drop", "3")
    summary, run_dir = train(*words, within="whole")
    assert column(run_dir, "phase", str) == ["linear"] * 3 + ["finetune"] * 2
    assert summary["best_epoch"] == 2
    with monkeypatch.context() as patch:
        validate(patch, maps)
        stop_in(patch, "finetune", 1)
        with pytest.raises(KeyboardInterrupt):
            train(*words, within="parts")
    validate(monkeypatch, maps[3:])
    _, parts = train(*words, "--resume", within="parts")
    assert_same_tensors(load(parts / "last.pt"), load(run_dir / "last.pt"))


# features are extracted once


def refuse(*args):
    raise AssertionError("the features are there already")


def test_the_runs_of_a_sweep_share_the_features(train, tmp_path, monkeypatch):
    words = ("--mod_scheme", "LL-Cp", "--delta_rel", "20", "--lr", "0.003", *LINEAR_ALONE)
    _, alone = train(*words, within="alone", data_root=tmp_path / "empty")
    train(*LINEAR_ALONE, within="first", data_root=tmp_path / "shared")
    monkeypatch.setattr(ImageClassifier, "features", refuse)
    _, second = train(*words, within="second", data_root=tmp_path / "shared")
    assert_same_tensors(load(second / "last.pt"), load(alone / "last.pt"))
    assert metrics(second) == metrics(alone)
    train(*LINEAR_ALONE, "--split_seed", "7", within="cut", data_root=tmp_path / "shared")
    assert len(list((tmp_path / "shared" / "cache").glob("*.npy"))) == 2
    with pytest.raises(AssertionError, match="there already"):  # by another backbone they are not
        train(*LINEAR_ALONE, "--seed", "1", within="seed", data_root=tmp_path / "shared")


def test_fine_tuning_after_shared_features_is_the_same_to_the_bit(train, tmp_path, monkeypatch):
    _, alone = train(*TWO_PHASES, within="alone", data_root=tmp_path / "empty")
    train("--mod_scheme", "ASL", *LINEAR_ALONE, within="first", data_root=tmp_path / "shared")
    monkeypatch.setattr(features, "_extracted", refuse)
    _, second = train(*TWO_PHASES, within="second", data_root=tmp_path / "shared")
    for name in ("last.pt", "bestmodel.pt"):
        assert_same_tensors(load(second / name), load(alone / name))
    assert metrics(second) == metrics(alone)


@pytest.mark.parametrize("epoch", [1, 2])
def test_resuming_in_fine_tuning_needs_no_features(train, monkeypatch, epoch):
    with monkeypatch.context() as patch:
        stop_in(patch, "finetune", epoch)
        with pytest.raises(KeyboardInterrupt):
            train(*TWO_PHASES)
    monkeypatch.setattr("build.features_of", refuse)
    train(*TWO_PHASES, "--resume")


# stopped, killed, resumed


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a fork server")
@pytest.mark.parametrize(
    "strike",
    [Fault("last.pt", "half", 1), Fault("last.pt", "renamed", 2), Fault("last.pt", "rename", 4)],
    ids=["in the linear phase", "at its end", "in fine-tuning"],
)
def test_a_killed_run_ends_as_if_undisturbed(reference, tmp_path, strike):
    trial = kill_and_resume(reference, tmp_path, [strike], random.Random(0))
    assert trial.kills == ["last.pt"]
    assert trial.faults == []


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An undisturbed run of both phases, with corrections in each."""
    root = tmp_path_factory.mktemp("reference")
    words = ("--linear_init", "3", "--num_epochs", "2", "--data_root", str(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "LinearInit", " ".join(words))
        yield make_reference(Cell("LL-Cp", "LinearInit"), tiny.make_folder(root), root)


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(train, tmp_path, monkeypatch):
    """last.pt of the first fine-tuning epoch is damaged: it goes on from the linear phase."""
    _, whole = train(*TWO_PHASES, within="whole")
    with monkeypatch.context() as patch:
        stop_in(patch, "finetune", 2)
        with pytest.raises(KeyboardInterrupt):
            train(*TWO_PHASES)
    last = tmp_path / "run" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with monkeypatch.context() as patch:
        stop_in(patch, "finetune", 2)
        with pytest.raises(KeyboardInterrupt):
            train(*TWO_PHASES, "--resume")
    assert load(last)["rows"][-1]["epoch"] == 1
    assert load(tmp_path / "run" / "last.previous.pt")["rows"][-1]["phase"] == "linear"
    _, parts = train(*TWO_PHASES, "--resume")
    for name in ("last.pt", "bestmodel.pt"):
        assert_same_tensors(load(parts / name), load(whole / name))


def test_more_epochs_may_be_asked_for_after_a_linear_phase(train):
    more = (*TWO_PHASES[:2], "--num_epochs", "3")
    train(*TWO_PHASES, within="grown")
    _, grown = train(*more, "--resume", within="grown")
    _, whole = train(*more, within="whole")
    for name in ("last.pt", "bestmodel.pt"):
        assert_same_tensors(load(grown / name), load(whole / name))
    assert metrics(grown) == metrics(whole)
    with pytest.raises(UserError, match="has --linear_init 3, not --linear_init 4"):
        train("--linear_init", "4", "--num_epochs", "3", "--resume", within="grown")


def test_more_epochs_are_refused_where_they_would_change_the_ones_before(train):
    words = ("--mod_scheme", "EM+APL", "--apl_start", "1")
    train(*words, *TWO_PHASES, within="apl")
    with pytest.raises(UserError, match="has --num_epochs 2, not --num_epochs 3"):
        train(*words, *TWO_PHASES[:2], "--num_epochs", "3", "--resume", within="apl")
    train(*LINEAR_ALONE, within="linear")
    with pytest.raises(UserError, match="has --num_epochs 0, not --num_epochs 2"):
        train(*TWO_PHASES, "--resume", within="linear")


@pytest.mark.parametrize("words", [TWO_PHASES, LINEAR_ALONE])
def test_resuming_a_finished_run_repeats_its_result(train, monkeypatch, capsys, words):
    summary, _ = train("--mod_scheme", "LL-Cp", *words)
    last_line = capsys.readouterr().out.splitlines()[-1]
    monkeypatch.setattr(training, "set_up", refuse)
    assert train("--mod_scheme", "LL-Cp", *words, "--resume")[0] == summary
    assert capsys.readouterr().out.splitlines() == [last_line]


def test_a_lost_best_model_is_had_again_from_the_checkpoint_of_its_phase(train, monkeypatch):
    """The run was killed between last.pt and bestmodel.pt of the first fine-tuning epoch."""
    maps = [90.0, 91.0, 92.0, 70.0, 60.0]
    with monkeypatch.context() as patch:
        validate(patch, maps)
        summary, whole = train(*TWO_PHASES, within="whole")
        validate(patch, maps)
        stop_in(patch, "finetune", 2)
        with pytest.raises(KeyboardInterrupt):
            train(*TWO_PHASES, within="parts")
    (whole.parents[1] / "parts" / "run" / "bestmodel.pt").unlink()
    validate(monkeypatch, maps[4:])
    same, parts = train(*TWO_PHASES, "--resume", within="parts")
    assert_same_tensors(same, summary)
    assert_same_tensors(load(parts / "bestmodel.pt"), load(whole / "bestmodel.pt"))


def test_an_overwritten_run_stands_until_the_first_linear_epoch_is_finished(
    train, tmp_path, monkeypatch
):
    train("--num_epochs", "2")
    run_dir = tmp_path / "run"
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    words = ("--mod_scheme", "LL-Ct", *TWO_PHASES)
    with monkeypatch.context() as patch:
        stop_in(patch, "linear", 1)
        with pytest.raises(KeyboardInterrupt):
            train(*words, "--overwrite")
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before
    with monkeypatch.context() as patch:
        stop_in(patch, "linear", 2)
        with pytest.raises(KeyboardInterrupt):
            train(*words, "--overwrite")
    assert column(run_dir, "phase", str) == ["linear"]
    assert not (run_dir / "bestmodel.pt").exists()
    assert not (run_dir / "summary.json").exists()
    train(*words, "--resume")
    _, whole = train(*words, within="whole")
    assert_same_tensors(load(run_dir / "last.pt"), load(whole / "last.pt"))
    assert metrics(run_dir) == metrics(whole)


# what people are told


@pytest.mark.parametrize(
    ("stop", "kept"),
    [
        (("linear", 1), "no epoch is finished yet: the same command starts anew"),
        (("linear", 3), "epochs 1 to 2 of the linear phase are kept: "),
        (("finetune", 1), "epochs 1 to 3 of the linear phase are kept: "),
        (("finetune", 2), "epochs 1 to 1 of the finetune phase are kept: "),
    ],
)
def test_ctrl_c_says_in_which_phase_the_run_stopped(train, monkeypatch, capsys, stop, kept):
    stop_in(monkeypatch, *stop)
    with pytest.raises(KeyboardInterrupt):
        train(*TWO_PHASES)
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith(f"stopped, {kept}")
    started = [line.split()[:2] for line in said if line.endswith(" s")]
    assert started == [["linear", "epoch"]] * min(3, len(started)) + [["epoch", "1/2"]] * (
        len(started) - 3
    )
    monkeypatch.undo()
    monkeypatch.setattr(result, "draw_curves", lambda *args: None)
    train(*TWO_PHASES, "--resume")
    resumed = "resumed after epoch {1} of the {0} phase (last.pt)"
    printed = capsys.readouterr().out
    assert (resumed.format(stop[0], stop[1] - 1) in printed) == (stop[1] > 1)


def test_a_loss_that_is_no_number_in_the_linear_phase_names_its_flag(train, monkeypatch):
    poison_step(monkeypatch, 6 + 2, lambda logits: logits * float("nan"))
    with pytest.raises(
        UserError, match=r"^epoch 2, step 2 of 6: the loss is nan: lower --linear_lr \(it is 0.01\)"
    ):
        train(*TWO_PHASES)


def test_curves_show_the_linear_phase_on_a_grey_ground(train, monkeypatch):
    monkeypatch.setattr(result, "draw_curves", draw_curves)
    grey = {}
    for words in (TWO_PHASES, TWO_PHASES[2:]):
        _, run_dir = train("--mod_scheme", "LL-Cp", *words, within=str(len(words)))
        with Image.open(run_dir / "curves.png") as image:
            grey[words] = (np.array(image.convert("L")) == round(0.94 * 255)).mean()
    assert grey[TWO_PHASES[2:]] < 0.001
    assert grey[TWO_PHASES] > 0.2


def test_tensorboard_has_a_step_for_each_epoch_of_both_phases(train):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    _, run_dir = train("--tensorboard", *TWO_PHASES)
    (events,) = (run_dir / "tensorboard").iterdir()
    steps = {}
    for event in loader.EventFileLoader(str(events)).Load():
        for value in event.summary.value:
            steps.setdefault(value.tag, []).append(event.step)
    assert steps["val_map"] == steps["lr"] == [1, 2, 3, 4, 5]
