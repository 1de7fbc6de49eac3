"""Checkpoints: everything comes back, damage is survived, only a run's own files are removed."""

import math
import os

import numpy as np
import pytest
import torch
from torch import nn

import checkpoint
from checkpoint import State, read_best, read_checkpoint, restore_best
from cli import UserError
from folder import BEST, LAST, PREVIOUS
from label_store import LabelStore
from losses import build_scheme
from models import ImageClassifier, load_tensors, parameter_groups
from phases import FINETUNE, LINEAR, Phase
from record import METRICS
from tests.tiny import assert_same_tensors

HUMAN = np.eye(6, 3, dtype=np.int8)
IMAGES = torch.randint(
    0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
TUNED = Phase(FINETUNE, epochs=9, lr=0.01, lr_mult=10.0, bsize=6, scheme="LL-Cp")
HEAD = TUNED._replace(name=LINEAR, lr=0.1, lr_mult=1.0)
ROW = dict.fromkeys(METRICS) | {"phase": FINETUNE}


def new_state(optimizer="adam", seed=0, phase=TUNED, rows=()):
    """A small LL-Cp run before the first epoch of a phase."""
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    model = ImageClassifier(backbone, num_features=4, num_classes=3)
    scheme = build_scheme("LL-Cp", num_classes=3, delta_rel=20)
    model.freeze(phase.is_linear)
    groups = parameter_groups(model, scheme, phase.lr, phase.lr_mult)
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    options = {"momentum": 0.9} if optimizer == "sgd" else {}
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    labels = LabelStore(HUMAN, None)
    made = kinds[optimizer](groups, **options)
    return State(phase, model, model, model, scheme, made, scaler, labels, list(rows))


def train(state, epochs=1):
    """Epochs of one step each, with a correction of labels and a row of metrics.csv."""
    index = torch.arange(6)
    for _ in range(epochs):
        epoch = state.epoch + 1
        state.model.train()
        out = state.scheme(
            state.net(IMAGES), state.labels.observed(index), epoch=epoch, index=index
        )
        state.optimizer.zero_grad()
        out.loss.backward()
        state.optimizer.step()
        state.labels.correct(index, out.selected)
        facts = {"epoch": epoch, "phase": state.phase.name, "train_loss": out.loss.item()}
        state.rows.append(dict.fromkeys(METRICS) | facts)
    return state


def take_up(state, folder):
    """Go on from the folder's checkpoint; the result is its name."""
    found = read_checkpoint(folder)
    state.take(found)
    return found.path.name


def everything(state):
    """What training has changed, as plain values."""
    optimizer = state.optimizer.state_dict()
    moments = [
        value.tolist() if isinstance(value, torch.Tensor) else value
        for values in optimizer["state"].values()
        for value in values.values()
    ]
    return (
        {key: value.tolist() for key, value in state.model.state_dict().items()},
        moments,
        state.labels.observed(torch.arange(6)).tolist(),
        state.rows,
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_goes_on_exactly(tmp_path, optimizer):
    """Two epochs, a checkpoint and two more in a new process give what four epochs give."""
    first = train(new_state(optimizer), 2)
    first.save(tmp_path)
    second = new_state(optimizer, seed=1)
    assert take_up(second, tmp_path) == LAST
    assert everything(second) == everything(first)
    assert second.epoch == 2
    assert everything(train(second, 2)) == everything(train(first, 2))
    assert first.labels.observed(torch.arange(6)).sum() > HUMAN.sum()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("there", "here"), [(True, None), (None, True), (True, False)])
def test_a_run_goes_on_on_another_device(tmp_path, optimizer, there, here):
    """On a GPU the optimizer is fused, on a CPU it is not: to go on, it is as it is here."""
    first = train(new_state(optimizer), 2)
    for group in first.optimizer.param_groups:
        group["fused"] = there
    first.save(tmp_path)
    second = new_state(optimizer, seed=1)
    for group in second.optimizer.param_groups:
        group["fused"] = here
    take_up(second, tmp_path)
    assert {group["fused"] for group in second.optimizer.param_groups} == {here}
    assert everything(second) == everything(first)
    train(second, 1)


def test_nothing_there_is_no_checkpoint(tmp_path):
    assert read_checkpoint(tmp_path) is None


def test_checkpoints_are_tensors_and_plain_values(tmp_path):
    state = train(new_state(), 2)
    state.save(tmp_path)
    content = torch.load(tmp_path / LAST, weights_only=True)
    assert content["rows"] == state.rows
    assert {"model", "scheme", "optimizer", "scaler", "labels"} <= content.keys()
    state.save_model(tmp_path / BEST, ("a", "b", "c"))
    best = torch.load(tmp_path / BEST, weights_only=True)
    assert (best["classes"], best["epoch"]) == (["a", "b", "c"], 2)
    other = new_state(seed=1)
    other.model.load_state_dict(best["model"])
    assert everything(other)[0] == everything(state)[0]


def saved_run(folder, epochs=2):
    """A folder with the checkpoints of the last two epochs; what each of them holds."""
    state, held = new_state(), []
    for _ in range(epochs):
        train(state).save(folder)
        held.append(everything_of(folder))
    return held


def everything_of(folder):
    state = new_state(seed=1)
    take_up(state, folder)
    return everything(state)


def test_the_checkpoint_before_is_kept(tmp_path):
    first, second, third = saved_run(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, LAST]
    assert [len(load_tensors(tmp_path / name)["rows"]) for name in (LAST, PREVIOUS)] == [3, 2]
    assert everything_of(tmp_path) == third != second != first


def damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "of zeros":
        path.write_bytes(bytes(path.stat().st_size))
    else:
        path.write_bytes(b"some text\n")


DAMAGES = ["missing", "empty", "cut off", "of zeros", "of something else"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, how):
    first, _ = saved_run(tmp_path)
    damage(tmp_path / LAST, how)
    state = new_state(seed=1)
    assert take_up(state, tmp_path) == PREVIOUS
    assert state.last_is_damaged == (how != "missing")
    assert everything(state) == first


@pytest.mark.parametrize("how", DAMAGES[1:])
def test_two_damaged_checkpoints_cost_one_line(tmp_path, how):
    saved_run(tmp_path)
    for name in (LAST, PREVIOUS):
        damage(tmp_path / name, how)
    with pytest.raises(UserError, match=f"{tmp_path}: .*{LAST} and {PREVIOUS}.*--overwrite") as e:
        read_checkpoint(tmp_path)
    assert len(str(e.value).splitlines()) == 1


def test_a_failed_save_leaves_a_checkpoint(tmp_path, monkeypatch):
    _, second = saved_run(tmp_path)
    state = new_state(seed=1)
    take_up(state, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match="No space left on device"):
            train(state).save(tmp_path)
    assert everything_of(tmp_path) == second


def test_a_damaged_checkpoint_never_displaces_the_good_one_before(tmp_path, monkeypatch):
    """The run fell back, trained an epoch, and the disk is full when that is to be saved."""
    first, _ = saved_run(tmp_path)
    damage(tmp_path / LAST, "cut off")
    state = new_state(seed=1)
    take_up(state, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match="No space left on device"):
            train(state).save(tmp_path)
    assert everything_of(tmp_path) == first


def fail(descriptor):
    raise OSError(28, "No space left on device")


def test_a_checkpoint_of_other_data_costs_one_line(tmp_path):
    """The data set was prepared anew between two sessions, and has an image more."""
    train(new_state()).save(tmp_path)
    state = new_state()
    state.labels = LabelStore(np.eye(7, 3, dtype=np.int8), None)
    with pytest.raises(UserError, match=LAST) as caught:
        take_up(state, tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_best_model_is_no_checkpoint(tmp_path):
    train(new_state()).save_model(tmp_path / LAST, ("a", "b", "c"))
    with pytest.raises(UserError, match=LAST):
        take_up(new_state(), tmp_path)


def test_a_payload_in_a_checkpoint_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model": Payload()}, tmp_path / LAST)
    with pytest.raises(UserError, match="damaged"):
        take_up(new_state(), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_cannot_be_written_costs_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        checkpoint.save_tensors(tmp_path / "file" / LAST, {"a": torch.ones(1)})


def test_a_single_flipped_bit_is_noticed(tmp_path):
    """PyTorch itself reads on: it does not look at the checksums."""
    first, _ = saved_run(tmp_path)
    content = bytearray((tmp_path / LAST).read_bytes())
    weights = load_tensors(tmp_path / LAST)["model"]["backbone.0.weight"]
    at = content.index(weights.numpy().tobytes())
    content[at + 2] ^= 1
    (tmp_path / LAST).write_bytes(content)
    torch.load(tmp_path / LAST, weights_only=True)
    state = new_state(seed=1)
    assert take_up(state, tmp_path) == PREVIOUS
    assert state.last_is_damaged
    assert everything(state) == first


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "nonsense"},
        {"rows": [1, 2]},
        {"rows": []},
        {"rows": [{"epoch": 1}]},
        {"rows": [ROW | {"epoch": 2}]},
        {"rows": [ROW | {"epoch": 1, "val_map": "x"}]},
        {"rows": [ROW | {"epoch": 1, "seconds": math.nan}]},
        {"rows": [ROW | {"epoch": 1, "phase": [1]}]},
        {"rows": [ROW | {"epoch": 1}, ROW | {"epoch": 3}]},
        {"rows": [ROW | {"epoch": 1, "phase": LINEAR}, ROW | {"epoch": 2}]},
        {"model": 5},
        {"model": {}},
        {"labels": []},
        {"labels": {"corrected": 5}},
        {"scaler": 5, "scheme": None},
        {"optimizer": {"state": 5, "param_groups": []}},
    ],
)
def test_a_crafted_checkpoint_costs_one_line(tmp_path, change):
    train(new_state()).save(tmp_path)
    checkpoint.save_tensors(tmp_path / LAST, {**load_tensors(tmp_path / LAST), **change})
    with pytest.raises(UserError, match=r"last.pt does not fit this run"):
        take_up(new_state(), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["optimizer"]["state"][0].update(exp_avg=torch.zeros(7)),
        lambda content: content["optimizer"]["state"][0].pop("exp_avg"),
        lambda content: content["optimizer"]["state"][0]["step"].fill_(math.inf),
        lambda content: content["optimizer"]["param_groups"][0].update(lr="x"),
        lambda content: content["optimizer"]["param_groups"][0].pop("betas"),
        lambda content: content["model"]["head.weight"].fill_(math.nan),
    ],
)
def test_what_pytorch_takes_up_and_fails_on_later_costs_one_line(tmp_path, change):
    train(new_state()).save(tmp_path)
    content = load_tensors(tmp_path / LAST)
    change(content)
    checkpoint.save_tensors(tmp_path / LAST, content)
    with pytest.raises(UserError, match=r"last.pt does not fit this run"):
        take_up(new_state(), tmp_path)


