"""Where labels and corrections lie on the device, dense or sparse, behind the same calls.

An index may lie on the device or on the CPU; of one on the CPU nothing here waits for a GPU, but
the putting in order of sparse corrections, once an epoch.

Letters in shapes: B images of a mini-batch, N of the split, K classes, E entries of a sparse
table, L the most of them in a row. Sparse tables are compressed rows (CSR): the entries of row i
are first[i] to first[i + 1] of the lists `columns` and `values`.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 2**16  # new corrections that share a piece of memory
_MERGED_AT_ONCE = 2**16  # rows of corrections that are put in order together
_SMALL = 2**15 - 1  # classes that fit into int16


class DenseTable:
    """Labels as int8 [N, K]."""

    def __init__(self, labels: np.ndarray, device: torch.device | str) -> None:
        self._labels = torch.as_tensor(labels, dtype=torch.int8, device=device)

    def rows(self, index: Tensor) -> Tensor:
        """The labels of these images, int8 [B, K]."""
        return self._labels[_on(self._labels.device, index)]

    def tensors(self) -> list[Tensor]:
        """What it holds in memory."""
        return [self._labels]


class DenseCorrections:
    """Which labels are corrected, bool [N, K]."""

    def __init__(self, shape: tuple[int, int], device: torch.device | str) -> None:
        self._corrected = torch.zeros(shape, dtype=torch.bool, device=device)

    def rows(self, index: Tensor) -> Tensor:
        """Which labels of these images are corrected, bool [B, K]."""
        return self._corrected[_on(self._corrected.device, index)]

    def mark(self, labels: Tensor, index: Tensor) -> Tensor:
        """Make the labels [B, K] of these images 1 where they are corrected, in place."""
        return labels.masked_fill_(self.rows(index), 1)

    def add(self, index: Tensor, new: Tensor, at_most: int | None = None) -> None:
        """Add the corrections `new`, bool [B, K], of these images."""
        self._corrected[_on(self._corrected.device, index)] |= new

    def count(self) -> int:
        """How many labels are corrected."""
        return int(self._corrected.sum())

    def tensors(self) -> list[Tensor]:
        """What it holds in memory."""
        return [self._corrected]

    def state_dict(self) -> dict[str, Tensor]:
        """The corrections."""
        return {"corrected": self._corrected.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the corrections of a checkpoint. Raises ValueError if they are of other data."""
        corrected = state["corrected"]
        if corrected.shape != self._corrected.shape or corrected.dtype != torch.bool:
            raise ValueError("the corrections are of a set of another size")
        self._corrected.copy_(corrected)


class SparseTable:
    """Labels as compressed rows: 3 bytes an annotated label, 5 with more than 32,767 classes."""

    def __init__(self, labels, device: torch.device | str) -> None:  # type: ignore[no-untyped-def]
        """`labels`: a CSR array of scipy, int8 [N, K]."""
        self._num_classes = labels.shape[1]
        self._first = torch.as_tensor(labels.indptr.astype(np.int64), device=device)
        self._columns = torch.as_tensor(labels.indices, device=device).to(_kind(labels.shape[1]))
        self._values = torch.as_tensor(labels.data, dtype=torch.int8, device=device)
        self._longest = int(np.diff(labels.indptr).max(initial=0))

    def rows(self, index: Tensor) -> Tensor:
        """The labels of these images, int8 [B, K]."""
        shape = (len(index), self._num_classes)
        found = torch.zeros(shape, dtype=torch.int8, device=self._values.device)
        if self._longest:
            place, real = _places(self._first, _on(found.device, index), self._longest)
            columns, values = self._columns[place].long(), self._values[place]
            found.scatter_(1, columns, values * real)
        return found

    def tensors(self) -> list[Tensor]:
        """What it holds in memory."""
        return [self._first, self._columns, self._values]


