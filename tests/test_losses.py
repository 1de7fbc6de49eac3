"""The schemes: the paper's example, values by hand, properties, a slow second implementation."""

import ast
import math
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch

import config
import losses
from losses import SCHEMES, build_scheme, large_entries

LARGE_LOSS = ("LL-R", "LL-Ct", "LL-Cp")
PAPER = ("AN", *LARGE_LOSS)


@pytest.fixture(autouse=True, params=["on a CPU", "as on a GPU"])
def way_to_select(request, monkeypatch):
    """Both ways to find the largest losses: how many they are is known, or not asked for."""
    if request.param == "as on a GPU":
        monkeypatch.setattr(losses, "_known", lambda k: None)


def logit(f):
    return math.log(f / (1 - f))


def logits_of(probabilities):
    return torch.tensor([[logit(f) for f in row] for row in probabilities])


def run(name, logits, observed, epoch=2, **options):
    scheme = build_scheme(name, num_classes=logits.shape[1], **options)
    return scheme(logits, observed, epoch=epoch, index=torch.arange(len(logits)))


def places(selected):
    """The (row, column) of the selected entries, in order of position."""
    return [tuple(place) for place in selected.nonzero().tolist()]


# Figure 2 of the paper

FIGURE = logits_of([[0.90, 0.83, 0.78, 0.10, 0.18]])
FIGURE_OBSERVED = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]])


def test_figure_2_entry_losses():
    loss = losses.assume_negative_loss(FIGURE, FIGURE_OBSERVED)
    expected = [0.105, 1.772, 1.514, 0.105, 0.198]
    assert loss[0].tolist() == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "expected", "selected"),
    [
        ("AN", 0.739, None),
        ("LL-R", 0.082, [(0, 1), (0, 2)]),
        ("LL-Ct", 0.169, [(0, 1), (0, 2)]),
        ("LL-Cp", 0.169, [(0, 1), (0, 2)]),
    ],
)
def test_figure_2_losses(name, expected, selected):
    """Two of the four unobserved entries are large: 50 % at epoch 2."""
    out = run(name, FIGURE, FIGURE_OBSERVED, epoch=2, delta_rel=50)
    assert out.loss.item() == pytest.approx(expected, abs=5e-4)
    assert (out.selected if selected is None else places(out.selected)) == selected


# Values by hand: two images, five classes; the largest losses are human labels