def test_the_best_model_comes_back(tmp_path):
    state = train(new_state())
    state.save_model(tmp_path / BEST, ("a", "b", "c"))
    best = read_best(tmp_path)
    assert (best.classes, best.epoch) == (("a", "b", "c"), 1)
    other = new_state(seed=1)
    best.fill(other.model)
    assert everything(other)[0] == everything(state)[0]


@pytest.mark.parametrize(
    "change", [{"classes": "abc"}, {"classes": []}, {"classes": [1]}, {"model": 1}, {"epoch": None}]
)
def test_a_crafted_best_model_costs_one_line(tmp_path, change):
    state = train(new_state())
    state.save_model(tmp_path / BEST, ("a", "b", "c"))
    checkpoint.save_tensors(tmp_path / BEST, {**load_tensors(tmp_path / BEST), **change})
    with pytest.raises(UserError, match=r"bestmodel.pt is not what a run writes"):
        read_best(tmp_path)


def test_a_best_model_of_another_architecture_costs_one_line(tmp_path):
    checkpoint.save_tensors(
        tmp_path / BEST, {"model": {"a": torch.ones(1)}, "classes": ["a"], "epoch": 1}
    )
    with pytest.raises(UserError, match=r"bestmodel.pt does not fit"):
        read_best(tmp_path).fill(new_state().model)


