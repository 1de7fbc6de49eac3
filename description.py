"""What a run tells of itself before it trains, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from config import Config
from data.labels import share_annotated
from datasets import Data
from hardware import Hardware
from models import ImageClassifier
from naming import written
from phases import Phase


def described(
    config: Config,
    data: Data,
    options: Mapping[str, Any],
    phases: Sequence[Phase],
    model: ImageClassifier,
    hardware: Hardware,
) -> Iterator[str]:
    """What is trained on what, a line each; `options`: those of the scheme."""
    observed = share_annotated(data.train.labels(config.train_set_variant))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    start = "from scratch" if config.weights == "none" else f"from {config.weights}"
    yield (
        f"{config.dataset}: {len(data.train):,} train, {len(data.val):,} val and "
        f"{len(data.test):,} test images, {len(data.classes)} classes, "
        f"{observed:.{1 if observed >= 0.001 else 3}%} of the training labels observed"
    )
    if data.own_val:
        yield "val: the set's own images, --val_frac cuts none from train"
    yield from (f"warning: {line}" for line in data.warnings())
    if options.get("prior") and all(p > options["prior_threshold"] for p in options["prior"]):
        yield "warning: the prior of every class is above --prior_threshold: all are ignored"
    boosted = f" with BoostLU {config.boostlu:g}" if config.boostlu != 1 else ""
    yield f"{config.arch}{boosted} {start}, {millions:.2f} M parameters, on {hardware}"
    if config.linear_init:
        first = phases[0]
        yield f"first {first.epochs} epochs of the head alone, {first.scheme}, lr {first.lr:g}"
    method = ", ".join([config.mod_scheme, *_told(config, options)])
    yield f"{method}, {config.optimizer}, lr {config.lr:g}, in {config.run_dir}"


def _told(config: Config, options: Mapping[str, Any]) -> Iterator[str]:
    """The options of the scheme, a few words each."""
    for name, value in options.items():
        if name == "delta_rel":
            yield f"{name} {value:g} %"
        elif name == "prior":
            above = sum(share > options["prior_threshold"] for share in value)
            yield f"prior from {config.prior} ({above} of {len(value)} classes above)"
        elif not (name == "rate_base" and value == "unobserved"):
            yield f"{name} {written(value)}"
