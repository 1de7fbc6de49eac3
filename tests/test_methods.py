"""The methods that the paper compares with: an independent transcription, values by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from losses import SCHEMES, build_scheme, options_of

N, B, K = 9, 4, 5  # training images, those of a mini-batch, classes
INDEX = torch.tensor([7, 0, 4, 2])
PRIOR = [0.9, 0.1, 0.4, 0.2, 0.05]
APL = {"num_images": N, "num_epochs": 6, "apl_start": 2}
# every method with its defaults, and with other options where it has any
VARIANTS = [
    ("IU", {}),
    ("WAN", {}),
    ("LSAN", {}),
    ("LSAN", {"ls_coef": 0.3}),
    ("EPR", {"expected_positives": 1.5}),
    ("EPR", {"expected_positives": 4}),
    ("ROLE", {"expected_positives": 1.5, "num_images": N}),
    ("EM", {}),
    ("EM", {"em_alpha": 2}),
    ("EM+APL", APL),
    ("EM+APL", {**APL, "em_alpha": 0.2, "apl_beta": 0.02}),
    ("ASL", {}),
    ("ASL", {"gammas": (1, 2.5), "clip": 0.2}),
    ("ASL", {"gammas": (0.5, 0.5), "clip": 0}),
    ("CSL", {}),
    ("CSL", {"mode": "ignore"}),
    ("CSL", {"mode": "negative", "clip": 0.1}),
    ("CSL", {"topk": 1, "gammas": (0.5, 1.5, 3)}),
    ("CSL", {"topk": 1, "prior": PRIOR, "prior_threshold": 0.3, "clip": 0.05}),
]
PLAIN = ("IU", "WAN", "LSAN", "EM", "EM+APL", "ASL", "CSL")  # a label's loss is its own affair


def ids(value):
    """What a test is called: a method by its name, options as they are written in a call."""
    if isinstance(value, dict):
        return ",".join(f"{name}={given}" for name, given in value.items()) or "default"
    return None


every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=ids)


def make(name, options):
    """The scheme in float64, with some soft labels where it has them."""
    torch.manual_seed(3)
    scheme = build_scheme(name, num_classes=K, **options).double()
    if name == "EM+APL":
        soft = torch.rand(N, K, dtype=torch.float64)
        scheme.soft_labels.copy_(torch.where(soft < 0.6, soft, -1))
    return scheme


def batch(seed, scale=2.0):
    """Logits [B, K] in float64, and labels of all three kinds."""
    rng = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(B, K, generator=rng, dtype=torch.float64)
    observed = torch.randint(-2, 3, (B, K), generator=rng)
    observed[0, :3] = torch.tensor([1, 0, -1])
    return logits, torch.where(observed.abs() == 2, observed.sign(), 0).float()


def run(scheme, logits, observed, index=INDEX):
    return scheme(logits, observed, epoch=2, index=index)


# The transcription of the formulas: numbers, entry by entry, from logits in float64. What the
# gradient does not see is computed from `held`.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def nl(v):
    return -np.log(v)


def cross_entropy(x, t):
    return t * nl(sigmoid(x)) + (1 - t) * nl(sigmoid(-x))


def of_label(name, x, held, z, soft, o):
    """The cost of a label in the methods that look at nothing else."""
    p, n = sigmoid(x), sigmoid(-x)  # n = 1 - p
    if name == "IU":
        return {1: nl(p), -1: nl(n), 0: 0}[z]
    if name == "WAN":
        return {1: nl(p), -1: nl(n), 0: nl(n) / (K - 1)}[z]
    if name == "LSAN":
        e = o.get("ls_coef", 0.1)
        return (1 - e) * nl(p) + e * nl(n) if z == 1 else (1 - e) * nl(n) + e * nl(p)
    if name in ("EM", "EM+APL"):
        if z != 0:
            return nl(p) if z == 1 else nl(n)
        if soft is not None and soft >= 0:
            return o.get("apl_beta", 0.9) * cross_entropy(x, soft)
        return -o.get("em_alpha", 0.1) * (p * nl(p) + n * nl(n))
    if name == "ASL":
        (up, down), clip = o.get("gammas", (0, 4)), o.get("clip", 0.05)
        q = max(p - clip, 0)
        return n**up * nl(p) if z == 1 else q**down * nl(min(n + clip, 1))
    assert name == "CSL"
    (up, down, unobserved), clip = o.get("gammas", (0, 1, 2)), o.get("clip", 0)
    q, fixed = min(1, n + clip), min(1, sigmoid(-held) + clip)
    easy = sigmoid(held) if clip == 0 else 1 - fixed  # 1 - q
    if z == 1:
        return sigmoid(-held) ** up * nl(p)
    return easy ** (down if z == -1 else unobserved) * nl(q)


def left_out(held, z, o):
    """The unobserved labels that CSL drops, as (row, column)."""
    unobserved = [(i, j) for i in range(B) for j in range(K) if z[i][j] == 0]
    mode = o.get("mode", "selective")
    if mode != "selective":
        return set(unobserved) if mode == "ignore" else set()
    clip = o.get("clip", 0)
    ranked = sorted(unobserved, key=lambda at: (min(1, sigmoid(-held[at[0]][at[1]]) + clip), at))
    frequent = {
        (i, j) for i, j in unobserved if o.get("prior") and o["prior"][j] > o["prior_threshold"]
    }
    return frequent | set(ranked[: o.get("topk", 0) * B])


def deviation(x, k):
    return (np.mean([sum(sigmoid(v) for v in row) for row in x]) - k) ** 2 / K**2


def of_side(x, t, z, k):
    """One half of ROLE's bracket: x learns, t are labels."""
    total = 0
    for i in range(B):
        for j in range(K):
            total += cross_entropy(x[i][j], t[i][j]) + (nl(sigmoid(x[i][j])) if z[i][j] == 1 else 0)
    return total / (B * K) + deviation(x, k)


