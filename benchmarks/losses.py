"""What each scheme costs beside plain cross-entropy: python -m benchmarks.losses

Measures forward and backward on random logits and labels, of which 1 % are positive, 20 % known to
be negative and the others not annotated; in turn with binary_cross_entropy_with_logits of the same
logits against ready-made targets. LL-* select what delta_rel 0.2 does in epoch 10, and half of the
unobserved labels ("rate 0.5"). A table with a row an image (ROLE, EM+APL) has the mini-batch's.
A CPU is brought into its fastest state before (`pairs.settle`), for all alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import cli
import recipes
from benchmarks.flags import add_number, add_pairs
from benchmarks.output import add_out, publish
from benchmarks.pairs import alternate, median, ratio_of, seconds_of, settle
from losses import SCHEMES, Scheme, build_scheme, options_of

EPOCH = 10
_STEPS = 5  # to a measurement
_FACTS = {"expected_positives": 2.9, "num_epochs": EPOCH + 1}


def schemes(num_images: int, num_classes: int) -> Iterator[tuple[str, Scheme, int]]:
    """Name, scheme and epoch of all that is measured; options are those of the recipes."""
    facts = {**_FACTS, "num_images": num_images}
    for name in SCHEMES:
        own = {key: value for key, value in recipes.SCHEMES[name].items() if value is not None}
        own.pop("prior_threshold", None)  # it needs a prior
        own |= {key: value for key, value in facts.items() if key in options_of(name)}
        yield name, build_scheme(name, num_classes=num_classes, **own), EPOCH
        if "delta_rel" in own:
            half = build_scheme(name, num_classes=num_classes, **own | {"delta_rel": 50.0})
            yield f"{name}, rate 0.5", half, 2


def random_labels(num_images: int, num_classes: int, device: torch.device) -> Tensor:
    """Labels float [B, K] in {-1, 0, 1}."""
    drawn = torch.rand(num_images, num_classes, device=device)
    return (drawn < 0.01).float() - (drawn > 0.8).float()


def measure(num_images: int, num_classes: int, pairs: int) -> dict[str, Any]:
    """Milliseconds of the cross-entropy and of each scheme, with their ratio."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settle()
    torch.manual_seed(0)
    logits = torch.randn(num_images, num_classes, device=device, requires_grad=True)
    observed = random_labels(num_images, num_classes, device)
    index, target = torch.arange(num_images, device=device), (observed == 1).float()
    loss = F.binary_cross_entropy_with_logits
    plain = _timed(lambda: torch.autograd.grad(loss(logits, target), logits))
    results, all_plain = {}, []
    for name, scheme, epoch in schemes(num_images, num_classes):
        ours = _timed(_step(scheme.to(device), logits, observed, epoch, index))
        plain(), ours()
        found = alternate({"plain": plain, "ours": ours}, pairs)
        all_plain += found["plain"]
        ratios = ratio_of(found["ours"], found["plain"])
        results[name] = {"ms": median([1000 * s for s in found["ours"]]), **ratios}
    return {"bce_ms": median([1000 * s for s in all_plain]), "schemes": results}


def _step(
    scheme: Scheme, logits: Tensor, observed: Tensor, epoch: int, index: Tensor
) -> Callable[[], None]:
    """Forward and backward of a scheme; where it gives soft labels, half of all have one."""
    if hasattr(scheme, "soft_labels"):
        soft = torch.rand_like(logits)
        scheme.soft_labels = torch.where(soft < 0.5, soft, -1.0)

    learned = [logits, *scheme.parameters()]

    def step() -> None:
        out = scheme(logits, observed, epoch=epoch, index=index)
        torch.autograd.grad(out.loss, learned)

    return step


def _timed(step: Callable[[], object]) -> Callable[[], float]:
    """What measures a step, in seconds."""

    def steps() -> None:
        for _ in range(_STEPS):
            step()

    return lambda: seconds_of(steps) / _STEPS


def main(argv: Sequence[str]) -> None:
    """Measure what each scheme's loss costs beside plain cross-entropy."""
    parser = cli.Parser(prog="python -m benchmarks.losses", description=main.__doc__)
    add_number(parser, "--bsize", "images in a mini-batch", 256, 1, 2**20)
    add_number(parser, "--classes", "of labels", 5000, 1, 10**6)
    add_pairs(parser, pairs=9)
    add_out(parser)
    args = parser.parse_args(argv)
    about = {"bsize": args.bsize, "classes": args.classes}
    result = measure(args.bsize, args.classes, args.pairs)
    publish({**about, "pairs": args.pairs, **result}, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