def test_the_best_model_is_restored_from_the_checkpoint_of_its_epoch(tmp_path):
    state, classes = new_state(), ("a", "b", "c")
    for _ in range(3):
        train(state).save(tmp_path)
    for epoch in (3, 2):
        assert restore_best(state, tmp_path, epoch, classes)
        name = LAST if epoch == 3 else PREVIOUS
        restored, checkpoint_of_it = load_tensors(tmp_path / BEST), load_tensors(tmp_path / name)
        assert_same_tensors(restored["model"], checkpoint_of_it["model"])
        assert (restored["epoch"], restored["classes"]) == (epoch, list(classes))
    assert not restore_best(state, tmp_path, 1, classes)
    (tmp_path / PREVIOUS).write_bytes(b"")
    assert not restore_best(state, tmp_path, 2, classes)


def test_room_is_made_once_the_new_checkpoint_is_on_the_disk(tmp_path):
    """A run that is overwritten stands until then."""
    state, seen = new_state(), []
    (tmp_path / "summary.json").touch()

    def make_room():
        seen.append(sorted(path.suffix for path in tmp_path.iterdir()))
        (tmp_path / "summary.json").unlink()

    train(state).save(tmp_path, make_room)
    assert seen == [[".json", ".tmp"]]
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


# Two phases


