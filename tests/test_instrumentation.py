"""The evidence of a run: mAP by hand, the label audit by plain numpy, curves."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from cli import UserError
from evaluation import evaluate, evaluation_loader
from hardware import find_hardware
from instrumentation import (
    LabelAudit,
    draw_curves,
    mean_average_precision,
    mean_of_known,
)
from loaders import Array
from losses import assume_negative_loss
from record import METRICS

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


@pytest.mark.parametrize("seed", range(6))
def test_sparse_labels_give_the_same_numbers_as_dense_ones(seed):
    """To the last digit; some classes and some images have no annotation, some scores are ties."""
    rng = np.random.RandomState(seed)
    labels = rng.choice([0, 0, 0, 1, -1], (60, 30)).astype(np.int8)
    labels[:, rng.rand(30) < 0.2] = 0
    labels[rng.rand(60) < 0.2] = 0
    labels[:, 0] = np.minimum(labels[:, 0], 0)
    scores = rng.randn(60, 30).round(seed).astype(np.float32)
    mean, ap = mean_average_precision(scores, labels)
    sparse_mean, sparse_ap = mean_average_precision(scores, csr_array(labels))
    assert sparse_mean == mean
    np.testing.assert_array_equal(sparse_ap, ap)  # which takes NaN for the same as NaN
    assert (ap.dtype, ap.shape) == (sparse_ap.dtype, sparse_ap.shape)
    assert np.isnan(ap).any()
    assert np.isfinite(ap).any()


def test_sparse_map_of_nothing_is_nan():
    mean, ap = mean_average_precision(np.zeros((3, 2)), csr_array((3, 2), dtype=np.int8))
    assert math.isnan(mean)
    assert np.isnan(ap).tolist() == [True, True]


@pytest.mark.parametrize(
    ("ap", "mean"),
    [([50, 100], 75), ([np.nan, 40], 40), ([0, np.nan, 30], 15), ([0], 0), ([12.5] * 3, 12.5)],
)
def test_the_mean_of_the_known(ap, mean):
    assert mean_of_known(np.array(ap)) == mean
    assert isinstance(mean_of_known(np.array(ap)), float)


@pytest.mark.parametrize("ap", [[], [np.nan], [np.nan, np.nan]])
def test_the_mean_of_nothing_known_is_nan(ap):
    assert math.isnan(mean_of_known(np.array(ap, dtype=float)))


# What mAP is measured on: the scores of a split


@pytest.mark.parametrize("num_images", [1, 5, 6, 7, 12, 13])
@pytest.mark.parametrize("shape", [(), (4,), (3, 2, 2)], ids=["number", "features", "image"])
def test_the_scores_are_those_of_the_batches_one_after_the_other(num_images, shape):
    """In batches of 6: a last one that is smaller, of a single image, alone, or as large."""
    rows = torch.arange(num_images * math.prod(shape) * 1.0).view(num_images, *shape)
    hardware, seen = find_hardware("cpu"), []
    loader = evaluation_loader(Array(rows), 3, 0, hardware)

    def forward(batch):
        seen.append(batch)
        return (2 * batch + 1).double()

    result = evaluate(forward, loader, hardware)
    expected = torch.cat([2 * batch + 1 for batch in seen])
    assert [len(batch) for batch in seen] == [
        len(part) for part in torch.arange(num_images).split(6)
    ]
    assert torch.equal(result, expected)
    assert torch.equal(result, 2 * rows + 1)
    assert (result.dtype, result.device.type) == (torch.float32, "cpu")


def test_a_forward_that_uses_its_memory_again_spoils_nothing():
    loader = evaluation_loader(Array(torch.arange(10.0).view(10, 1)), 2, 0, find_hardware("cpu"))
    memory = torch.empty(4, 1)

    def forward(batch):
        memory[: len(batch)] = batch
        return memory[: len(batch)]

    result = evaluate(forward, loader, find_hardware("cpu"))
    assert result.flatten().tolist() == list(range(10))


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


# Curves

ROW = {name: 0.123456789 for name in METRICS} | {"epoch": 1, "phase": "finetune", "selected": 12}
UNKNOWN = dict.fromkeys(
    ["selected_precision", "selected_recall", "loss_tp", "loss_tn", "loss_fn", "val_map"]
)


@pytest.mark.parametrize(
    "rows",
    [
        [ROW],
        [ROW, {**ROW, "epoch": 2, "loss_fn": None}],
        [{**ROW, **UNKNOWN}],
        [{**ROW, "phase": "linear"}, {**ROW, "phase": "linear", "epoch": 2}, ROW],
        [{**ROW, "phase": "linear"}],
    ],
    ids=["one epoch", "a gap", "truth unknown", "two phases", "linear alone"],
)
def test_curves_are_a_png(tmp_path, rows):
    path = tmp_path / "curves.png"
    draw_curves(rows, 1, "a run", path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.rstrip().endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > height > 300


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_have_no_map(bad):
    with pytest.raises(UserError, match="no finite numbers"):
        mean_average_precision(np.array([[bad], [0.0]]), np.array([[1], [-1]]))