def transcribed(name, options, x, held, z, theta=None, held_theta=None, soft=None):
    """The loss of the batch."""
    if name == "ROLE":
        k = options["expected_positives"]
        return of_side(x, sigmoid(held_theta), z, k) / 2 + of_side(theta, sigmoid(held), z, k) / 2
    if name == "EPR":
        found = [nl(sigmoid(x[i][j])) for i in range(B) for j in range(K) if z[i][j] == 1]
        return sum(found) / (B * K) + deviation(x, options["expected_positives"])
    dropped = left_out(held, z, options) if name == "CSL" else set()
    total = 0
    for i in range(B):
        for j in range(K):
            given = None if soft is None else soft[i][j]
            if (i, j) not in dropped:
                total += of_label(name, x[i][j], held[i][j], z[i][j], given, options)
    return total / (B * K)


def known_to(scheme):
    """What the scheme holds of the images of the batch, for the transcription."""
    rows = INDEX.tolist()
    if hasattr(scheme, "estimator"):
        theta = scheme.estimator.detach().double().numpy()[rows]
        return {"theta": theta, "held_theta": theta}
    return (
        {"soft": scheme.soft_labels.double().numpy()[rows]}
        if hasattr(scheme, "soft_labels")
        else {}
    )


def slopes(cost, at, step=1e-5):
    """The gradient of cost(array) by central differences."""
    result = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        moved = at.copy()
        moved[place] += step
        above = cost(moved)
        moved[place] -= 2 * step
        result[place] = (above - cost(moved)) / (2 * step)
    return result


@every_variant
def test_the_transcription_agrees_in_value_and_gradient(name, options):
    for seed in range(8):
        scheme, (logits, observed) = make(name, options), batch(seed)
        x, z, more = logits.numpy(), observed.int().tolist(), known_to(scheme)
        logits.requires_grad_()
        out = run(scheme, logits, observed)
        out.loss.backward()
        x = x.copy()
        assert out.loss.item() == pytest.approx(transcribed(name, options, x, x, z, **more))
        exact = slopes(lambda moved: transcribed(name, options, moved, x, z, **more), x)  # noqa: B023
        np.testing.assert_allclose(logits.grad, exact, rtol=1e-5, atol=1e-9)
        single = run(scheme.float(), logits.detach().float(), observed)
        assert single.loss.item() == pytest.approx(out.loss.item(), rel=1e-5)


def test_the_estimator_of_role_learns_from_its_own_half():
    """Its gradient is that of the transcription with p held, and 0 outside the batch."""
    options = {"expected_positives": 1.5, "num_images": N}
    scheme, (logits, observed) = make("ROLE", options), batch(1)
    run(scheme, logits, observed).loss.backward()
    x, z, more = logits.numpy(), observed.int().tolist(), known_to(scheme)
    held = more.pop("theta")
    exact = slopes(lambda moved: transcribed("ROLE", options, x, x, z, theta=moved, **more), held)
    gradient = scheme.estimator.grad
    np.testing.assert_allclose(gradient[INDEX], exact, rtol=1e-5, atol=1e-9)
    others = sorted(set(range(N)) - set(INDEX.tolist()))
    assert (gradient[others] == 0).all()
    assert (gradient[INDEX] != 0).all()


@pytest.mark.parametrize(
    ("name", "options"), [v for v in VARIANTS if v[0] not in ("ROLE", "CSL")], ids=ids
)
def test_gradcheck(name, options):
    """Not of ROLE and CSL, which stop gradients."""
    scheme, (logits, observed) = make(name, options), batch(5)
    assert torch.autograd.gradcheck(
        lambda x: run(scheme, x, observed).loss, logits.requires_grad_()
    )


# Worked by hand: p = .8 .5 .2 | .4 .9 .25, labels + ? - | ? - +, K = 3

