"""The phases of a run: the head alone on fixed features, then everything end to end.

LinearInit: Cole et al., CVPR 2021. The head of the best linear epoch goes on, and the labels that
ROLE has estimated. In each phase the epochs count from 1, without the corrections and soft labels
of the one before.
"""

from __future__ import annotations

from typing import NamedTuple

from settings import Config

LINEAR, FINETUNE = "linear", "finetune"  # in metrics.csv


class Phase(NamedTuple):
    """A part of the training that has epochs of its own."""

    name: str
    epochs: int
    lr: float  # of the backbone; where the head is trained alone, of the head
    lr_mult: float  # the head's, in multiples of that
    bsize: int
    scheme: str

    @property
    def is_linear(self) -> bool:
        """Whether it trains the head alone, on fixed features."""
        return self.name == LINEAR


def phases_of(config: Config) -> tuple[Phase, ...]:
    """The phases of a run, in order; the last one's best epoch is the result."""
    scheme = config.mod_scheme
    if config.use_feats:
        lr = config.lr * config.lr_mult
        return (Phase(LINEAR, config.num_epochs, lr, 1.0, config.bsize, scheme),)
    phases = []
    if config.linear_init:
        assert config.linear_lr is not None, "config.py resolves it"
        assert config.linear_bsize is not None, "config.py resolves it"
        first = scheme if config.linear_scheme == "same" else str(config.linear_scheme)
        phases.append(
            Phase(LINEAR, config.linear_init, config.linear_lr, 1.0, config.linear_bsize, first)
        )
    if config.num_epochs:
        lr, mult = config.lr, config.lr_mult
        phases.append(Phase(FINETUNE, config.num_epochs, lr, mult, config.bsize, scheme))
    return tuple(phases)