PROBABILITIES = [[0.9, 0.8, 0.3, 0.95, 0.6], [0.7, 0.2, 0.99, 0.4, 0.5]]
LOGITS = logits_of(PROBABILITIES)
OBSERVED = torch.tensor([[1.0, 0, 0, -1, 0], [0, 1, -1, 0, 0]])
BY_LOSS = [(0, 1), (1, 0), (0, 4), (1, 4), (1, 3), (0, 2)]  # f = .8 .7 .6 .5 .4 .3
# the arguments of -log: first the observed .9 .95 .2 .99, then the unobserved by falling loss
KNOWN = [0.9, 0.05, 0.2, 0.01]
AS_NEGATIVE = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
AS_POSITIVE = [0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
# scheme, delta_rel, rate_base, epoch, selected: ceil(rate * 6), or ceil(rate * 10) of "all"
BY_HAND = [
    ("LL-R", 5, "unobserved", 1, 0),
    ("LL-R", 5, "unobserved", 2, 1),  # 0.05 * 6 = 0.3
    ("LL-R", 5, "unobserved", 10, 3),  # 0.45 * 6 = 2.7
    ("LL-R", 5, "all", 2, 1),  # 0.05 * 10 = 0.5
    ("LL-R", 5, "all", 10, 5),  # 0.45 * 10 = 4.5
    ("LL-R", 10, "all", 8, 6),  # 0.7 * 10 = 7, of which there are 6
    ("LL-Ct", 5, "unobserved", 1, 0),
    ("LL-Ct", 5, "unobserved", 2, 1),
    ("LL-Ct", 5, "unobserved", 10, 3),
    ("LL-Ct", 25, "all", 2, 3),  # 0.25 * 10 = 2.5
    ("LL-Cp", 25, "unobserved", 1, 0),
    ("LL-Cp", 25, "unobserved", 2, 2),  # 0.25 * 6 = 1.5
    ("LL-Cp", 25, "unobserved", 10, 2),  # the same share in every epoch
    ("LL-Cp", 25, "all", 10, 3),
]


@pytest.mark.parametrize(("name", "delta_rel", "rate_base", "epoch", "k"), BY_HAND)
def test_values_by_hand(name, delta_rel, rate_base, epoch, k):
    out = run(name, LOGITS, OBSERVED, epoch=epoch, delta_rel=delta_rel, rate_base=rate_base)
    large = [1.0] * k if name == "LL-R" else AS_POSITIVE[:k]
    expected = -sum(math.log(f) for f in [*KNOWN, *large, *AS_NEGATIVE[k:]]) / 10
    assert out.loss.item() == pytest.approx(expected, rel=1e-5)
    assert places(out.selected) == sorted(BY_LOSS[:k])
    assert out.selected.dtype == torch.bool
    assert out.loss.shape == ()


@pytest.mark.parametrize("epoch", [1, 2, 10])
def test_assume_negative_by_hand(epoch):
    out = run("AN", LOGITS, OBSERVED, epoch=epoch)
    expected = -sum(math.log(f) for f in [*KNOWN, *AS_NEGATIVE]) / 10
    assert out.loss.item() == pytest.approx(expected, rel=1e-5)
    assert out.selected is None


# Properties


def random_batch(seed, rows=4, columns=9, step=1 / 64):
    """Logits that are multiples of `step`, so unequal ones have unequal losses, and labels."""
    rng = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(rows, columns, generator=rng) / step).round() * step
    observed = torch.randint(-3, 4, (rows, columns), generator=rng).clamp(-2, 2)
    return logits.clamp(-5, 5), torch.where(observed.abs() == 2, observed.sign(), 0).float()


@pytest.mark.parametrize("name", LARGE_LOSS)
@pytest.mark.parametrize("delta_rel", [0.2, 100])
def test_a_fully_labelled_batch_is_untouched(name, delta_rel):
    logits, _ = random_batch(0)
    observed = torch.where(logits.cos() > 0, 1.0, -1.0)
    out = run(name, logits, observed, epoch=9, delta_rel=delta_rel, rate_base="all")
    assert not out.selected.any()
    assert out.loss == run("AN", logits, observed).loss


@pytest.mark.parametrize("name", LARGE_LOSS)
@pytest.mark.parametrize(("delta_rel", "epoch"), [(0, 7), (50, 1)])
def test_rate_0_equals_assume_negative(name, delta_rel, epoch):
    logits, observed = random_batch(1)
    out = run(name, logits, observed, epoch=epoch, delta_rel=delta_rel)
    assert not out.selected.any()
    assert out.loss == run("AN", logits, observed).loss


@pytest.mark.parametrize("name", LARGE_LOSS)
@pytest.mark.parametrize("rate_base", losses.RATE_BASES)
def test_everything_unobserved_is_selected_at_100_percent_and_above(name, rate_base):
    logits, observed = random_batch(2)
    for epoch in (2, 30):
        out = run(name, logits, observed, epoch=epoch, delta_rel=100, rate_base=rate_base)
        assert torch.equal(out.selected, observed == 0)
    third = build_scheme(name, num_classes=9, delta_rel=60).rate(3)
    assert third == (0.6 if name == "LL-Cp" else 1)


@pytest.mark.parametrize("value", [0.0, 1.5, -2.0])
@pytest.mark.parametrize("name", LARGE_LOSS)
def test_ties_go_by_position_and_never_to_an_observed_label(name, value):
    observed = torch.tensor([[1.0, 0, -1, 0], [0, 0, 1, 0], [-1, 1, 1, 0]])
    out = run(name, torch.full((3, 4), value), observed, delta_rel=50)
    assert places(out.selected) == [(0, 1), (0, 3), (1, 0)]  # three of six


