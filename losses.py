"""Losses for multi-label classification with partly annotated labels.

This file needs torch alone: copy it into your own project.

Letters in shapes: B images of a mini-batch, K classes. Labels are 1 positive, -1 negative and
0 not annotated ("unobserved"). A scheme is built once and called at every step:

    scheme = build_scheme("LL-R", num_classes=K, delta_rel=0.2)
    out = scheme(logits, observed, epoch=epoch, index=index)     # epoch counts from 1
    out.loss.backward()

Source: Kim et al., "Large Loss Matters in Weakly Supervised Multi-Label Classification",
CVPR 2022, arXiv 2206.03740.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE_BASES = ("unobserved", "all")


class SchemeOutput(NamedTuple):
    """What a scheme makes of a mini-batch."""

    loss: Tensor  # scalar, mean over the B*K labels
    selected: Tensor | None  # bool [B, K], the rejected or corrected labels; None: selects nothing


def assume_negative_loss(logits: Tensor, observed: Tensor) -> Tensor:
    """Binary cross-entropy of every label, [B, K], unobserved labels taken for negative.

    Kim et al. 2022, section 3: l_i = BCE(f(x)_i, y^AN_i). `logits` and `observed` are [B, K];
    computed in float32 from the logits, so it is finite for any finite logit.
    """
    return _cross_entropy(logits, (observed == 1).float())


def large_entries(
    loss: Tensor, unobserved: Tensor, rate: float, rate_base: str = "unobserved"
) -> Tensor:
    """Mark the `rate` share of the unobserved entries whose loss is largest.

    Kim et al. 2022, R(t). `loss` [B, K], `unobserved` bool [B, K], `rate` in [0, 1].
    Exactly min(ceil(rate * n), |S_u|) entries are marked, ties broken by position; an observed
    entry never is. n = |S_u|, the unobserved entries of the batch, or B*K with
    `rate_base="all"`, the count of the authors' code.

    Nothing here waits for the device: top-k runs with an upper bound of k known on the host.
    """
    at_most = _ceil_share(rate, loss.numel())
    if at_most == 0:
        return torch.zeros_like(unobserved)
    candidates = unobserved.flatten()
    scores = loss.detach().flatten().masked_fill(~candidates, -math.inf)
    available = candidates.sum()
    if rate_base == "all":
        k = available.clamp(max=at_most)
    else:
        k = torch.ceil(available.double() * rate - _ROUNDING).long()
    threshold = scores.topk(at_most).values.gather(0, (k - 1).clamp(min=0).view(1))
    above = scores > threshold
    ties = scores == threshold
    first_ties = ties & (ties.cumsum(0) <= k - above.sum())
    return (above | first_ties).view_as(unobserved)


class Scheme(nn.Module):
    """The base of all schemes: their common options, and a rate of 0.

    delta_rel: percent per epoch, 0 to 100. rate_base: what the percentage is taken of,
    "unobserved" (the paper) or "all" labels of the batch (the authors' code).
    Raises ValueError for values outside.
    """

    permanent = False  # whether `selected` labels become positive for good

    def __init__(
        self, num_classes: int, delta_rel: float = 0.0, rate_base: str = "unobserved"
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}: at least 1 is needed")
        if not 0 <= delta_rel <= 100:
            raise ValueError(f"delta_rel is {delta_rel}: percent per epoch, from 0 to 100")
        if rate_base not in RATE_BASES:
            raise ValueError(f"rate_base is {rate_base!r}: one of {', '.join(RATE_BASES)}")
        self.num_classes = num_classes
        self.delta_rel = delta_rel
        self.rate_base = rate_base

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
        raise NotImplementedError


class AssumeNegative(Scheme):
    """AN: every unobserved label counts as negative. With all labels observed: "full label"."""

    def forward(
        self, logits: Tensor, observed: Tensor, *, epoch: int, index: Tensor
    ) -> SchemeOutput:
        """The mean cross-entropy; nothing is selected. Arguments as in `Scheme.forward`."""
        return SchemeOutput(assume_negative_loss(logits, observed).mean(), None)


class LargeLoss(Scheme):
    """The base of the schemes that modify the unobserved labels with the largest loss."""

    def rate(self, epoch: int) -> float:
        """(epoch - 1) * delta_rel percent, at most all: Kim et al. 2022, R(t)."""
        return min((epoch - 1) * self.delta_rel / 100, 1.0)

    def forward(
        self, logits: Tensor, observed: Tensor, *, epoch: int, index: Tensor
    ) -> SchemeOutput:
        """The mean loss once the selected labels are modified, and which they are.

        Arguments as in `Scheme.forward`. Raises ValueError for an epoch below 1.
        """
        if epoch < 1:
            raise ValueError(f"epoch is {epoch}: epochs count from 1")
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
        return torch.where(selected, _cross_entropy(logits, torch.ones_like(loss)), loss)


class LargeLossPermanentCorrection(LargeLossTemporaryCorrection):
    """LL-Cp: a label with a large loss is positive for good, from this step on.

    The caller keeps the labels: where `permanent` is true, it writes `selected` back as 1.
    """

    permanent = True

    def rate(self, epoch: int) -> float:
        """delta_rel percent in every epoch from the second on."""
        return self.delta_rel / 100 if epoch > 1 else 0.0


SCHEMES: dict[str, type[Scheme]] = {
    "AN": AssumeNegative,
    "LL-R": LargeLossRejection,
    "LL-Ct": LargeLossTemporaryCorrection,
    "LL-Cp": LargeLossPermanentCorrection,
}


def build_scheme(name: str, *, num_classes: int, **options: object) -> Scheme:
    """The scheme of that name; `options` are its own (delta_rel, rate_base, ...).

    Raises ValueError for an unknown name, an option the scheme does not have, or a bad value.
    """
    if name not in SCHEMES:
        raise ValueError(f"unknown scheme {name!r}: one of {', '.join(SCHEMES)}")
    try:
        return SCHEMES[name](num_classes, **options)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None


_ROUNDING = 1e-9  # 0.05 * 640 is 32, but a hair more in binary


def _ceil_share(rate: float, count: int) -> int:
    return max(math.ceil(rate * count - _ROUNDING), 0)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