class SparseCorrections:
    """Corrections as compressed rows, 2 bytes each, and new ones, 6 bytes each, as they came.

    With more than 32,767 classes, 4 and 8. The new ones are put in order when an image that may
    have some comes again: once an epoch.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device | str) -> None:
        self._shape, self._device = shape, device
        self._first = torch.zeros(shape[0] + 1, dtype=torch.int64, device=device)
        self._columns = torch.empty(0, dtype=_kind(shape[1]), device=device)
        self._longest = 0
        self._forget_new()

    def rows(self, index: Tensor) -> Tensor:
        """Which labels of these images are corrected, bool [B, K]."""
        none = torch.zeros((len(index), self._shape[1]), dtype=torch.bool, device=self._device)
        return self.mark(none, index)

    def mark(self, labels: Tensor, index: Tensor) -> Tensor:
        """Make the labels [B, K] of these images 1 where they are corrected, in place."""
        if self._filled and bool(self._may_have_new[index.cpu()].any()):
            self._merge()
        if not self._longest:
            return labels
        place, real = _places(self._first, _on(self._device, index), self._longest)
        columns = self._columns[place].long()
        ones = torch.ones((), dtype=labels.dtype, device=labels.device)
        # a row without any gets the label back that it has
        return labels.scatter_(1, columns, torch.where(real, ones, labels.gather(1, columns)))

    def add(self, index: Tensor, new: Tensor, at_most: int | None = None) -> None:
        """Add the corrections `new`, bool [B, K], of these images.

        They are `at_most` so many; without it they are counted, which waits for the device.
        """
        size = int(new.sum()) if at_most is None else min(at_most, new.numel())
        if not size:
            return
        self._may_have_new[index.cpu()] = True
        self._count_new += new.sum()
        found = _true_places(new, size)
        rows = _on(self._device, index)[found // self._shape[1]].masked_fill(found < 0, -1)
        columns = found % self._shape[1]
        while len(rows):
            if self._filled == len(self._new) * _CHUNK:
                self._new.append(self._chunk())
            filled = self._filled % _CHUNK
            count = min(len(rows), _CHUNK - filled)
            for chunk, values in zip(self._new[-1], (rows, columns), strict=True):
                chunk[filled : filled + count] = values[:count]
            self._filled += count
            rows, columns = rows[count:], columns[count:]

    def count(self) -> int:
        """How many labels are corrected."""
        return len(self._columns) + int(self._count_new)

    def tensors(self) -> list[Tensor]:
        """What it holds in memory."""
        new = [held for chunk in self._new for held in chunk]
        return [self._first, self._columns, self._count_new, self._may_have_new, *new]

    def state_dict(self) -> dict[str, Tensor]:
        """The corrections: how many each image has, and their columns."""
        self._merge()
        return {"counts": self._first.diff().to(torch.int32).cpu(), "columns": self._columns.cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the corrections of a checkpoint. Raises ValueError if they are of other data."""
        counts, columns = state["counts"], state["columns"]
        fits = counts.shape == (self._shape[0],) and counts.dtype == torch.int32
        if (
            not fits
            or columns.dtype != self._columns.dtype
            or columns.shape != (int(counts.sum()),)
            or (counts < 0).any()
        ):
            raise ValueError("the corrections are of a set of another size")
        if len(columns) and not 0 <= columns.min() <= columns.max() < self._shape[1]:
            raise ValueError("the corrections are of other classes")
        self._set(counts.to(self._device), columns.to(self._device))
        self._forget_new()

    def _chunk(self) -> tuple[Tensor, Tensor]:
        rows = torch.empty(_CHUNK, dtype=torch.int32, device=self._device)
        return rows, torch.empty(_CHUNK, dtype=self._columns.dtype, device=self._device)

    def _forget_new(self) -> None:
        self._new: list[tuple[Tensor, Tensor]] = []
        self._filled = 0  # places in the chunks, some of which may hold nothing
        self._count_new = torch.zeros((), dtype=torch.int64, device=self._device)
        self._may_have_new = torch.zeros(self._shape[0], dtype=torch.bool)

    def _set(self, counts: Tensor, columns: Tensor) -> None:
        self._first[1:] = counts.cumsum(0)
        self._columns = columns
        self._longest = int(counts.max()) if len(columns) else 0

    def _merge(self) -> None:
        """Put the new corrections in order, a block of rows after the other to spare memory."""
        if not self._filled:
            return
        rows = torch.cat([chunk[0] for chunk in self._new])[: self._filled]
        columns = torch.cat([chunk[1] for chunk in self._new])[: self._filled]
        rows, columns = rows[rows >= 0], columns[rows >= 0]
        order = rows.argsort()
        rows, columns = rows[order], columns[order]
        new_counts = torch.bincount(rows, minlength=self._shape[0])
        starts = [*range(0, self._shape[0], _MERGED_AT_ONCE), self._shape[0]]
        cuts = torch.searchsorted(rows, torch.tensor(starts, device=rows.device, dtype=rows.dtype))
        counts, first = self._first.diff(), self._first[starts].tolist()
        merged = torch.empty(
            len(self._columns) + len(columns), dtype=columns.dtype, device=columns.device
        )
        for block, (start, end) in enumerate(itertools.pairwise(starts)):
            old = slice(first[block], first[block + 1])
            new = slice(int(cuts[block]), int(cuts[block + 1]))
            old_rows = torch.arange(start, end, device=rows.device, dtype=rows.dtype)
            both = torch.cat([old_rows.repeat_interleave(counts[start:end]), rows[new]])
            by_row = both.argsort(stable=True)
            place = slice(old.start + new.start, old.stop + new.stop)
            merged[place] = torch.cat([self._columns[old], columns[new]])[by_row]
        self._set(counts + new_counts, merged)
        self._forget_new()


def _kind(num_classes: int) -> torch.dtype:
    return torch.int16 if num_classes <= _SMALL else torch.int32


def _on(device: torch.device | str, index: Tensor) -> Tensor:
    return index.to(device, non_blocking=True)


def _true_places(mask: Tensor, size: int) -> Tensor:
    """Where the mask is true, in order, of all its entries: [size], -1 where there are no more."""
    flat = mask.flatten()
    try:
        return torch.nonzero_static(flat, size=size).squeeze(1)
    except NotImplementedError:  # PyTorch 2.6 on a GPU, which waits then
        found = flat.nonzero().squeeze(1)
        return F.pad(found, (0, size - len(found)), value=-1)


def _places(first: Tensor, index: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Where the entries of these rows lie, [B, L], and whether a row has any, bool [B, 1].

    A row with fewer than L entries names its last again; nothing here waits for the device.
    """
    start, end = first[index, None], first[index + 1, None]
    place = start + torch.arange(longest, device=first.device)
    return torch.minimum(place, end - 1).clamp(min=0), end > start