def test_losses_of_exactly_zero_are_still_selected_in_order():
    """float32 has no loss below that of logit -200; the observed losses are all larger."""
    observed = torch.tensor([[0.0, 1, 0, -1, 0, 0]])
    logits = torch.tensor([[-200.0, -200, -200, 200, -200, -200]])
    assert (losses.assume_negative_loss(logits, observed)[observed == 0] == 0).all()
    out = run("LL-R", logits, observed, delta_rel=75)
    assert places(out.selected) == [(0, 0), (0, 2), (0, 4)]


def test_a_tie_at_the_threshold_fills_up_behind_the_larger_losses():
    loss = torch.tensor([[1.0, 2, 1, 1, 3]])
    selected = large_entries(loss, torch.ones(1, 5, dtype=torch.bool), 0.8)
    assert places(selected) == [(0, 0), (0, 1), (0, 2), (0, 4)]


MANY = torch.arange(60_000, dtype=torch.float32)
LIKE = {
    "any": torch.rand(60_000, generator=torch.Generator().manual_seed(0)),
    "few values": MANY % 7,
    "one value": torch.ones(60_000),
    "rising": MANY,
    "falling": -MANY,
    "large where the sample looks": (MANY % 61 == 0) * 1e4 + MANY,
    "small where the sample looks": (MANY % 61 != 0) * 1e4 + MANY,
}


@pytest.mark.parametrize("loss", LIKE.values(), ids=LIKE)
def test_a_large_batch_has_the_same_ranking(loss):
    """A sample of it tells where to look for the threshold, which must not show."""
    unobserved = torch.arange(len(loss)) % 10 > 0
    ranked = torch.where(unobserved, loss, -math.inf).argsort(descending=True, stable=True)
    for count in (1, 40, 500, 9000, 36_000, 45_000, 54_000):
        selected = large_entries(loss.view(200, 300), unobserved.view(200, 300), count / 54_000)
        expected = torch.zeros(len(loss), dtype=torch.bool).index_fill_(0, ranked[:count], True)
        assert torch.equal(selected.flatten(), expected), count


def test_losses_may_be_negative():
    loss = torch.tensor([[-3.0, -1.0, 5.0, -2.0, -1.0]])
    unobserved = torch.tensor([[True, True, False, True, True]])
    assert places(large_entries(loss, unobserved, 0.75)) == [(0, 1), (0, 3), (0, 4)]


def test_selection_is_the_same_every_time():
    logits, observed = random_batch(3, rows=16, columns=20, step=2.0)
    first = run("LL-R", logits, observed, delta_rel=7.3).selected
    for _ in range(5):
        assert torch.equal(run("LL-R", logits, observed, delta_rel=7.3).selected, first)


@pytest.mark.parametrize("name", LARGE_LOSS)
def test_a_last_batch_of_one_image(name):
    logits, observed = torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([[1.0, 0, 0]])
    assert places(run(name, logits, observed, delta_rel=0.1).selected) == [(0, 1)]


def test_the_images_of_a_batch_share_one_ranking():
    """Not so many of each image: the percentage is of the batch."""
    logits = torch.tensor([[3.0, 2.0, 1.0], [0.0, -1.0, -2.0]])
    out = run("LL-R", logits, torch.zeros(2, 3), delta_rel=50)
    assert places(out.selected) == [(0, 0), (0, 1), (0, 2)]


def exact_k(percent, epochs, base, available):
    """min(ceil(rate * n), |S_u|) in exact arithmetic, `percent` as it is written."""
    rate = min(Fraction(percent) * epochs / 100, 1)
    return min(math.ceil(rate * base), available)


def count_selected(scheme, epoch, rows, columns, num_observed):
    observed = torch.zeros(rows * columns)
    observed[:num_observed] = 1
    logits = torch.linspace(-3, 3, rows * columns).view(rows, columns)
    out = scheme(logits, observed.view(rows, columns), epoch=epoch, index=torch.arange(rows))
    return int(out.selected.sum())


