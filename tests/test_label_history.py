"""What `--audit labels` keeps of every training label, and that a run is the same with it."""

import contextlib

import numpy as np
import pytest
import torch

import label_history
from cli import UserError
from label_history import LabelHistory, history_path, read_history
from tests import tiny
from tests.test_train import stop_in


def write(folder, loss, selected=None, epoch=1):
    """The file of an epoch, its images seen in two mini-batches out of order."""
    history = LabelHistory(*loss.shape, "cpu")
    for index in (torch.tensor([2, 0]), torch.tensor([1])):
        chosen = None if selected is None else torch.tensor(selected)[index]
        history.update(index, torch.tensor(loss)[index], chosen)
    history.write(folder, "finetune", epoch, lambda: None)


LOSS = np.array([[0.5, 0.25], [2.0, 0.0], [1e9, 3.0]], np.float32)


def test_every_loss_and_selection_comes_back(tmp_path):
    selected = np.array([[True, False], [False, False], [False, True]])
    write(tmp_path, LOSS, selected)
    write(tmp_path, LOSS[::-1].copy(), ~selected, epoch=2)
    found = read_history(tmp_path, "finetune", 2, (3, 2))
    kept = np.minimum(LOSS, np.float32(65504))  # the largest of 16 bits
    assert found.loss.tolist() == [kept.tolist(), kept[::-1].tolist()]
    assert found.selected.tolist() == [selected.tolist(), (~selected).tolist()]


def test_a_scheme_that_selects_nothing_has_no_selection(tmp_path):
    write(tmp_path, LOSS)
    assert read_history(tmp_path, "finetune", 1, (3, 2)).selected is None


@pytest.mark.parametrize("classes", [1, 7, 8, 9, 80])
def test_selections_of_any_number_of_classes_are_kept_bit_by_bit(tmp_path, classes):
    rng = np.random.RandomState(classes)
    selected = rng.rand(3, classes) < 0.5
    write(tmp_path, rng.rand(3, classes).astype(np.float32), selected)
    assert (read_history(tmp_path, "finetune", 1, (3, classes)).selected == selected).all()


def test_the_same_epoch_is_the_same_file(tmp_path):
    write(tmp_path / "a", LOSS)
    write(tmp_path / "b", LOSS)
    a, b = (history_path(tmp_path / name, "finetune", 1).read_bytes() for name in "ab")
    assert a == b


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "is missing: train the run with --audit labels"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is damaged"),
        (lambda path: np.savez(path, other=np.zeros(3)), "holds no loss"),
        (lambda path: np.savez(path, loss=np.zeros((3, 5), np.float16)), "is of another run"),
        (lambda path: np.savez(path, loss=np.zeros((3, 2))), "is of another run"),
        (lambda path: np.savez(path, loss=np.array([{}])), "is damaged"),
        (
            lambda path: np.savez(
                path, loss=np.zeros((3, 2), np.float16), selected=np.zeros((3, 1), np.uint8)
            ),
            "selections of some epochs only",
        ),
    ],
)
def test_what_no_run_writes_is_refused(tmp_path, damage, says):
    write(tmp_path, LOSS)
    write(tmp_path, LOSS, epoch=2)
    damage(history_path(tmp_path, "finetune", 2))
    with pytest.raises(UserError, match=says):
        read_history(tmp_path, "finetune", 2, (3, 2))


def test_no_flipped_byte_is_a_traceback(tmp_path):
    rng = np.random.RandomState(0)
    write(tmp_path, rng.rand(3, 20).astype(np.float32))
    path = history_path(tmp_path, "finetune", 1)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with contextlib.suppress(UserError):
            read_history(tmp_path, "finetune", 1, (3, 20))


