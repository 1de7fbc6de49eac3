"""Tables of labels: dense and sparse ones answer every question alike."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_array

from data.labels import (
    annotated_by_class,
    count,
    digest,
    is_sparse,
    observed_or_negative,
    share_annotated,
    sparse_labels,
    to_dense,
)
from tests.test_properties import settings  # of hypothesis, the same examples every time

LABELS = np.array([[1, 0, -1, 0], [0, 0, 0, 0], [0, 1, 1, -1]], np.int8)

tables = arrays.arrays(
    np.int8,
    arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=8),
    elements=st.sampled_from([-1, 0, 0, 1]),
)


def sparse(labels):
    """The same as a sparse table, made of its entries."""
    rows, columns = np.nonzero(labels)
    return sparse_labels(rows, columns, labels[rows, columns], labels.shape)


def test_the_kinds_are_told_apart():
    assert is_sparse(sparse(LABELS))
    assert not is_sparse(LABELS)


@pytest.mark.parametrize("labels", [LABELS, sparse(LABELS)], ids=["dense", "sparse"])
def test_the_answers_by_hand(labels):
    assert count(labels, 1) == 3
    assert count(labels, -1) == 2
    assert share_annotated(labels) == 5 / 12
    by_class = [(rows.tolist(), positive.tolist()) for rows, positive in annotated_by_class(labels)]
    assert by_class == [([0], [True]), ([2], [True]), ([0, 2], [False, True]), ([2], [False])]
    expected = [[1, -1, -1, -1], [-1, -1, -1, -1], [-1, 1, 1, -1]]
    assert observed_or_negative(labels).tolist() == expected
    assert observed_or_negative(labels).dtype == np.int8
    assert to_dense(labels).tolist() == LABELS.tolist()
    assert to_dense(labels).dtype == np.int8


def test_counts_are_not_those_of_a_byte():
    many = np.ones((40, 50), np.int8)
    for labels in (many, sparse(many), -many, sparse(-many)):
        assert count(labels, 1) + count(labels, -1) == 2000
        assert share_annotated(labels) == 1


@given(labels=tables)
def test_dense_and_sparse_give_the_same_answers(labels):
    table = sparse(labels)
    np.testing.assert_array_equal(to_dense(table), labels)
    assert table.has_canonical_format
    assert table.nnz == (labels != 0).sum()
    for value in (1, -1):
        assert count(table, value) == count(labels, value) == (labels == value).sum()
    assert share_annotated(table) == share_annotated(labels)
    assert share_annotated(labels) == (np.mean(labels != 0) if labels.size else 0)
    np.testing.assert_array_equal(observed_or_negative(table), observed_or_negative(labels))
    pairs = list(zip(annotated_by_class(table), annotated_by_class(labels), strict=True))
    assert len(pairs) == labels.shape[1]
    for (rows, positive), (same_rows, same_positive) in pairs:
        assert rows.tolist() == same_rows.tolist()
        assert positive.tolist() == same_positive.tolist()
        assert positive.dtype == same_positive.dtype == bool


def test_entries_may_come_in_any_order_and_those_of_0_are_none():
    rows, columns, values = [2, 0, 2, 1, 2, 0], [3, 2, 1, 1, 2, 0], [-1, -1, 1, 0, 1, 1]
    table = sparse_labels(np.array(rows), np.array(columns), np.array(values), (3, 4))
    np.testing.assert_array_equal(table.toarray(), LABELS)
    assert (table.nnz, table.dtype) == (5, np.int8)
    assert table.indices.tolist() == [0, 2, 1, 2, 3]


# Digests


def test_the_digests_are_committed():
    """Those in the config.json of a run must be the same in the next version."""
    assert digest(LABELS) == "b64c9ec1fb39ffcc"
    assert digest(sparse(LABELS)) == "50166fc0f5ce1eea"


def test_a_digest_is_that_of_the_labels_not_of_how_they_lie_in_memory():
    table, same = sparse(LABELS), digest(sparse(LABELS))
    assert digest(LABELS.T.copy().T) == digest(LABELS)
    assert digest(np.asfortranarray(LABELS)) == digest(LABELS)
    assert digest(LABELS.astype(np.int64)) == digest(LABELS)
    table.indices, table.indptr = table.indices.astype(np.int64), table.indptr.astype(np.int64)
    assert digest(table) == same
    assert digest(sparse(np.vstack([LABELS, LABELS]))[:3]) == same


@given(labels=tables, data=st.data())
def test_any_other_label_is_another_digest(labels, data):
    assume(labels.size)
    changed = labels.copy()
    place = tuple(data.draw(st.integers(0, side - 1)) for side in labels.shape)
    changed[place] = data.draw(st.sampled_from([v for v in (-1, 0, 1) if v != labels[place]]))
    for kind in (np.array, sparse):
        assert digest(kind(changed)) != digest(kind(labels))
        assert len(digest(kind(changed))) == 16
        assert digest(kind(labels.copy())) == digest(kind(labels))


@settings(max_examples=200)
@given(first=tables, second=tables)
def test_other_tables_have_other_digests(first, second):
    same = first.shape == second.shape and (first == second).all()
    for kind in (np.array, sparse):
        assert (digest(kind(first)) == digest(kind(second))) == same


@pytest.mark.parametrize("kind", [np.array, csr_array])
def test_another_shape_of_the_same_entries_is_another_digest(kind):
    shapes = [(2, 6), (6, 2), (3, 4), (12, 1), (0, 4), (4, 0), (3, 5)]
    digests = {digest(kind(np.zeros(shape, np.int8))) for shape in shapes}
    assert len(digests) == len(shapes)