P = torch.tensor([[0.8, 0.5, 0.2], [0.4, 0.9, 0.25]])
LABELS = torch.tensor([[1.0, 0, -1], [0, -1, 1]])
# -log of .8 and .8, of 1 - .9 and of .25
KNOWN = 0.2231436 + 0.2231436 + 2.3025851 + 1.3862944
BY_HAND = [
    ("AN", {}, (KNOWN + 0.6931472 + 0.5108256) / 6),  # -log .5, -log .6
    ("IU", {}, KNOWN / 6),
    ("WAN", {}, (KNOWN + (0.6931472 + 0.5108256) / 2) / 6),
    # .9 x .2231436 + .1 x 1.6094379 twice, -log .5, .9 x .5108256 + .1 x .9162907,
    # .9 x 2.3025851 + .1 x .1053605, .9 x 1.3862944 + .1 x .2876821
    ("LSAN", {}, (0.3617730 * 2 + 0.6931472 + 0.5513721 + 2.0828627 + 1.2764332) / 6),
    # -log .8 - log .25; the rows sum to 1.5 and 1.55, on average .525 above 1
    ("EPR", {"expected_positives": 1}, (0.2231436 + 1.3862944) / 6 + 0.275625 / 9),
    ("EPR", {"expected_positives": 2}, (0.2231436 + 1.3862944) / 6 + 0.225625 / 9),
    # the entropies of .5 and .4
    ("EM", {"em_alpha": 0.2}, (KNOWN - 0.2 * (0.6931472 + 0.6730117)) / 6),
    # .2 nl(.8), .4^2 nl(.6), .1^2 nl(.9), .3^2 nl(.7), .8^2 nl(.2), .75 nl(.25)
    (
        "ASL",
        {"gammas": (1, 2), "clip": 0.1},
        (0.0446287 + 0.0817321 + 0.0010536 + 0.0321007 + 1.0300403 + 1.0397208) / 6,
    ),
    # nl(.8), .5^2 nl(.5), .2 nl(.8), .4^2 nl(.6), .9 nl(.1), nl(.25)
    (
        "CSL",
        {"mode": "negative"},
        (0.2231436 + 0.1732868 + 0.0446287 + 0.0817321 + 2.0723266 + 1.3862944) / 6,
    ),
    ("CSL", {"mode": "ignore"}, (0.2231436 + 0.0446287 + 2.0723266 + 1.3862944) / 6),
    ("CSL", {"topk": 1}, (0.2231436 + 0.0446287 + 2.0723266 + 1.3862944) / 6),
    (
        "CSL",
        {"prior": [0, 0.3, 0.2], "prior_threshold": 0.2},
        (0.2231436 + 0.0446287 + 0.0817321 + 2.0723266 + 1.3862944) / 6,
    ),
]


@pytest.mark.parametrize(("name", "options", "expected"), BY_HAND, ids=ids)
def test_values_by_hand(name, options, expected):
    scheme = build_scheme(name, num_classes=3, **options)
    out = run(scheme, P.logit(), LABELS, torch.tensor([0, 1]))
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    assert out.loss.shape == ()


def test_role_by_hand():
    """The labels t = .9 .5 .1 | .5 .2 .6 lie in the rows 3 and 1 of the estimator."""
    scheme = build_scheme("ROLE", num_classes=3, expected_positives=1, num_images=4)
    t = torch.tensor([[0.9, 0.5, 0.1], [0.5, 0.2, 0.6]])
    with torch.no_grad():
        scheme.estimator[[3, 1]] = t.logit()
    out = run(scheme, P.logit(), LABELS, torch.tensor([3, 1]))
    # -log .8 - log .25, then CE(p | t)
    model = 1.6094379 + 0.3617730 * 2 + 0.6931472 + 0.7135582 + 1.8631402 + 0.9468494
    # -log .9 - log .6, then CE(t | p); the rows sum to 1.5 and 1.3
    labels = 0.6161861 + 0.5448054 * 2 + 0.6931472 * 2 + 1.4708085 + 0.8149244
    expected = (model / 6 + 0.275625 / 9) / 2 + (labels / 6 + 0.16 / 9) / 2
    assert expected == pytest.approx(1.01816, abs=1e-5)
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)


def test_em_apl_by_hand():
    """The soft label .3 costs .5 x (.3 nl(.4) + .7 nl(.6)); one on an observed label is void."""
    options = {"num_images": 4, "num_epochs": 9, "em_alpha": 0.2, "apl_beta": 0.5}
    scheme = build_scheme("EM+APL", num_classes=3, **options)
    scheme.soft_labels[1, 0] = 0.3
    scheme.soft_labels[1, 1] = 0.5
    out = run(scheme, P.logit(), LABELS, torch.tensor([3, 1]))
    expected = (KNOWN - 0.2 * 0.6931472 + 0.5 * (0.3 * 0.9162907 + 0.7 * 0.5108256)) / 6
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)


