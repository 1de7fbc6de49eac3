"""The training labels: what people annotated, what LL-Cp corrected, and the truth where known.

Letters in shapes: B images of a mini-batch, N of the training split, K classes. Labels are
1 positive, -1 negative, 0 not annotated.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class LabelStore:
    """Owns the labels of the training split and looks them up by index on the device.

    Corrections lie beside the human labels, never over them.
    """

    def __init__(
        self, human: np.ndarray, truth: np.ndarray | None, device: torch.device | str = "cpu"
    ) -> None:
        """`human`, `truth`: int8 [N, K] in {-1, 0, 1}; truth None where it is unknown."""
        self._human = torch.as_tensor(human, dtype=torch.int8, device=device)
        self._corrected = torch.zeros_like(self._human, dtype=torch.bool)
        known = np.zeros_like(human) if truth is None else truth
        self._truth = torch.as_tensor(known, dtype=torch.int8, device=device)

    def observed(self, index: Tensor) -> Tensor:
        """The labels to train on, float [B, K]: the human ones, and 1 where corrected."""
        return self.human(index).masked_fill(self._corrected[index], 1.0)

    def human(self, index: Tensor) -> Tensor:
        """The labels as annotated, float [B, K]."""
        return self._human[index].float()

    def truth(self, index: Tensor) -> Tensor:
        """The true labels, int8 [B, K]; 0 where unknown."""
        return self._truth[index]

    def correct(self, index: Tensor, selected: Tensor) -> None:
        """Make the `selected` labels (bool [B, K]) of the images `index` positive for good.

        No image may stand twice in `index`.
        """
        self._corrected[index] = self._corrected[index] | selected

    def false_negatives(self) -> Tensor:
        """How many truly positive labels are not annotated, a scalar on the device."""
        return self._missing().sum()

    def corrected_false_negatives(self) -> Tensor:
        """How many of those are corrected by now, a scalar on the device."""
        return (self._missing() & self._corrected).sum()

    def _missing(self) -> Tensor:
        return (self._truth == 1) & (self._human == 0)

    def state_dict(self) -> dict[str, Tensor]:
        """The corrections, for the checkpoint."""
        return {"corrected": self._corrected.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the corrections of a checkpoint. Raises ValueError if they are of other data."""
        if state["corrected"].shape != self._corrected.shape:
            raise ValueError("the corrections are of a set of another size")
        self._corrected.copy_(state["corrected"])