def test_more_labels_than_can_be_kept_are_refused(monkeypatch):
    monkeypatch.setattr(label_history, "MOST_LABELS", 9)
    LabelHistory(3, 3, "cpu")
    with pytest.raises(UserError, match="10 x 1 labels, at most 9 are possible: take a part"):
        LabelHistory(10, 1, "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("data"))


def kept(run_dir):
    """The files of the folder labels by name, as bytes."""
    return {path.name: path.read_bytes() for path in sorted((run_dir / "labels").iterdir())}


@pytest.mark.parametrize("scheme", tiny.SCHEMES)
def test_a_run_is_the_same_with_it_and_its_means_are_those_of_metrics(folder, tmp_path, scheme):
    words = ("--mod_scheme", scheme)
    plain, _ = tiny.train(folder, tmp_path / "plain", *words)
    summary, run_dir = tiny.train(folder, tmp_path / "audited", *words, "--audit", "labels")
    assert plain["test_ap"] == summary["test_ap"]
    rows = tiny.load(run_dir / "last.pt")["rows"]
    found = read_history(run_dir, "finetune", len(rows), (24, tiny.NUM_CLASSES))
    assert (found.selected is None) == (scheme == "AN")
    if found.selected is not None:
        assert found.selected.sum((1, 2)).tolist() == [row["selected"] for row in rows]
    if scheme == "AN":
        expected = [row["train_loss"] for row in rows]
        assert found.loss.mean((1, 2)) == pytest.approx(expected, rel=1e-3)


def test_a_stopped_and_resumed_run_keeps_the_same(folder, tmp_path, monkeypatch):
    words = ("--mod_scheme", "LL-Cp", "--audit", "labels")
    _, whole = tiny.train(folder, tmp_path / "whole", *words)
    with monkeypatch.context() as patched:
        stop_in(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            tiny.train(folder, tmp_path / "parts", *words)
    _, parts = tiny.train(folder, tmp_path / "parts", *words, "--resume")
    assert kept(parts) == kept(whole)
    assert len(kept(whole)) == 3


def test_both_phases_are_kept_apart(folder, tmp_path):
    words = ("--audit", "labels", "--linear_init", "2", "--num_epochs", "1")
    _, run_dir = tiny.train(folder, tmp_path, *words)
    assert [*kept(run_dir)] == ["finetune_001.npz", "linear_001.npz", "linear_002.npz"]


def test_an_overwritten_run_leaves_none_of_its_labels(folder, tmp_path):
    tiny.train(folder, tmp_path, "--audit", "labels")
    _, run_dir = tiny.train(folder, tmp_path, "--num_epochs", "1", "--overwrite")
    assert not kept(run_dir)
    tiny.train(folder, tmp_path, "--num_epochs", "1", "--overwrite", "--audit", "labels")
    assert [*kept(run_dir)] == ["finetune_001.npz"]


def test_labels_are_kept_of_all_epochs_or_of_none(folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_in(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            tiny.train(folder, tmp_path, "--audit", "labels")
    with pytest.raises(UserError, match="has --audit labels, not means: give what it has"):
        tiny.train(folder, tmp_path, "--resume")
    tiny.train(folder, tmp_path, "--resume", "--audit", "labels")
    tiny.train(folder, tmp_path, "--resume")  # it is finished: its result is printed


def test_what_an_earlier_run_without_a_checkpoint_left_is_not_taken_for_its_own(folder, tmp_path):
    _, run_dir = tiny.train(folder, tmp_path, "--audit", "labels")
    for path in run_dir.iterdir():
        if path.is_file():
            path.unlink()
    (run_dir / "labels" / "mine.npz").touch()
    tiny.train(folder, tmp_path)
    assert [*kept(run_dir)] == ["mine.npz"]


def test_a_disk_that_is_full_for_it_loses_no_finished_epoch(folder, tmp_path, monkeypatch):
    """And with --overwrite, not the run that is there."""
    _, run_dir = tiny.train(folder, tmp_path)
    before = (run_dir / "bestmodel.pt").read_bytes()

    def full(path, *rest):
        raise UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(label_history, "write_atomically", full)
    with pytest.raises(UserError, match=r"finetune_001.npz: No space left .* earlier run stands"):
        tiny.train(folder, tmp_path, "--audit", "labels", "--overwrite")
    assert (run_dir / "bestmodel.pt").read_bytes() == before
    assert (run_dir / "summary.json").exists()