# Numbers: precision and extremes


def extreme_batch():
    """Each kind of label with logits from -100 to 100, where no two magnitudes round to a tie."""
    rows = [
        [-100, 100, -50, 50, 0],
        [100, -99, 18, -18, 3],
        [88, -88, 30, -30, 98],
        [90, 17, 1, -1, 0],
    ]
    logits = torch.tensor(rows, dtype=torch.float64)
    observed = torch.tensor(
        [[1.0, 1, -1, -1, 0], [-1, -1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, -1, 1]]
    )
    return logits, observed


@every_variant
def test_extreme_logits_are_exact_in_float32(name, options):
    scheme, (wide, observed) = make(name, options).float(), extreme_batch()
    x, z, more = wide.numpy(), observed.int().tolist(), known_to(scheme)
    logits = wide.float().requires_grad_()
    out = run(scheme, logits, observed)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(transcribed(name, options, x, x, z, **more), rel=1e-5)
    exact = slopes(lambda moved: transcribed(name, options, moved, x, z, **more), x, 1e-4)
    np.testing.assert_allclose(logits.grad, exact, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("magnitude", [20.0, 88.0, 100.0, 104.0, 200.0])
@every_variant
def test_far_out_every_loss_and_gradient_is_finite(name, options, magnitude):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        scheme = make(name, options).float()
        for sign in (1, -1):
            logits = torch.full((B, K), sign * magnitude, dtype=dtype, requires_grad=True)
            observed = torch.tensor([[1.0, 0, -1, 0, 1]]).expand(B, K)
            out = run(scheme, logits, observed)
            out.loss.backward()
            assert out.loss.isfinite()
            assert logits.grad.isfinite().all()
            assert all(p.grad.isfinite().all() for p in scheme.parameters())


@every_variant
def test_under_autocast_the_loss_is_that_of_the_same_numbers_in_float32(name, options):
    _, observed = batch(2)
    scheme = make(name, options).float()
    torch.manual_seed(0)
    head, features = torch.nn.Linear(6, K), torch.randn(B, 6)
    with torch.autocast("cpu", torch.bfloat16):
        logits = (90 * head(features)).clamp(-100, 100)
        out = run(scheme, logits, observed)
    assert logits.dtype == torch.bfloat16
    assert 75 < logits.abs().max() < 100
    assert out.loss.dtype == torch.float32
    assert out.loss == run(scheme, logits.detach().float(), observed).loss
    out.loss.backward()
    assert head.weight.grad.isfinite().all()
    assert head.weight.grad.any()


@every_variant
def test_nothing_waits_for_the_device(name, options):
    """A tensor on the meta device has no values: whoever asked for one would fail."""
    scheme = build_scheme(name, num_classes=K, **options).to("meta")
    logits = torch.empty(B, K, device="meta")
    out = run(scheme, logits, torch.empty_like(logits), INDEX.to("meta"))
    assert out.loss.device.type == "meta"


# Properties


@pytest.mark.parametrize("name", PLAIN)
def test_an_observed_label_does_not_depend_on_unobserved_ones(name):
    for options in [options for listed, options in VARIANTS if listed == name]:
        scheme, (logits, observed) = make(name, options), batch(6)
        gradients = []
        for shift in (0, 3, -5):
            x = torch.where(observed == 0, logits + shift, logits).requires_grad_()
            run(scheme, x, observed).loss.backward()
            gradients.append(x.grad[observed != 0])
        assert torch.equal(gradients[0], gradients[1])
        assert torch.equal(gradients[0], gradients[2])
        assert gradients[0].all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("IU", {}),
        ("WAN", {}),
        ("LSAN", {"ls_coef": 0}),
        ("EM", {}),
        ("EM+APL", APL),
        ("ASL", {"gammas": (0, 0), "clip": 0}),
        ("CSL", {"gammas": (0, 0, 0), "topk": 3, "prior": PRIOR, "prior_threshold": 0}),
        ("CSL", {"gammas": (0, 0, 0), "mode": "ignore"}),
    ],
    ids=ids,
)
def test_with_every_label_observed_it_is_assume_negative(name, options):
    logits, observed = batch(7)
    observed = torch.where(observed == 0, -1, observed)
    expected = run(build_scheme("AN", num_classes=K), logits, observed).loss
    assert run(make(name, options), logits, observed).loss.item() == pytest.approx(expected.item())


@every_variant
def test_only_selective_csl_selects(name, options):
    logits, observed = batch(8)
    out = run(make(name, options), logits, observed)
    if name == "CSL" and options.get("mode", "selective") == "selective":
        assert out.selected.dtype == torch.bool
        assert not out.selected[observed != 0].any()
    else:
        assert out.selected is None