def two_phases(folder, linear=2, tuned=2):
    """A run with so many saved epochs of either phase, and the state that it ends in."""
    state = new_state(phase=HEAD)
    for _ in range(linear):
        train(state).save(folder)
    after = new_state(seed=1, rows=state.rows)
    after.model.load_state_dict(state.model.state_dict())
    for _ in range(tuned):
        train(after).save(folder)
    return after


def test_the_epochs_of_each_phase_count_from_1(tmp_path):
    state = two_phases(tmp_path)
    found = read_checkpoint(tmp_path)
    rows = [(row["phase"], row["epoch"]) for row in found.content["rows"]]
    assert rows == [(LINEAR, 1), (LINEAR, 2), (FINETUNE, 1), (FINETUNE, 2)]
    assert found.phase == FINETUNE
    again = new_state(seed=2)
    again.take(found)
    assert (again.epoch, again.kept, len(again.phase_rows)) == (2, 4, 2)
    assert everything(again) == everything(state)


def test_a_phase_that_is_under_way_is_gone_on_with(tmp_path):
    first = new_state(phase=HEAD)
    train(first).save(tmp_path)
    second = new_state(seed=1, phase=HEAD)
    assert read_checkpoint(tmp_path).phase == LINEAR
    take_up(second, tmp_path)
    assert everything(train(second, 2)) == everything(train(first, 2))


def test_a_damaged_first_epoch_of_fine_tuning_falls_back_to_the_linear_phase(tmp_path):
    two_phases(tmp_path, tuned=0)
    held = load_tensors(tmp_path / LAST)
    two_phases(tmp_path, tuned=1)
    damage(tmp_path / LAST, "cut off")
    found = read_checkpoint(tmp_path)
    assert (found.path.name, found.phase, found.last_is_damaged) == (PREVIOUS, LINEAR, True)
    state = new_state(seed=2, phase=HEAD)
    state.take(found)
    assert (state.epoch, state.last_is_damaged) == (2, True)
    assert_same_tensors(state.model.state_dict(), held["model"])


def test_the_checkpoint_of_another_phase_does_not_fit(tmp_path):
    """Its optimizer trains other weights."""
    two_phases(tmp_path, tuned=0)
    with pytest.raises(UserError, match=r"last.pt does not fit this run"):
        take_up(new_state(), tmp_path)


def test_the_best_model_is_not_restored_from_the_same_epoch_of_another_phase(tmp_path):
    state = two_phases(tmp_path, linear=1, tuned=1)
    assert restore_best(state, tmp_path, 1, ("a", "b", "c"))
    train(state)
    assert not restore_best(state, tmp_path, 1, ("a", "b", "c"))
    state.save(tmp_path)
    assert restore_best(state, tmp_path, 1, ("a", "b", "c"))
    assert_same_tensors(
        load_tensors(tmp_path / BEST)["model"], load_tensors(tmp_path / PREVIOUS)["model"]
    )
