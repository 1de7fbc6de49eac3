"""The evidence of a run: mAP by hand, the label audit by plain numpy, the files."""

import csv
import json
import math
import sys

import numpy as np
import pytest
import torch

from cli import UserError
from instrumentation import (
    METRICS,
    LabelAudit,
    RunRecord,
    TensorBoard,
    draw_curves,
    environment,
    mean_average_precision,
)
from losses import assume_negative_loss

# mAP


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, -1, -1], 100),
        ([0.9, 0.8, 0.7, 0.6], [1, -1, 1, -1], 100 * (1 / 1 + 2 / 3) / 2),
        ([0.9, 0.8, 0.7, 0.6], [-1, -1, 1, 1], 100 * (1 / 3 + 2 / 4) / 2),
        ([0.6, 0.7, 0.8, 0.9], [1, -1, -1, -1], 25),
        # ties count as one step, whatever their order: 1 of 2 are positive, then 2 of 4
        ([0.5, 0.5, 0.1, 0.1], [1, -1, -1, 1], 50),
        ([0.5, 0.5, 0.5, 0.5], [1, -1, -1, -1], 25),
        ([0.9, 0.5, 0.5, 0.1], [-1, -1, 1, 1], 100 * (1 / 3 + 2 / 4) / 2),
        # what is not annotated is as if it were not there
        ([0.9, 0.95, 0.7, 0.99], [1, 0, -1, 0], 100),
        ([0.9, 0.95, 0.7, 0.8], [-1, 0, 1, 0], 50),
        ([3.0, -40.0, 0.0, 7.0], [1, 1, 1, 1], 100),  # logits do as well
        ([0.9, 0.8, 0.7, 0.6], [-1, -1, 0, -1], 0),  # no positive: 0
    ],
)
def test_average_precision_by_hand(scores, labels, expected):
    mean, ap = mean_average_precision(np.array([scores]).T, np.array([labels]).T)
    assert mean == pytest.approx(expected)
    assert ap.tolist() == pytest.approx([expected])


def test_the_mean_takes_empty_classes_for_0_and_leaves_unknown_ones_out():
    """AP 100, no annotation, no positive, AP 50."""
    scores = np.array([[0.9, 0.4, 0.3, 0.9], [0.1, 0.2, 0.8, 0.1]])
    labels = np.array([[1, 0, -1, -1], [-1, 0, -1, 1]])
    mean, ap = mean_average_precision(scores, labels)
    assert mean == pytest.approx(150 / 3)
    np.testing.assert_allclose(ap, [100, np.nan, 0, 50])


def test_map_of_nothing_is_nan():
    mean, ap = mean_average_precision(np.zeros((3, 2)), np.zeros((3, 2), np.int8))
    assert math.isnan(mean)
    assert np.isnan(ap).all()


def step_by_step(scores, positive):
    """Precision at every threshold, weighted by the positives that it adds."""
    total, area = positive.sum(), 0.0
    for threshold in np.unique(scores):
        added = positive[scores == threshold].sum() / total
        area += 100 * added * positive[scores >= threshold].mean()
    return area


@pytest.mark.parametrize("digits", [6, 1])
def test_average_precision_against_a_plain_sum(digits):
    rng = np.random.RandomState(digits)
    scores = rng.rand(70, 12).round(digits).astype(np.float32)
    labels = rng.choice([-1, -1, 0, 1], (70, 12)).astype(np.int8)
    mean, ap = mean_average_precision(scores, labels)
    expected = [
        step_by_step(score[label != 0], label[label != 0] == 1)
        for score, label in zip(scores.T, labels.T, strict=True)
    ]
    np.testing.assert_allclose(ap, expected, rtol=1e-6)
    assert mean == pytest.approx(np.mean(expected))


# The label audit


def share(part, whole):
    return part / whole if whole else None


