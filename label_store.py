"""The training labels: what people annotated, what LL-Cp corrected, and the truth where known.

Letters in shapes: B images of a mini-batch, N of the training split, K classes. Labels are
1 positive, -1 negative, 0 not annotated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from data.labels import Labels, is_sparse
from label_tables import DenseCorrections, DenseTable, SparseCorrections, SparseTable

_AT_ONCE = 4096  # images whose labels are looked up together where all are


class LabelStore:
    """Owns the labels of the training split and looks them up by index on the device.

    Corrections lie beside the human labels, never over them. A sparse table stays sparse, and what
    is looked up is a dense mini-batch: `label_tables` says what a label costs.
    """

    def __init__(
        self, human: Labels, truth: Labels | None, device: torch.device | str = "cpu"
    ) -> None:
        """`human`, `truth`: [N, K] in {-1, 0, 1}; truth None where it is unknown."""
        self._human = _table(human, device)
        self._truth = self._human if truth is human or truth is None else _table(truth, device)
        self._knows = truth is not None
        corrections = SparseCorrections if is_sparse(human) else DenseCorrections
        self._corrected = corrections(human.shape, device)
        # positives less those that are annotated: products and sums do for sparse tables too
        missing = 0 if truth is None else (truth == 1).sum() - ((truth == 1) * (human != 0)).sum()
        self._hides, self._num_images = bool(missing), human.shape[0]
        self._missing = torch.tensor(int(missing), device=device)
        self._found = torch.zeros((), dtype=torch.int64, device=device)

    def observed(self, index: Tensor) -> Tensor:
        """The labels to train on, float [B, K]: the human ones, and 1 where corrected."""
        return self._corrected.mark(self.human(index), index)

    def all_observed(self) -> Tensor:
        """The labels to train on of all images, float [N, K]: dense, whatever they are kept as."""
        return self.observed(torch.arange(self._num_images, device=self._found.device))

    def human(self, index: Tensor) -> Tensor:
        """The labels as annotated, float [B, K]."""
        return self._human.rows(index).float()

    def truth(self, index: Tensor) -> Tensor:
        """The true labels, int8 [B, K]; 0 where unknown."""
        rows = self._truth.rows(index)
        return rows if self._knows else torch.zeros_like(rows)

    def correct(self, index: Tensor, selected: Tensor, at_most: int | None = None) -> None:
        """Make the `selected` labels (bool [B, K]) of the images `index` positive for good.

        No image may stand twice in `index`. They are `at_most` so many: where that is given, and
        `index` is on the CPU, nothing waits for a GPU.
        """
        new = selected & ~self._corrected.rows(index)
        if self._hides:
            self._found += (new & self._missing_of(index)).sum()
        self._corrected.add(index, new, at_most)

    def false_negatives(self) -> Tensor:
        """How many truly positive labels are not annotated, a scalar on the device."""
        return self._missing

    def corrected_false_negatives(self) -> Tensor:
        """How many of those are corrected by now, a scalar on the device."""
        return self._found

    def nbytes(self) -> int:
        """The memory of labels and corrections, in bytes; a truth that is the same counts once."""
        tables = {id(table): table for table in (self._human, self._truth, self._corrected)}
        return sum(held.nbytes for table in tables.values() for held in table.tensors())

    def corrections(self) -> int:
        """How many labels are corrected by now."""
        return self._corrected.count()

    def state_dict(self) -> dict[str, Tensor]:
        """The corrections, for the checkpoint."""
        return self._corrected.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the corrections of a checkpoint. Raises ValueError if they are of other data."""
        self._corrected.load_state_dict(state)
        self._found.zero_()
        if self._hides:
            for index in torch.arange(self._num_images).split(_AT_ONCE):
                self._found += (self._corrected.rows(index) & self._missing_of(index)).sum()

    def _missing_of(self, index: Tensor) -> Tensor:
        """Which labels of these images are truly positive and not annotated, bool [B, K]."""
        return (self.truth(index) == 1) & (self._human.rows(index) == 0)


def _table(labels: Labels, device: torch.device | str) -> DenseTable | SparseTable:
    return (SparseTable if is_sparse(labels) else DenseTable)(labels, device)