def test_iu_gives_unobserved_labels_no_gradient():
    logits, observed = batch(9)
    run(make("IU", {}), logits.requires_grad_(), observed).loss.backward()
    assert (logits.grad[observed == 0] == 0).all()
    assert (logits.grad[observed != 0] != 0).all()


def test_epr_does_not_look_at_known_negatives():
    logits, observed = batch(9)
    scheme = make("EPR", {"expected_positives": 2})
    assert (observed == -1).any()
    loss = run(scheme, logits, observed).loss
    assert loss == run(scheme, logits, observed.clamp(min=0)).loss


@pytest.mark.parametrize(("classes", "weight"), [(1, 1), (2, 1), (3, 0.5), (81, 1 / 80)])
def test_wan_weighs_an_unobserved_label_by_the_number_of_classes(classes, weight):
    logits, labels = torch.zeros(2, classes), torch.zeros(2, classes)
    loss = run(build_scheme("WAN", num_classes=classes), logits, labels, INDEX[:2]).loss
    assert loss.item() == pytest.approx(weight * math.log(2))


def test_em_pays_for_doubt_and_only_where_unobserved():
    """Negative, the most so at p = .5; without unobserved labels positive."""
    scheme = build_scheme("EM", num_classes=1, em_alpha=0.5)

    def loss(logit, label):
        return run(scheme, torch.tensor([[logit]]), torch.tensor([[label]]), INDEX[:1]).loss.item()

    assert loss(0.0, 0.0) == pytest.approx(-0.5 * math.log(2))
    assert loss(0.0, 0.0) < loss(1.0, 0.0) < 0
    assert loss(1.0, 0.0) == pytest.approx(loss(-1.0, 0.0))
    assert loss(1.0, -1.0) > loss(1.0, 1.0) > 0


# The estimator of ROLE


def start(observed=None, seed=0):
    torch.manual_seed(seed)
    options = {"expected_positives": 1, "num_images": 200, "observed": observed}
    return build_scheme("ROLE", num_classes=3, **options)


def test_the_estimator_starts_from_what_is_observed():
    observed = torch.zeros(200, 3, dtype=torch.int8)
    observed[:50, 0], observed[:50, 1] = 1, -1
    probabilities = start(observed).estimator.detach().sigmoid()
    assert probabilities[observed == 1].numpy() == pytest.approx(0.995)
    assert probabilities[observed == -1].numpy() == pytest.approx(0.005)
    unknown = probabilities[observed == 0]
    assert 0.4 <= unknown.min() < 0.405
    assert 0.595 < unknown.max() <= 0.6
    assert unknown.logit().mean().abs() < 0.03
    without = start().estimator.detach()
    assert without.abs().max() <= math.log(1.5)
    assert torch.equal(without[observed == 0], start(observed).estimator.detach()[observed == 0])


def test_the_estimator_is_drawn_from_the_global_generator():
    assert torch.equal(start(seed=5).estimator, start(seed=5).estimator)
    assert not torch.equal(start(seed=5).estimator, start(seed=6).estimator)


