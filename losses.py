"""Losses for multi-label classification with partly annotated labels.

This file needs torch alone: copy it into your own project.

Letters in shapes: B images of a mini-batch, N of the training split, K classes. Labels are
1 positive, -1 negative and 0 not annotated ("unobserved"). Letters in formulas, of a single label:
z its value, p = sigmoid(logit), nl(v) = -log v. A scheme is built once and called at every step:

    scheme = build_scheme("LL-R", num_classes=K, delta_rel=0.2)
    out = scheme(logits, observed, epoch=epoch, index=index)     # epoch counts from 1
    out.loss.backward()

A scheme may have parameters (ROLE): give `scheme.parameters()` to the optimizer, at
`scheme.lr_factor` times the learning rate. Where `scheme.predicts_after(epoch)` says so (EM+APL),
call `scheme.after_epoch` once the epoch is finished.

Source of AN and LL-*: Kim et al., "Large Loss Matters in Weakly Supervised Multi-Label
Classification", CVPR 2022, arXiv 2206.03740; of the others: what their classes name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE_BASES = ("unobserved", "all")
CSL_MODES = ("selective", "ignore", "negative")


class SchemeOutput(NamedTuple):
    """What a scheme makes of a mini-batch."""

    loss: Tensor  # scalar, mean over the B*K labels
    selected: Tensor | None  # bool [B, K], the rejected or corrected labels; None: selects nothing


def assume_negative_loss(logits: Tensor, observed: Tensor) -> Tensor:
    """Binary cross-entropy of every label, [B, K], unobserved labels taken for negative.

    Kim et al. 2022, section 3: l_i = BCE(f(x)_i, y^AN_i). `logits` and `observed` are [B, K];
    computed from the logits in float32 at least, so it is finite for any finite logit.
    """
    return _cross_entropy(logits, observed.clamp(min=0))


def large_entries(
    loss: Tensor, unobserved: Tensor, rate: float, rate_base: str = "unobserved"
) -> Tensor:
    """Mark the `rate` share of the unobserved entries whose loss is largest.

    Kim et al. 2022, R(t). `loss` [B, K], `unobserved` bool [B, K], `rate` in [0, 1].
    Exactly min(ceil(rate * n), |S_u|) entries are marked, ties broken by position; an observed
    entry never is. n = |S_u|, the unobserved entries of the batch, or B*K with
    `rate_base="all"`, the count of the authors' code.

    Nothing here waits for a GPU: there, top-k runs with an upper bound of k known on the host.
    """
    at_most = _ceil_share(rate, loss.numel())
    available = unobserved.sum()
    if rate_base == "all":
        k = available.clamp(max=at_most)
    else:
        k = torch.ceil(available.double() * rate - _ROUNDING).long()
    return _largest(loss, unobserved, k, at_most)


class Scheme(nn.Module):
    """The base of all schemes: a loss for every label, and none is selected.

    Raises ValueError for an option outside its range, as every scheme does.
    """

    permanent = False  # whether `selected` labels become positive for good
    lr_factor = 1.0  # of its parameters, in multiples of the rate that the network learns at

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = _count("num_classes", num_classes)

    def rate(self, epoch: int) -> float:
        """The share of labels that is selected in this epoch, in [0, 1]."""
        return 0.0

    def forward(
        self, logits: Tensor, observed: Tensor, *, epoch: int, index: Tensor
    ) -> SchemeOutput:
        """The loss of a mini-batch, and the labels it rejected or corrected.

        `logits` [B, K]; `observed` [B, K] in {-1, 0, 1}; `epoch` from 1; `index` [B], the
        images' places in the training split.
        """
        return SchemeOutput(self.label_losses(_precise(logits), observed, index).mean(), None)

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The loss of every label, [B, K]. Arguments as in `forward`, logits float32 at least."""
        raise NotImplementedError

    def predicts_after(self, epoch: int) -> bool:
        """Whether `after_epoch` wants to see the predictions once this epoch is finished."""
        return False

    def after_epoch(self, epoch: int, probabilities: Tensor, observed: Tensor) -> None:
        """Learn from the predictions on all training images, made in evaluation mode.

        `probabilities` [N, K]; `observed` [N, K] in {-1, 0, 1}; the rows are what `index` counts.
        To be called before the epoch is saved, where `predicts_after` says so.
        """

    def continue_from(self, earlier: Scheme) -> None:
        """Take over what the same scheme has learned in a phase of training before this one."""