def plain_audit(batches, found, missing):
    """The same row in float64, from all batches at once; `found` None: of this epoch."""
    step, loss, human, truth, selected = (
        np.concatenate(part) for part in zip(*batches, strict=True)
    )
    kinds = {
        "loss_tp": (truth == 1) & (human == 1),
        "loss_tn": truth == -1,
        "loss_fn": (truth == 1) & (human == 0),
    }
    hits = (selected & (truth == 1)).sum()
    return {
        **{name: share(loss[kind].sum(), kind.sum()) for name, kind in kinds.items()},
        "train_loss": step.mean(),
        "selected": selected.sum(),
        "selected_precision": share(hits, (selected & (truth != 0)).sum()),
        "selected_recall": share(hits if found is None else found, missing),
    }


def audit_of(batches, found, missing):
    audit = LabelAudit("cpu")
    for step, loss, human, truth, selected in batches:
        tensors = [torch.from_numpy(array) for array in (loss, human, truth, selected)]
        audit.update(torch.tensor(step[0], dtype=torch.float32), *tensors)
    num_images = sum(len(loss) for _, loss, *_ in batches)
    found = None if found is None else torch.tensor(found)
    return audit.result(num_images, found, torch.tensor(missing))


def random_batches(seed, known):
    """Batches of 8, 8 and 3 images; the truth is unknown here and there, or everywhere."""
    rng, batches = np.random.RandomState(seed), []
    for rows in (8, 8, 3):
        truth = rng.choice([-1, 1, 0] if known else [0], (rows, 6)).astype(np.int8)
        human = np.where(rng.rand(rows, 6) < 0.3, truth, 0).astype(np.float32)
        selected = (human == 0) & (rng.rand(rows, 6) < 0.4)
        loss = rng.rand(rows, 6).astype(np.float32)
        batches.append((np.full(rows, rng.rand()), loss, human, truth, selected))
    return batches


@pytest.mark.parametrize("found", [None, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_audit_against_plain_numpy(seed, found):
    batches = random_batches(seed, known=True)
    expected = plain_audit(batches, found, 17)
    got = audit_of(batches, found, 17)
    assert got == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}
    assert isinstance(got["selected"], int)


def test_the_audit_by_hand():
    """Logits 0: every loss is ln 2. Two labels are selected, one of them a false negative."""
    human = torch.tensor([[1.0, 0, 0], [0, -1, 0]])
    truth = torch.tensor([[1, 1, -1], [-1, -1, 0]])
    selected = torch.tensor([[False, True, False], [True, False, True]])
    audit = LabelAudit("cpu")
    loss = assume_negative_loss(torch.zeros(2, 3), human)
    audit.update(torch.tensor(0.25), loss, human, truth, selected)
    row = audit.result(2, None, torch.tensor(4))
    assert row.pop("loss_fn") == pytest.approx(math.log(2))
    assert row.pop("loss_tp") == pytest.approx(math.log(2))
    assert row.pop("loss_tn") == pytest.approx(math.log(2))
    assert row == {
        "train_loss": 0.25,
        "selected": 3,
        "selected_precision": 0.5,  # of the third one the truth is unknown
        "selected_recall": 0.25,
    }


def test_the_audit_says_nothing_where_the_truth_is_unknown():
    row = audit_of(random_batches(0, known=False), None, 0)
    unknown = {"loss_tp", "loss_tn", "loss_fn", "selected_precision", "selected_recall"}
    assert {name for name, value in row.items() if value is None} == unknown
    assert row["selected"] > 0


def test_a_scheme_that_selects_nothing():
    truth = torch.ones(2, 3)
    audit = LabelAudit("cpu")
    audit.update(torch.tensor(1.0), torch.ones(2, 3), torch.zeros(2, 3), truth, None)
    row = audit.result(2, None, torch.tensor(6))
    assert (row["selected"], row["selected_precision"], row["selected_recall"]) == (0, None, None)


def test_the_audit_keeps_no_gradients():
    logits = torch.zeros(2, 3, requires_grad=True)
    audit, labels = LabelAudit("cpu"), torch.ones(2, 3)
    audit.update(logits.sum(), assume_negative_loss(logits, labels), labels, labels, None)
    kept = [value for value in vars(audit).values() if isinstance(value, torch.Tensor)]
    assert kept
    assert not any(tensor.requires_grad for tensor in kept)


# The files of a run

ROW = {name: 0.123456789 for name in METRICS} | {"epoch": 1, "phase": "finetune", "selected": 12}
COLUMNS = (
    "epoch,phase,lr,rate,train_loss,val_map,val_map_observed,selected,selected_precision,"
    "selected_recall,loss_tp,loss_tn,loss_fn,images_per_s,seconds"
)


def test_metrics_csv(tmp_path):
    rows = [ROW, {**ROW, "epoch": 2, "lr": 1e-5, "selected": 0, "val_map": 87.65432199}]
    RunRecord(tmp_path).write_metrics(rows)
    text = (tmp_path / "metrics.csv").read_bytes().decode()
    assert text.splitlines()[0] == COLUMNS
    assert text.count("\n") == 3
    assert "\r" not in text
    first, second = csv.DictReader(text.splitlines())
    assert (first["epoch"], first["phase"], first["selected"]) == ("1", "finetune", "12")
    assert first["loss_fn"] == "0.123457"
    assert (second["lr"], second["selected"], second["val_map"]) == ("1e-05", "0", "87.6543")


def test_what_is_unknown_is_an_empty_cell_and_never_0(tmp_path):
    row = {**ROW, "loss_tp": None, "selected_recall": math.nan}
    del row["val_map_observed"]
    RunRecord(tmp_path).write_metrics([row])
    (read,) = csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines())
    assert {name for name, cell in read.items() if cell == ""} == {
        "loss_tp",
        "selected_recall",
        "val_map_observed",
    }


