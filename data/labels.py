"""Tables of labels, dense or sparse: what is asked of both kinds, in one place.

N images, K classes; 1 positive, -1 negative, 0 not annotated. Dense is int8 [N, K] of numpy.
Sparse, for thousands of classes, is an int8 CSR array of scipy, which stores what is annotated.
`table == 1`, `(table == 1).sum(axis=0)`, `table[places]` and `*`, by element, do for either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Labels: TypeAlias = "np.ndarray | csr_array"


def is_sparse(labels: Labels) -> bool:
    """Whether it stores what is annotated alone."""
    return not isinstance(labels, np.ndarray)


def sparse_labels(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> csr_array:
    """The sparse table with these entries, each of which may be given only once.

    Where `values` is 0, nothing is annotated.
    """
    from scipy.sparse import coo_array

    places = (np.asarray(rows, np.int32), np.asarray(columns, np.int32))  # scipy keeps their kind
    table = coo_array((np.asarray(values, np.int8), places), shape=shape).tocsr()
    table.eliminate_zeros()
    table.sort_indices()
    return table


def to_dense(labels: Labels) -> np.ndarray:
    """The same as int8 [N, K] of numpy."""
    return labels if isinstance(labels, np.ndarray) else labels.toarray()


def observed_or_negative(labels: Labels) -> np.ndarray:
    """Dense, with -1 where nothing is annotated."""
    dense = to_dense(labels)
    return np.where(dense == 1, np.int8(1), np.int8(-1))


def count(labels: Labels, value: int) -> int:
    """How many labels are 1, or are -1."""
    return int((labels == value).sum())


def share_annotated(labels: Labels) -> float:
    """How many of all N*K labels are annotated, as a fraction."""
    return float((labels != 0).sum()) / max(labels.shape[0] * labels.shape[1], 1)


def annotated_by_class(labels: Labels) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each class the images with an annotation, and whether that is positive, bool."""
    if isinstance(labels, np.ndarray):
        for column in labels.T:
            rows = np.flatnonzero(column)
            yield rows, column[rows] == 1
    else:
        columns = labels.tocsc()
        for first, end in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
            yield columns.indices[first:end], columns.data[first:end] == 1


def digest(labels: Labels) -> str:
    """16 hex digits that are other ones for other labels."""
    content = hashlib.sha256(f"{labels.shape}".encode())
    if isinstance(labels, np.ndarray):
        content.update(np.ascontiguousarray(labels, np.int8).data)
    else:
        for part in (labels.indptr.astype(np.int64), labels.indices.astype(np.int32), labels.data):
            content.update(part.data)
    return content.hexdigest()[:16]