class AssumeNegative(Scheme):
    """AN: every unobserved label counts as negative. With all labels observed: "full label".

    Kim et al., CVPR 2022, section 3. z = 1: nl(p), else nl(1 - p). It takes the options of the
    large-loss schemes, so that all of the paper are built by the same call, and selects nothing.
    """

    def __init__(
        self, num_classes: int, delta_rel: float = 0.0, rate_base: str = "unobserved"
    ) -> None:
        super().__init__(num_classes)
        _check_rate(delta_rel, rate_base)

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The cross-entropies."""
        return assume_negative_loss(logits, observed)


class LargeLoss(Scheme):
    """The base of the schemes that modify the unobserved labels with the largest loss.

    Logits must be finite.
    delta_rel: percent per epoch, 0 to 100. rate_base: what the percentage is taken of,
    "unobserved" (the paper) or "all" labels of the batch (the authors' code).
    """

    def __init__(
        self, num_classes: int, delta_rel: float = 0.0, rate_base: str = "unobserved"
    ) -> None:
        super().__init__(num_classes)
        _check_rate(delta_rel, rate_base)
        self.delta_rel = delta_rel
        self.rate_base = rate_base

    def rate(self, epoch: int) -> float:
        """(epoch - 1) * delta_rel percent, at most all: Kim et al. 2022, R(t)."""
        return min((epoch - 1) * self.delta_rel / 100, 1.0)

    def forward(
        self, logits: Tensor, observed: Tensor, *, epoch: int, index: Tensor
    ) -> SchemeOutput:
        """The mean loss once the selected labels are modified, and which they are.

        Arguments as in `Scheme.forward`. Raises ValueError for an epoch below 1.
        """
        _check(epoch >= 1, "epoch", epoch, "epochs count from 1")
        loss = assume_negative_loss(logits, observed)
        selected = large_entries(loss, observed == 0, self.rate(epoch), self.rate_base)
        return SchemeOutput(self.modified(loss, selected, logits).mean(), selected)

    def modified(self, loss: Tensor, selected: Tensor, logits: Tensor) -> Tensor:
        """The losses [B, K] of the batch with those of the selected labels replaced."""
        raise NotImplementedError


class LargeLossRejection(LargeLoss):
    """LL-R: a large loss is left out, lambda_i = 0."""

    def modified(self, loss: Tensor, selected: Tensor, logits: Tensor) -> Tensor:
        """The losses, 0 where selected."""
        return loss.masked_fill(selected, 0.0)


class LargeLossTemporaryCorrection(LargeLoss):
    """LL-Ct: a label with a large loss counts as positive, for this step only.

    lambda_i = log f_i / log(1 - f_i) turns the cross-entropy against 0 into that against 1.
    """

    def modified(self, loss: Tensor, selected: Tensor, logits: Tensor) -> Tensor:
        """The losses, against the label 1 where selected."""
        return torch.where(selected, loss - _precise(logits), loss)  # nl(p) = nl(1 - p) - logit


class LargeLossPermanentCorrection(LargeLossTemporaryCorrection):
    """LL-Cp: a label with a large loss is positive for good, from this step on.

    The caller keeps the labels: where `permanent` is true, it writes `selected` back as 1.
    """

    permanent = True

    def rate(self, epoch: int) -> float:
        """delta_rel percent in every epoch from the second on."""
        return self.delta_rel / 100 if epoch > 1 else 0.0


class IgnoreUnobserved(Scheme):
    """IU: an unobserved label costs nothing.

    Kim et al., CVPR 2022, tables. z = 1: nl(p); z = -1: nl(1 - p); z = 0: 0.
    """

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The cross-entropies, 0 where unobserved."""
        return assume_negative_loss(logits, observed).masked_fill(observed == 0, 0.0)


class WeakAssumeNegative(Scheme):
    """WAN: AN, an unobserved label weighing 1 / (K - 1); 1 where there is a single class.

    Cole et al., CVPR 2021. z = 1: nl(p); z = -1: nl(1 - p); z = 0: nl(1 - p) / (K - 1).
    """

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The cross-entropies, weighted."""
        loss = assume_negative_loss(logits, observed)
        return torch.where(observed == 0, loss / max(self.num_classes - 1, 1), loss)


class SmoothAssumeNegative(Scheme):
    """LSAN: AN with smoothed labels, 1 - e in place of 1 and e in place of 0.

    Cole et al., CVPR 2021. z = 1: (1 - e) nl(p) + e nl(1 - p), else (1 - e) nl(1 - p) + e nl(p).
    ls_coef: e, from 0 (AN) to 0.5.
    """

    def __init__(self, num_classes: int, ls_coef: float = 0.1) -> None:
        super().__init__(num_classes)
        _check(0 <= ls_coef <= 0.5, "ls_coef", ls_coef, "give a share from 0 to 0.5")
        self.ls_coef = ls_coef

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The cross-entropies against the smoothed labels."""
        target = (observed == 1).to(logits)
        return _cross_entropy(logits, self.ls_coef + (1 - 2 * self.ls_coef) * target)


class ExpectedPositives(Scheme):
    """EPR: observed positives, and as many predicted ones per image as are expected.

    Cole et al., CVPR 2021. z = 1: nl(p), else 0; plus (mean over images of sum p - k)^2 / K^2.
    expected_positives: k, the mean number of positive labels of an image.
    """

    def __init__(self, num_classes: int, expected_positives: float) -> None:
        super().__init__(num_classes)
        valid = 0 < expected_positives < math.inf
        rule = "give the mean number of positive labels of an image, above 0"
        _check(valid, "expected_positives", expected_positives, rule)
        self.expected_positives = expected_positives

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The losses, each with the batch's deviation added, so that the mean has it once."""
        return _of_positives(logits, observed) + self.deviation(logits)

    def deviation(self, logits: Tensor) -> Tensor:
        """The squared term: how far the batch is from the expected positives, a scalar."""
        predicted = logits.sigmoid().sum(1).mean()
        return ((predicted - self.expected_positives) / self.num_classes) ** 2


class OnlineEstimation(ExpectedPositives):
    """ROLE: EPR, with labels t = sigmoid(theta) that are learned beside the model.

    Cole et al., CVPR 2021. side(p, t) / 2 + side(t, p) / 2, where side(p, t) is EPR of p plus
    t nl(p) + (1 - t) nl(1 - p) with t held still.
    num_images: N. observed: labels [N, K] to start from: t = .995 where positive, .005 where
    negative, anything from .4 to .6 elsewhere, theta drawn evenly by torch's global generator.
    """

    lr_factor = 10.0

    def __init__(
        self,
        num_classes: int,
        expected_positives: float,
        num_images: int,
        observed: Tensor | None = None,
    ) -> None:
        super().__init__(num_classes, expected_positives)
        shape = (_count("num_images", num_images), num_classes)
        theta = torch.empty(shape).uniform_(-_logit(0.6), _logit(0.6))
        if observed is not None:
            known = torch.as_tensor(observed, device="cpu")
            fits = known.shape == shape
            _check(fits, "observed.shape", tuple(known.shape), f"labels of {shape} are needed")
            theta[known == 1] = _logit(0.995)
            theta[known == -1] = _logit(0.005)
        self.estimator = nn.Parameter(theta)

    @torch.no_grad()
    def continue_from(self, earlier: Scheme) -> None:
        """Go on with the labels that it has estimated, as the authors do after a linear phase."""
        if isinstance(earlier, OnlineEstimation):
            self.estimator.copy_(earlier.estimator)

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The mean of both sides, that of the model and that of the estimator."""
        theta = _rows(self.estimator, index, logits)
        return (self.side(logits, theta, observed) + self.side(theta, logits, observed)) / 2

    def side(self, logits: Tensor, other: Tensor, observed: Tensor) -> Tensor:
        """EPR of `logits` and their agreement with `other` logits, which stand still; [B, K]."""
        agreement = _cross_entropy(logits, other.detach().sigmoid())
        return _of_positives(logits, observed) + self.deviation(logits) + agreement


class EntropyMaximization(Scheme):
    """EM: the model is to be unsure of unobserved labels; the loss may be negative.

    Zhou et al., ECCV 2022. z = 1: nl(p); z = -1: nl(1 - p);
    z = 0: -alpha (p nl(p) + (1 - p) nl(1 - p)).
    em_alpha: alpha, above 0; the authors': VOC .2, COCO and NUS .1, CUB .01.
    """

    def __init__(self, num_classes: int, em_alpha: float = 0.1) -> None:
        super().__init__(num_classes)
        _check(0 < em_alpha < math.inf, "em_alpha", em_alpha, "give a weight above 0")
        self.em_alpha = em_alpha

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The cross-entropies, and the negative entropy where unobserved."""
        entropy = logits.sigmoid() * _nl(logits) + (-logits).sigmoid() * _nl(-logits)
        known = assume_negative_loss(logits, observed)
        return torch.where(observed == 0, -self.em_alpha * entropy, known)


class PseudoLabels(EntropyMaximization):
    """EM+APL: EM, and more and more of the unobserved labels get a soft label for good.

    Zhou et al., ECCV 2022. After each epoch t >= w, in each class, the floor(0.9 n / (T - w)) of
    the n unobserved labels with the lowest prediction, among those without a soft label, get that
    prediction s. Such a label costs beta (s nl(p) + (1 - s) nl(1 - p)).
    num_images: N. num_epochs: T. apl_start: w; with w >= T there are none. apl_beta: beta; the
    authors' beta and w: VOC .02, 5; COCO .9, 5; NUS .2, 4; CUB .4, 3. The defaults are COCO's.
    """

    soft_labels: Tensor  # [N, K] in [0, 1], -1 where there is none

    def __init__(
        self,
        num_classes: int,
        num_images: int,
        num_epochs: int,
        em_alpha: float = 0.1,
        apl_start: int = 5,
        apl_beta: float = 0.9,
    ) -> None:
        super().__init__(num_classes, em_alpha)
        _check(0 <= apl_beta < math.inf, "apl_beta", apl_beta, "give a weight, 0 or more")
        self.num_epochs = _count("num_epochs", num_epochs)
        self.apl_start = _count("apl_start", apl_start)
        self.apl_beta = apl_beta
        shape = (_count("num_images", num_images), num_classes)
        self.register_buffer("soft_labels", torch.full(shape, -1.0))

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The losses of EM, and the cross-entropies against the soft labels where there are any."""
        soft = _rows(self.soft_labels, index, logits)
        cost = self.apl_beta * _cross_entropy(logits, soft)
        known = super().label_losses(logits, observed, index)
        return torch.where((observed == 0) & (soft >= 0), cost, known)

    def predicts_after(self, epoch: int) -> bool:
        """From epoch w on; not after the last one, since no epoch would see the labels."""
        return self.apl_start <= epoch < self.num_epochs

    @torch.no_grad()
    def after_epoch(self, epoch: int, probabilities: Tensor, observed: Tensor) -> None:
        """Give this epoch's soft labels; ties go by position. Arguments as in `Scheme`.

        Raises ValueError for predictions outside [0, 1], as logits are.
        """
        if not self.predicts_after(epoch):
            return
        extremes = [value.item() for value in probabilities.aminmax()]
        valid = 0 <= extremes[0] and extremes[1] <= 1
        _check(valid, "the range of probabilities", extremes, "take the sigmoid of the logits")
        tenths = 10 * (self.num_epochs - self.apl_start)
        columns = zip(self.soft_labels.T, probabilities.T, observed.T, strict=True)
        for soft, predicted, labels in columns:
            unobserved = labels.to(soft.device) == 0
            share = 9 * int(unobserved.sum()) // tenths
            free = (unobserved & (soft < 0)).nonzero().squeeze(1)
            scores = predicted.to(soft)[free]
            lowest = scores.argsort(stable=True)[:share]
            soft[free[lowest]] = scores[lowest]


class Asymmetric(Scheme):
    """ASL: AN with easy labels weighing less, and very easy negatives nothing.

    Ridnik et al., ICCV 2021. z = 1: (1 - p)^g+ nl(p), else q^g- nl(1 - q), q = max(p - clip, 0).
    The factors have a gradient too. gammas: g+ and g-, from 0 to 100. clip: from 0, below 1.
    """

    def __init__(
        self, num_classes: int, gammas: Sequence[float] = (0, 4), clip: float = 0.05
    ) -> None:
        super().__init__(num_classes)
        self.gammas, self.clip = _gammas(gammas, "g+, g-"), _clip(clip)

    def label_losses(self, logits: Tensor, observed: Tensor, index: Tensor) -> Tensor:
        """The weighted cross-entropies."""
        of_positive, of_negative = self.gammas
        gammas = (of_positive, of_negative, of_negative)
        return _focus(logits, observed, gammas, self.clip) * _shifted(logits, observed, self.clip)


class ClassAwareSelective(Scheme):
    """CSL: ASL that treats negative and unobserved labels apart, and leaves some of these out.

    Ben-Baruch et al., arXiv 2110.10955 (partial ASL), with the mean for their sum. With
    q = min(1, 1 - p + clip), z = 1: (1 - p)^g+ nl(p); z = -1: (1 - q)^g- nl(q);
    z = 0: (1 - q)^gu nl(q); the factors have no gradient.
    mode: "negative" keeps all unobserved labels, "ignore" none; "selective" drops those of the
    classes whose prior exceeds prior_threshold, and the topk * B ones of the batch with the
    smallest q, ranked over all of them, also those that the prior drops, ties by position.
    gammas: g+, g- and gu, from 0 to 100. clip: from 0, below 1.
    topk: labels per image; 0, as here, none; the authors': 5. prior: [K] in [0, 1], the mean
    prediction of a model that was trained in mode "ignore"; given together with its threshold.
    """

    frequent: Tensor  # bool [K], the classes whose prior exceeds the threshold

    def __init__(
        self,
        num_classes: int,
        mode: str = "selective",
        gammas: Sequence[float] = (0, 1, 2),
        clip: float = 0.0,
        topk: int = 0,
        prior: Tensor | Sequence[float] | None = None,
        prior_threshold: float | None = None,
    ) -> None:
        super().__init__(num_classes)
        _check(mode in CSL_MODES, "mode", mode, f"one of {', '.join(CSL_MODES)}")
        self.mode, self.topk = mode, _count("topk", topk, low=0)
        self.gammas, self.clip = _gammas(gammas, "g+, g-, gu"), _clip(clip)
        self.register_buffer("frequent", _frequent(num_classes, prior, prior_threshold))

    def forward(
        self, logits: Tensor, observed: Tensor, *, epoch: int, index: Tensor
    ) -> SchemeOutput:
        """The mean loss, and which unobserved labels the selective mode left out of it.

        Arguments as in `Scheme.forward`.
        """
        x = _precise(logits)
        loss = _shifted(x, observed, self.clip)
        dropped = self.dropped(loss, observed == 0)
        focus = _focus(x, observed, self.gammas, self.clip).detach()
        selected = dropped if self.mode == "selective" else None
        return SchemeOutput((focus * loss).masked_fill(dropped, 0.0).mean(), selected)

    def dropped(self, loss: Tensor, unobserved: Tensor) -> Tensor:
        """The unobserved labels that cost nothing, bool [B, K]; `loss` is nl(q) of each."""
        if self.mode != "selective":
            return unobserved & (self.mode == "ignore")
        at_most = min(self.topk * len(loss), loss.numel())
        likely = _largest(loss, unobserved, unobserved.sum().clamp(max=at_most), at_most)
        return likely | (unobserved & self.frequent)


SCHEMES: dict[str, type[Scheme]] = {
    "AN": AssumeNegative,
    "LL-R": LargeLossRejection,
    "LL-Ct": LargeLossTemporaryCorrection,
    "LL-Cp": LargeLossPermanentCorrection,
    "IU": IgnoreUnobserved,
    "WAN": WeakAssumeNegative,
    "LSAN": SmoothAssumeNegative,
    "EPR": ExpectedPositives,
    "ROLE": OnlineEstimation,
    "EM": EntropyMaximization,
    "EM+APL": PseudoLabels,
    "ASL": Asymmetric,
    "CSL": ClassAwareSelective,
}


def options_of(name: str) -> tuple[str, ...]:
    """The options that `build_scheme` takes for the scheme of that name, num_classes aside.

    Raises ValueError for an unknown name.
    """
    return tuple(inspect.signature(_scheme(name)).parameters)[1:]


def build_scheme(name: str, *, num_classes: int, **options: object) -> Scheme:
    """The scheme of that name; `options` are its own (`options_of`; its class explains them).

    Raises ValueError for an unknown name, an option the scheme does not have, one that it needs,
    or a bad value.
    """
    scheme = _scheme(name)
    try:
        inspect.signature(scheme).bind(num_classes, **options)
        return scheme(num_classes, **options)  # type: ignore[arg-type]
    except TypeError as error:
        taken = ", ".join(options_of(name)) or "none"
        raise ValueError(f"{name}: {error} (its options: {taken})") from None


_STRIDE = 61  # a score in so many is in the sample; prime, lest a few classes be all of it
_MANY = 2**14  # scores of which it pays to take a sample
_ROUNDING = 1e-9  # 0.05 * 640 is 32, but a hair more in binary


def _scheme(name: str) -> type[Scheme]:
    if name not in SCHEMES:
        raise ValueError(f"unknown scheme {name!r}: one of {', '.join(SCHEMES)}")
    return SCHEMES[name]


def _check_rate(delta_rel: float, rate_base: str) -> None:
    _check(0 <= delta_rel <= 100, "delta_rel", delta_rel, "percent per epoch, from 0 to 100")
    _check(rate_base in RATE_BASES, "rate_base", rate_base, f"one of {', '.join(RATE_BASES)}")


def _check(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}: {rule}")


def _count(name: str, value: int, low: int = 1) -> int:
    whole = value >= low and float(value).is_integer()
    _check(whole, name, value, f"give a whole number, at least {low}")
    return int(value)


def _gammas(values: Sequence[float], names: str) -> tuple[float, ...]:
    rule = f"give {names}, each from 0 to 100"
    matches = len(values) == len(names.split(", "))
    _check(matches and all(0 <= value <= 100 for value in values), "gammas", values, rule)
    return tuple(float(value) for value in values)


def _clip(value: float) -> float:
    _check(0 <= value < 1, "clip", value, "give a share from 0, below 1")
    return value


def _frequent(
    num_classes: int, prior: Tensor | Sequence[float] | None, threshold: float | None
) -> Tensor:
    """Which classes have a prior above the threshold, bool [K]; without a prior, none."""
    if prior is None or threshold is None:
        _check(prior is None, "prior_threshold", threshold, "a prior needs one: give both")
        _check(threshold is None, "prior", prior, "the threshold needs one: give both")
        return torch.zeros(num_classes, dtype=torch.bool)
    _check(0 <= threshold <= 1, "prior_threshold", threshold, "give a share from 0 to 1")
    shares = torch.as_tensor(prior, dtype=torch.float32, device="cpu")
    shape, outside = tuple(shares.shape), shares[~((shares >= 0) & (shares <= 1))].tolist()
    _check(shape == (num_classes,), "prior.shape", shape, f"give {num_classes}, one a class")
    _check(not outside, "prior", outside[:3], "give shares from 0 to 1")
    return shares > threshold


def _ceil_share(rate: float, count: int) -> int:
    return max(math.ceil(rate * count - _ROUNDING), 0)


def _largest(loss: Tensor, candidates: Tensor, k: Tensor, at_most: int) -> Tensor:
    """Mark the k candidates with the largest loss, bool [B, K]; `at_most` bounds k on the host."""
    known = _known(k)
    at_most = at_most if known is None else known
    if at_most == 0:
        return torch.zeros_like(candidates)
    scores = torch.where(candidates, loss.detach(), -math.inf).flatten()
    if known is None:
        threshold = scores.topk(at_most).values.gather(0, (k - 1).clamp(min=0).view(1))
    else:
        threshold = _kth_largest(scores, known)
        marked = scores >= threshold
        if marked.count_nonzero() == known:  # no ties that position must decide
            return marked.view_as(candidates)
    above = scores > threshold
    ties = scores == threshold
    first_ties = ties & (ties.cumsum(0) <= k - above.sum())
    return (above | first_ties).view_as(candidates)


def _known(k: Tensor) -> int | None:
    """The value of k where nothing has to be waited for to know it: on a CPU."""
    return int(k) if k.device.type == "cpu" else None


def _kth_largest(scores: Tensor, k: int) -> Tensor:
    """The k-th largest score, a scalar; a sample tells which few are likely to hold it."""
    sample = scores[::_STRIDE]
    near = k // _STRIDE  # its rank in the sample, more or less
    margin = 4 * math.isqrt(near) + 16
    rest, few = k, scores
    if len(scores) >= _MANY and near + margin <= len(sample):
        likely = sample.topk(near + margin).values
        between = scores >= likely[-1]
        if near > 4 * margin:
            above = scores > likely[near - margin]
            between ^= above
            rest = k - int(above.count_nonzero())
        few = scores[between]
    if not 1 <= rest <= len(few):  # the sample is not like the rest
        rest, few = k, scores
    return few.topk(rest, sorted=False).values.min()


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _nl(logits: Tensor) -> Tensor:
    """nl(p), [B, K]; of the negated logits, nl(1 - p)."""
    return -F.logsigmoid(logits)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """target * nl(p) + (1 - target) * nl(1 - p), [B, K]."""
    x = _precise(logits)
    return F.binary_cross_entropy_with_logits(x, target.to(x), reduction="none")


def _of_positives(logits: Tensor, observed: Tensor) -> Tensor:
    """nl(p) of the observed positives, 0 elsewhere, [B, K]."""
    return _nl(logits).masked_fill(observed != 1, 0.0)


def _shifted(logits: Tensor, observed: Tensor, clip: float) -> Tensor:
    """nl(p) where positive, else nl(min(1, 1 - p + clip)), [B, K]."""
    log_clip = logits.new_full((), math.log(clip) if clip else -math.inf)
    log_negative = torch.logaddexp(F.logsigmoid(-logits), log_clip).clamp(max=0)
    return torch.where(observed == 1, _nl(logits), -log_negative)


def _focus(logits: Tensor, observed: Tensor, gammas: Sequence[float], clip: float) -> Tensor:
    """(1 - p)^g+ where positive, else max(p - clip, 0)^g, g = g- or gu (unobserved), [B, K]."""
    positive, negative, unobserved = gammas
    wrong = torch.where(observed == 1, (-logits).sigmoid(), logits.sigmoid() - clip)
    power = torch.where(observed == 0, unobserved, negative)
    power = torch.where(observed == 1, positive, power)
    tiny = torch.finfo(wrong.dtype).tiny  # the slope of 0^g is infinite for g < 1
    return wrong.clamp(min=tiny) ** power


def _rows(table: Tensor, index: Tensor, like: Tensor) -> Tensor:
    """The rows of the images, on the device of `like`, wherever table and index are; [B, K]."""
    return table[index.to(table.device)].to(like)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