def test_the_estimator_is_a_parameter_with_ten_times_the_rate_and_survives_a_round_trip():
    scheme, other = start(seed=1), start(seed=2)
    assert [name for name, _ in scheme.named_parameters()] == ["estimator"]
    assert scheme.estimator.shape == (200, 3)
    assert scheme.lr_factor == 10
    other.load_state_dict(scheme.state_dict())
    assert torch.equal(other.estimator, scheme.estimator)
    assert build_scheme("EPR", num_classes=3, expected_positives=1).lr_factor == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("table", "step"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_the_tables_may_lie_on_another_device(table, step):
    for name, options in (v for v in VARIANTS if v[0] in ("ROLE", "EM+APL")):
        scheme, (logits, observed) = make(name, options), batch(1)
        expected = run(scheme, logits, observed).loss.item()
        scheme.to(table)
        for index in (INDEX, INDEX.cuda()):
            out = run(scheme, logits.to(step), observed.to(step), index)
            assert out.loss.device.type == step
            assert out.loss.item() == pytest.approx(expected)


# The soft labels of EM+APL


def with_labels(num_epochs, apl_start, rows=6, columns=1):
    return build_scheme(
        "EM+APL", num_classes=columns, num_images=rows, num_epochs=num_epochs, apl_start=apl_start
    )


def given(scheme, column=0):
    """The soft labels of a class by image."""
    values = scheme.soft_labels[:, column].tolist()
    return {n: round(value, 6) for n, value in enumerate(values) if value != -1}


def test_the_lowest_unlabelled_predictions_become_labels():
    """Five of six are unobserved, two epochs share 90 % of them: floor(4.5 / 2) = 2 each."""
    scheme = with_labels(num_epochs=4, apl_start=2)
    observed = torch.tensor([[0], [-1], [0], [0], [0], [0]])
    first = torch.tensor([[0.5], [0.01], [0.3], [0.9], [0.1], [0.4]])
    scheme.after_epoch(1, first, observed)
    assert given(scheme) == {}
    scheme.after_epoch(2, first, observed)
    assert given(scheme) == {2: 0.3, 4: 0.1}
    later = torch.tensor([[0.7], [0.0], [0.0], [0.2], [0.9], [0.6]])
    scheme.after_epoch(3, later, observed)
    assert given(scheme) == {2: 0.3, 3: 0.2, 4: 0.1, 5: 0.6}
    scheme.after_epoch(4, later, observed)
    assert given(scheme) == {2: 0.3, 3: 0.2, 4: 0.1, 5: 0.6}


def test_equal_predictions_go_by_position():
    scheme = with_labels(num_epochs=3, apl_start=1, rows=7)  # floor(6.3 / 2) = 3
    scheme.after_epoch(1, torch.full((7, 1), 0.25), torch.zeros(7, 1))
    assert given(scheme) == {0: 0.25, 1: 0.25, 2: 0.25}


def test_the_predictions_are_asked_for_from_epoch_w_to_the_last_but_one():
    scheme = with_labels(num_epochs=6, apl_start=3)
    assert [scheme.predicts_after(epoch) for epoch in range(1, 8)] == [
        False, False, True, True, True, False, False,
    ]  # fmt: skip
    usual = build_scheme("EM+APL", num_classes=1, num_images=6, num_epochs=7)
    assert [epoch for epoch in range(1, 9) if usual.predicts_after(epoch)] == [5, 6]


@pytest.mark.parametrize(("num_epochs", "apl_start"), [(5, 5), (4, 5), (1, 1)])
def test_a_run_that_ends_before_epoch_w_gets_no_soft_label(num_epochs, apl_start):
    scheme = with_labels(num_epochs, apl_start)
    for epoch in range(1, num_epochs + 2):
        assert not scheme.predicts_after(epoch)
        scheme.after_epoch(epoch, torch.rand(6, 1), torch.zeros(6, 1))
    assert given(scheme) == {}


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "EM+APL"])
def test_other_schemes_want_no_predictions(name):
    options = {option: 3 for option in ("num_images", "expected_positives")}
    options = {option: value for option, value in options.items() if option in options_of(name)}
    scheme = build_scheme(name, num_classes=2, **options)
    assert not any(scheme.predicts_after(epoch) for epoch in range(1, 9))
    before = {key: value.clone() for key, value in scheme.state_dict().items()}
    scheme.after_epoch(1, torch.rand(3, 2), torch.zeros(3, 2))
    assert all(torch.equal(before[key], value) for key, value in scheme.state_dict().items())


@pytest.mark.parametrize(("num_epochs", "apl_start"), [(10, 5), (6, 1), (4, 3), (9, 2)])
def test_a_slow_second_implementation_gives_the_same_soft_labels(num_epochs, apl_start):
    rows, columns = 50, 4
    scheme = with_labels(num_epochs, apl_start, rows, columns)
    rng = np.random.RandomState(num_epochs)
    observed = rng.choice([-1, 0, 0, 0, 1], (rows, columns))
    observed[:, 3] = 0  # 0.9 x 50 / 5 = 9 exactly
    expected: dict[tuple[int, int], float] = {}
    for epoch in range(1, num_epochs + 1):
        predicted = rng.randint(0, 40, (rows, columns)) / 64  # with ties
        if apl_start <= epoch < num_epochs:
            for k in range(columns):
                unlabelled = [n for n in range(rows) if observed[n, k] == 0]
                share = Fraction(9, 10) * len(unlabelled) / (num_epochs - apl_start)
                free = [n for n in unlabelled if (n, k) not in expected]
                chosen = sorted(free, key=lambda n: (predicted[n, k], n))[: math.floor(share)]
                expected.update({(n, k): predicted[n, k] for n in chosen})
        with torch.inference_mode():  # as the predictions of an evaluation are made
            probabilities = torch.tensor(predicted)
        scheme.after_epoch(epoch, probabilities, torch.from_numpy(observed).to(torch.int8))
        held = scheme.soft_labels
        found = {(n, k): held[n, k].item() for n, k in (held != -1).nonzero().tolist()}
        assert found == expected, epoch
    assert len(expected) > rows * columns / 3


def test_a_soft_label_of_exactly_0_is_one():
    scheme = with_labels(3, 1)
    scheme.soft_labels[2] = 0
    out = run(scheme, torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([2]))
    assert out.loss.item() == pytest.approx(0.9 * math.log(2))


def test_soft_labels_survive_a_round_trip():
    scheme, other = with_labels(3, 1), with_labels(3, 1)
    scheme.after_epoch(1, torch.rand(6, 1), torch.zeros(6, 1))
    assert given(scheme)
    other.load_state_dict(scheme.state_dict())
    assert torch.equal(other.soft_labels, scheme.soft_labels)