def test_metrics_csv_is_written_anew(tmp_path):
    record = RunRecord(tmp_path)
    record.write_metrics([ROW, ROW])
    record.write_metrics([])
    assert (tmp_path / "metrics.csv").read_text() == COLUMNS + "\n"


def test_the_summary_comes_back(tmp_path):
    summary = {"test_map": 88.1234567890123, "test_ap": {"cat": 91.5, "dog": None}, "seed": 0}
    record = RunRecord(tmp_path)
    assert record.read_summary() is None
    record.write_summary(summary)
    assert record.read_summary() == summary == json.loads((tmp_path / "summary.json").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_the_settings_come_back(tmp_path):
    settings = {"dataset": "coco", "lr": 7.5e-5, "flip": True, "exp_name": "x"}
    RunRecord(tmp_path).write_config(settings, "cpu, float32", "digest", resumed=False)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved.pop("environment")["device"] == "cpu, float32"
    assert saved == settings
    read = RunRecord(tmp_path).read_config()
    assert {name: read[name] for name in settings} == settings


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]"])
@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_damaged_record_costs_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    record = RunRecord(tmp_path)
    with pytest.raises(UserError, match=f"{name} .*: give --overwrite") as caught:
        record.read_config() if name == "config.json" else record.read_summary()
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_record_of_settings_costs_one_line(tmp_path):
    with pytest.raises(UserError, match=r"config.json cannot be read"):
        RunRecord(tmp_path).read_config()


def test_the_environment_names_what_else_made_the_result():
    facts = environment("cpu")
    assert facts["torch"] == torch.__version__
    assert facts["numpy"] == np.__version__
    assert facts["python"] == sys.version.split()[0]
    assert facts["device"] == "cpu"
    assert {"torchvision", "git_commit", "command_line"} <= facts.keys()
    assert all(isinstance(value, str) and value for value in facts.values())


def test_what_is_said_is_printed_and_kept(tmp_path, capsys):
    record = RunRecord(tmp_path)
    record.say("one")
    record.say("zwölf")
    assert capsys.readouterr().out == "one\nzwölf\n"
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "one\nzwölf\n"


UNKNOWN = dict.fromkeys(
    ["selected_precision", "selected_recall", "loss_tp", "loss_tn", "loss_fn", "val_map"]
)


@pytest.mark.parametrize(
    "rows",
    [[ROW], [ROW, {**ROW, "epoch": 2, "loss_fn": None}], [{**ROW, **UNKNOWN}]],
    ids=["one epoch", "a gap", "truth unknown"],
)
def test_curves_are_a_png(tmp_path, rows):
    path = tmp_path / "curves.png"
    draw_curves(rows, 1, "a run", path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.rstrip().endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > height > 300


def test_tensorboard_that_is_not_installed_costs_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="--tensorboard needs a package: pip install tensorboard"):
        TensorBoard(tmp_path)