# rows, columns, observed labels; of the first, 5 % are 32, of the second 0.5 % x 5 epochs are
SIZES = [
    (8, 80, 0),
    (16, 80, 0),
    (10, 10, 0),
    (16, 20, 16),
    (16, 80, 16),
    (1, 312, 1),
    (3, 5, 14),
    (7, 3, 21),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rate_base", losses.RATE_BASES)
def test_exactly_k_are_selected(size, rate_base):
    rows, columns, num_observed = size
    unobserved = rows * columns - num_observed
    base = unobserved if rate_base == "unobserved" else rows * columns
    for percent in ("0", "0.1", "0.2", "0.3", "0.4", "0.5", "1.5", "5", "7", "33.3", "100"):
        options = {"delta_rel": float(percent), "rate_base": rate_base}
        growing = build_scheme("LL-R", num_classes=columns, **options)
        steady = build_scheme("LL-Cp", num_classes=columns, **options)
        for epoch in (1, 2, 3, 4, 6, 11):
            expected = exact_k(percent, epoch - 1, base, unobserved)
            assert count_selected(growing, epoch, *size) == expected, (percent, epoch)
            expected = exact_k(percent, min(epoch - 1, 1), base, unobserved)
            assert count_selected(steady, epoch, *size) == expected, (percent, epoch)


def test_binary_rounding_adds_no_entry():
    """0.05 * 640 and 0.5 % x 5 epochs x 16 x 80 are 32 each; the authors' code took 33."""
    assert count_selected(build_scheme("LL-Cp", num_classes=80, delta_rel=5), 2, 8, 80, 0) == 32
    assert count_selected(build_scheme("LL-R", num_classes=80, delta_rel=0.5), 6, 16, 80, 0) == 32
    assert 7 / 100 * 100 > 7
    assert 3 * 0.1 / 100 * 1000 > 3
    for rate_base in losses.RATE_BASES:
        options = {"num_classes": 10, "rate_base": rate_base}
        steady, growing = (
            build_scheme(name, delta_rel=percent, **options)
            for name, percent in (("LL-Cp", 7), ("LL-R", 0.1))
        )
        assert count_selected(steady, 2, 10, 10, 0) == 7
        assert count_selected(growing, 4, 100, 10, 0) == 3


def test_the_rate_of_each_scheme():
    rates = {
        name: [build_scheme(name, num_classes=2, delta_rel=30).rate(epoch) for epoch in range(1, 6)]
        for name in PAPER
    }
    assert rates["AN"] == [0] * 5
    assert rates["LL-R"] == rates["LL-Ct"] == pytest.approx([0, 0.3, 0.6, 0.9, 1])
    assert rates["LL-Cp"] == pytest.approx([0, 0.3, 0.3, 0.3, 0.3])


def test_only_ll_cp_is_permanent():
    assert [name for name, scheme in SCHEMES.items() if scheme.permanent] == ["LL-Cp"]


def test_a_corrected_label_leaves_the_unobserved_ones():
    """The second step of LL-Cp sees five unobserved labels, and spares the corrected one."""
    observed = OBSERVED.clone()
    first = run("LL-Cp", LOGITS, observed, delta_rel=20)  # ceil(1.2) = 2
    observed[first.selected] = 1
    second = run("LL-Cp", LOGITS, observed, delta_rel=20)  # ceil(0.8) = 1
    assert places(second.selected) == [BY_LOSS[2]]


# A second implementation, with python loops and exact k


def slow_selection(logits, observed, rate, rate_base):
    """The loss of an unobserved label grows with its logit: sort by that, then by position."""
    entries = [(i, j) for i, row in enumerate(observed) for j in range(len(row))]
    unobserved = [(i, j) for i, j in entries if observed[i][j] == 0]
    base = len(entries) if rate_base == "all" else len(unobserved)
    ranked = sorted(unobserved, key=lambda place: (-logits[place[0]][place[1]], place))
    return sorted(ranked[: math.ceil(rate * base)])


def slow_loss(name, logits, observed, selected):
    total = 0.0
    for i, row in enumerate(logits):
        for j, x in enumerate(row):
            f = 1 / (1 + math.exp(-x))
            positive = observed[i][j] == 1 or ((i, j) in selected and name != "LL-R")
            weight = 0 if name == "LL-R" and (i, j) in selected else 1
            total -= weight * math.log(f if positive else 1 - f)
    return total / (len(logits) * len(logits[0]))


@pytest.mark.parametrize("step", [1 / 64, 0.5, 3.0], ids=["distinct", "ties", "heavy ties"])
@pytest.mark.parametrize("name", LARGE_LOSS)
def test_the_slow_implementation_agrees(name, step):
    for seed in range(60):
        logits, observed = random_batch(seed, 1 + seed % 7, 2 + seed % 11, step)
        percent = ("0.3", "4", "12.5", "40")[seed % 4]
        epoch, rate_base = 1 + seed % 5, losses.RATE_BASES[seed % 2]
        steps = min(epoch - 1, 1) if name == "LL-Cp" else epoch - 1
        rate = min(Fraction(percent) * steps / 100, 1)
        out = run(
            name, logits, observed, epoch=epoch, delta_rel=float(percent), rate_base=rate_base
        )
        expected = slow_selection(logits.tolist(), observed.tolist(), rate, rate_base)
        assert places(out.selected) == expected, seed
        loss = slow_loss(name, logits.tolist(), observed.tolist(), expected)
        assert out.loss.item() == pytest.approx(loss, rel=1e-5), seed


# Gradients


@pytest.mark.parametrize("step", [1 / 64, 3.0], ids=["distinct", "heavy ties"])
@pytest.mark.parametrize("name", PAPER)
def test_gradients_are_those_of_lambda_times_loss(name, step):
    """Section 3 of the paper in float64: lambda 0, or log f / log(1 - f), at large losses."""
    for seed in range(10):
        logits, observed = random_batch(seed, step=step)
        ours = logits.clone().requires_grad_()
        out = run(name, ours, observed, epoch=3, delta_rel=12)
        out.loss.backward()
        exact = logits.double().requires_grad_()
        f = 1 / (1 + torch.exp(-exact))
        entry = -torch.where(observed == 1, f, 1 - f).log()
        weight = {"AN": 1, "LL-R": 0}.get(name, f.log() / (1 - f).log())
        if out.selected is not None:
            weight = torch.where(out.selected, weight, torch.ones_like(f))
        (weight * entry).mean().backward()
        torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", PAPER)
def test_gradients_agree_with_finite_differences(name):
    logits = torch.tensor([[0.3, -1.2, 2.1, 0.9], [-0.4, 1.6, -2.0, 0.1]], requires_grad=True)
    observed = torch.tensor([[1.0, 0, 0, -1], [0, 0, 1, 0]])
    out = run(name, logits, observed, delta_rel=40)  # ceil(0.4 * 5) = 2
    out.loss.backward()
    selected = [] if out.selected is None else places(out.selected)
    assert name == "AN" or selected == [(0, 2), (1, 1)]
    values, step = logits.tolist(), 1e-5
    for i in range(2):
        for j in range(4):
            sides = []
            for sign in (1, -1):
                moved = [row.copy() for row in values]
                moved[i][j] += sign * step
                sides.append(slow_loss(name, moved, observed.tolist(), selected))
            slope = (sides[0] - sides[1]) / (2 * step)
            assert logits.grad[i, j].item() == pytest.approx(slope, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", LARGE_LOSS)
def test_the_gradient_at_a_large_loss(name):
    """Nothing where rejected; sigmoid(x) - 1 over B*K where corrected."""
    logits = LOGITS.clone().requires_grad_()
    out = run(name, logits, OBSERVED, delta_rel=40)  # ceil(0.4 * 6) = 3: f = .8 .7 .6
    out.loss.backward()
    at_large = [logits.grad[place].item() for place in BY_LOSS[:3]]
    if name == "LL-R":
        assert at_large == [0, 0, 0]
    else:
        assert at_large == pytest.approx([-0.2 / 10, -0.3 / 10, -0.4 / 10], rel=1e-5)
    others = [logits.grad[place].item() for place in [(0, 0), (0, 3), (1, 4)]]
    assert others == pytest.approx([-0.1 / 10, 0.95 / 10, 0.5 / 10], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "delta_rel", "expected"),
    [
        # AN: 0 for the positive at +100, 100 each for the negative and the unobserved one there
        ("AN", 0, 200 / 6),
        # the largest unobserved one is rejected, or right once it is corrected
        ("LL-R", 30, 100 / 6),
        ("LL-Ct", 30, 100 / 6),
        # all are: the ones at -100 and -100 cost 100 each as positives
        ("LL-R", 100, 100 / 6),
        ("LL-Ct", 100, 300 / 6),
        ("LL-Cp", 100, 300 / 6),
    ],
)
def test_extreme_logits_are_finite_and_exact(name, delta_rel, expected):
    logits = torch.tensor([[100.0, 100, 100], [-100, -100, -100]], requires_grad=True)
    observed = torch.tensor([[1.0, -1, 0], [0, 0, -1]])
    out = run(name, logits, observed, delta_rel=delta_rel)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("name", PAPER)
def test_half_precision_logits_cost_what_the_same_numbers_cost_in_float32(name):
    logits, observed = random_batch(4)
    half = logits.bfloat16().requires_grad_()
    out = run(name, half, observed, delta_rel=20)
    expected = run(name, half.detach().float(), observed, delta_rel=20)
    assert out.loss.dtype == torch.float32
    assert out.loss == expected.loss
    out.loss.backward()
    assert half.grad.dtype == torch.bfloat16
    assert half.grad.isfinite().all()
    assert half.grad.count_nonzero() > logits.numel() / 2


def test_selecting_draws_no_gradient_and_moves_no_input():
    logits, observed = LOGITS.clone().requires_grad_(), OBSERVED.clone()
    out = run("LL-Cp", logits, observed, delta_rel=50)
    assert not out.selected.requires_grad
    assert torch.equal(observed, OBSERVED)
    assert torch.equal(logits, LOGITS)


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("rate_base", losses.RATE_BASES)
def test_nothing_waits_for_the_device(name, rate_base):
    """A tensor on the meta device has no values: whoever asked for one would fail."""
    logits = torch.empty(16, 80, device="meta")
    out = run(name, logits, torch.empty_like(logits), delta_rel=3, rate_base=rate_base)
    assert out.loss.device.type == "meta"


# The registry


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("LL-X", {}, "unknown scheme 'LL-X': one of AN, LL-R, LL-Ct, LL-Cp"),
        ("ll-r", {}, "unknown scheme 'll-r'"),
        ("LL-R", {"gamma": 2}, "LL-R: .*gamma"),
        ("AN", {"alpha": 1}, "AN: .*alpha"),
        ("LL-R", {"delta_rel": -0.1}, "delta_rel is -0.1: percent per epoch, from 0 to 100"),
        ("LL-Cp", {"delta_rel": 100.5}, "delta_rel is 100.5"),
        ("LL-Ct", {"delta_rel": math.nan}, "delta_rel is nan"),
        ("LL-R", {"rate_base": "some"}, "rate_base is 'some': one of unobserved, all"),
        ("LL-R", {"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_a_bad_scheme_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_scheme(name, **{"num_classes": 5, **options})


@pytest.mark.parametrize("name", LARGE_LOSS)
@pytest.mark.parametrize("epoch", [0, -3])
def test_epochs_count_from_1(name, epoch):
    with pytest.raises(ValueError, match=f"epoch is {epoch}: epochs count from 1"):
        run(name, LOGITS, OBSERVED, epoch=epoch)


def test_every_scheme_of_the_command_line_is_there():
    assert set(config.SCHEMES) == set(SCHEMES)


def test_the_file_needs_torch_alone():
    tree = ast.parse(Path(losses.__file__).read_text(encoding="utf-8"))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add(node.module.partition(".")[0])
    assert "torch" in modules
    assert modules - {"torch"} <= set(sys.stdlib_module_names)