@pytest.mark.parametrize("wrong", [-0.5, 1.5, math.nan])
def test_logits_are_no_predictions(wrong):
    scheme, predicted = with_labels(3, 1), torch.full((6, 1), 0.5)
    predicted[3] = wrong
    with pytest.raises(ValueError, match=r"the range of probabilities is .* take the sigmoid"):
        scheme.after_epoch(1, predicted, torch.zeros(6, 1))
    assert given(scheme) == {}


# What CSL leaves out

CHANCES = torch.tensor([[0.9, 0.6, 0.95], [0.7, 0.2, 0.3]])
SEEN = torch.tensor([[0.0, 0, 1], [0, 0, -1]])  # unobserved: .9 .6 | .7 .2


@pytest.mark.parametrize(
    ("options", "dropped"),
    [
        ({}, []),
        ({"topk": 1}, [(0, 0), (1, 0)]),  # the two largest of the batch, not one of each image
        ({"topk": 2}, [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ({"topk": 3}, [(0, 0), (0, 1), (1, 0), (1, 1)]),  # there are no six
        ({"topk": 100}, [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ({"prior": [0, 0.5, 1], "prior_threshold": 0.2}, [(0, 1), (1, 1)]),
        ({"prior": [0, 0.2, 1], "prior_threshold": 0.2}, []),  # it must exceed the threshold
        # the prior drops the two most likely ones, which are the topk * B ones as well
        ({"topk": 1, "prior": [1, 0, 0], "prior_threshold": 0.5}, [(0, 0), (1, 0)]),
        ({"topk": 1, "prior": [0, 1, 0], "prior_threshold": 0.5}, [(0, 0), (0, 1), (1, 0), (1, 1)]),
    ],
    ids=str,
)
def test_what_the_selective_mode_drops(options, dropped):
    scheme = build_scheme("CSL", num_classes=3, **options)
    logits = CHANCES.logit().requires_grad_()
    out = run(scheme, logits, SEEN, INDEX[:2])
    assert [tuple(place) for place in out.selected.nonzero().tolist()] == dropped
    out.loss.backward()
    assert torch.equal(logits.grad == 0, out.selected)


def test_equal_chances_are_dropped_by_position():
    observed = torch.tensor([[1.0, 0, -1, 0], [0, 0, 1, 0]])
    for clip, logit in ((0.0, 0.7), (0.5, -2.0)):  # below the clip q is 1 for all
        logits = torch.full((2, 4), logit) - clip * torch.arange(8).view(2, 4).flip(0) / 8
        scheme = build_scheme("CSL", num_classes=4, topk=1, clip=clip)
        out = run(scheme, logits, observed, INDEX[:2])
        assert out.selected.nonzero().tolist() == [[0, 1], [0, 3]]


@pytest.mark.parametrize("topk", [0, 1, 2, 4])
def test_topk_counts_over_the_unobserved_labels_of_the_batch(topk):
    for seed in range(20):
        logits, observed = batch(seed)
        unobserved = int((observed == 0).sum())
        scheme = build_scheme("CSL", num_classes=K, topk=topk)
        assert run(scheme, logits, observed).selected.sum() == min(topk * B, unobserved)


def test_the_prior_is_part_of_the_state():
    scheme = build_scheme("CSL", num_classes=K, prior=torch.tensor(PRIOR), prior_threshold=0.3)
    other = build_scheme("CSL", num_classes=K)
    other.load_state_dict(scheme.state_dict())
    assert other.frequent.tolist() == [True, False, True, False, False]


# The registry and the options

OPTIONS = {
    "AN": ("delta_rel", "rate_base"),
    "LL-R": ("delta_rel", "rate_base"),
    "LL-Ct": ("delta_rel", "rate_base"),
    "LL-Cp": ("delta_rel", "rate_base"),
    "IU": (),
    "WAN": (),
    "LSAN": ("ls_coef",),
    "EPR": ("expected_positives",),
    "ROLE": ("expected_positives", "num_images", "observed"),
    "EM": ("em_alpha",),
    "EM+APL": ("num_images", "num_epochs", "em_alpha", "apl_start", "apl_beta"),
    "ASL": ("gammas", "clip"),
    "CSL": ("mode", "gammas", "clip", "topk", "prior", "prior_threshold"),
}
VALUES = {
    "delta_rel": 0.2,
    "rate_base": "all",
    "ls_coef": 0.2,
    "expected_positives": 2.9,
    "num_images": N,
    "observed": torch.zeros(N, K),
    "num_epochs": 10,
    "em_alpha": 0.2,
    "apl_start": 3,
    "apl_beta": 0.4,
    "mode": "ignore",
    "clip": 0.1,
    "topk": 2,
    "prior": PRIOR,
    "prior_threshold": 0.5,
}


def test_the_registry_holds_every_method_with_its_options():
    assert {name: options_of(name) for name in SCHEMES} == OPTIONS


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_taken_by_name(name):
    gammas = {"ASL": (1, 3), "CSL": (1, 3, 2)}.get(name)
    options = {option: VALUES.get(option, gammas) for option in options_of(name)}
    scheme = build_scheme(name, num_classes=K, **options)
    assert type(scheme) is SCHEMES[name]
    unkept = {"num_images", "observed", "prior", "prior_threshold"}
    for option in set(options if name != "AN" else ()) - unkept:
        assert getattr(scheme, option) == options[option]


REFUSED = [
    ("LSAN", {"ls_coef": 0.6}, "ls_coef is 0.6: give a share from 0 to 0.5"),
    ("LSAN", {"ls_coef": -0.1}, "ls_coef is -0.1"),
    ("LSAN", {"ls_coef": math.nan}, "ls_coef is nan"),
    ("LSAN", {"ls_coef": "much"}, "LSAN: "),
    ("EPR", {}, "EPR: missing a required argument: 'expected_positives'"),
    ("EPR", {"expected_positives": 0}, "expected_positives is 0: give the mean number of positive"),
    ("EPR", {"expected_positives": math.inf}, "expected_positives is inf"),
    ("ROLE", {"expected_positives": 1}, "ROLE: missing a required argument: 'num_images'"),
    ("ROLE", {"expected_positives": -1, "num_images": N}, "expected_positives is -1"),
    ("ROLE", {"expected_positives": 1, "num_images": 0}, "num_images is 0: give a whole number"),
    (
        "ROLE",
        {"expected_positives": 1, "num_images": N, "observed": torch.zeros(K, N)},
        r"observed.shape is \(5, 9\): labels of \(9, 5\) are needed",
    ),
    ("EM", {"em_alpha": 0}, "em_alpha is 0: give a weight above 0"),
    ("EM", {"em_alpha": math.inf}, "em_alpha is inf"),
    ("EM", {"apl_beta": 0.1}, r"EM: .*apl_beta.* \(its options: em_alpha\)"),
    ("EM+APL", {**APL, "em_alpha": -1}, "em_alpha is -1"),
    ("EM+APL", {**APL, "num_images": 0}, "num_images is 0"),
    ("EM+APL", {**APL, "num_epochs": 2.5}, "num_epochs is 2.5: give a whole number, at least 1"),
    ("EM+APL", {**APL, "apl_start": 0}, "apl_start is 0"),
    ("EM+APL", {**APL, "apl_beta": -0.1}, "apl_beta is -0.1: give a weight, 0 or more"),
    ("ASL", {"gammas": (0, 1, 2)}, r"gammas is \(0, 1, 2\): give g\+, g-, each from 0 to 100"),
    ("ASL", {"gammas": (0, -1)}, r"gammas is \(0, -1\)"),
    ("ASL", {"gammas": 4}, "ASL: "),
    ("ASL", {"clip": 1}, "clip is 1: give a share from 0, below 1"),
    ("CSL", {"mode": "some"}, "mode is 'some': one of selective, ignore, negative"),
    ("CSL", {"gammas": (0, 1)}, r"gammas is \(0, 1\): give g\+, g-, gu, each from 0 to 100"),
    ("CSL", {"gammas": (0, 1, 101)}, "gammas is"),
    ("CSL", {"clip": -0.1}, "clip is -0.1"),
    ("CSL", {"topk": -1}, "topk is -1: give a whole number, at least 0"),
    ("CSL", {"topk": 1.5}, "topk is 1.5"),
    ("CSL", {"prior": PRIOR}, "prior_threshold is None: a prior needs one: give both"),
    ("CSL", {"prior_threshold": 0.5}, "prior is None: the threshold needs one: give both"),
    ("CSL", {"prior": PRIOR, "prior_threshold": 2}, "prior_threshold is 2"),
    ("CSL", {"prior": PRIOR[1:], "prior_threshold": 0.5}, r"prior.shape is \(4,\): give 5, one a"),
    (
        "CSL",
        {"prior": [*PRIOR[1:], 1.5], "prior_threshold": 0.5},
        r"prior is \[1.5\]: give shares from 0 to 1",
    ),
    (
        "CSL",
        {"prior": [*PRIOR[1:], math.nan], "prior_threshold": 0.5},
        r"prior is \[nan\]",
    ),
    ("IU", {"delta_rel": 0.2}, r"IU: .*delta_rel.* \(its options: none\)"),
    ("IU", {"rate_base": "all"}, "IU: .*rate_base"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_a_bad_option_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        build_scheme(name, num_classes=K, **options)
    assert "\n" not in str(raised.value)


def test_the_options_of_an_unknown_scheme_are_asked_for():
    with pytest.raises(ValueError, match="unknown scheme 'PSL': one of AN, LL-R"):
        options_of("PSL")
