"""Precision, recall and F1: numbers worked out by hand, and scikit-learn where it has the same."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from data.labels import sparse_labels
from tools.metrics import best_thresholds, by_class, count, decide, overall, probabilities

SCORES = np.array([[0.9, 0.2, 0.5], [0.8, 0.6, 0.1], [0.3, 0.7, 0.4], [0.6, 0.1, 0.2]], np.float32)
LABELS = np.array([[1, -1, 1], [-1, 1, -1], [1, 1, -1], [1, -1, 1]], np.int8)


def random_case(seed, num_images=60, num_classes=7, annotated=1.0):
    rng = np.random.RandomState(seed)
    scores = rng.rand(num_images, num_classes).round(1).astype(np.float32)  # with ties
    labels = np.where(rng.rand(num_images, num_classes) < 0.3, 1, -1)
    return scores, (labels * (rng.rand(num_images, num_classes) < annotated)).astype(np.int8)


def test_by_hand():
    """Predicted at 0.5: class 0 in images 0, 1, 3; class 1 in 1, 2; class 2 in 0 alone."""
    counts = count(decide(SCORES, 0.5), LABELS)
    assert [part.tolist() for part in counts] == [[2, 2, 1], [3, 2, 1], [3, 2, 2], [4, 4, 4]]
    classes = by_class(counts)
    assert classes.precision == pytest.approx([200 / 3, 100, 100])
    assert classes.recall == pytest.approx([200 / 3, 100, 50])
    assert classes.f1 == pytest.approx([200 / 3, 100, 200 / 3])
    cp, cr = 800 / 9, 650 / 9
    assert overall(counts) == pytest.approx(
        (cp, cr, 2 * cp * cr / (cp + cr), 500 / 6, 500 / 7, 1000 / 13)
    )


def test_what_is_not_annotated_counts_nowhere():
    labels = LABELS.copy()
    labels[1, 0] = 0  # a false alarm
    labels[3, 2] = 0  # a miss
    counts = count(decide(SCORES, 0.5), labels)
    assert [part.tolist() for part in counts] == [[2, 2, 1], [2, 2, 1], [3, 2, 1], [3, 4, 3]]
    assert overall(counts)[3:] == pytest.approx((100, 500 / 6, 1000 / 11))


def test_a_class_without_annotated_entries_is_left_out_and_one_without_positives_is_0():
    labels = LABELS.copy()
    labels[:, 0] = 0
    labels[:, 1] = -1
    counts = count(decide(SCORES, 0.5), labels)
    classes = by_class(counts)
    assert math.isnan(classes.f1[0])
    assert (classes.precision[1], classes.recall[1], classes.f1[1]) == (0, 0, 0)
    assert overall(counts)[:2] == pytest.approx((50, 25))
    assert all(map(math.isnan, overall(count(decide(SCORES, 0.5), 0 * LABELS))))


def test_nothing_predicted_is_0_and_no_warning():
    assert overall(count(decide(SCORES, 1.0), LABELS)) == (0,) * 6


def test_the_top_k_are_the_highest_first_of_equal_ones():
    scores = np.array([[0.2, 0.9, 0.9, 0.9], [0.6, 0.1, 0.2, 0.3]], np.float32)
    assert decide(scores, top_k=2).tolist() == [
        [False, True, True, False],
        [True, False, False, True],
    ]
    assert decide(scores, 0.5, top_k=2).sum(axis=1).tolist() == [2, 1]
    assert decide(scores, top_k=9).all()


def test_the_threshold_itself_is_predicted_and_each_class_has_its_own():
    chosen = decide(SCORES, np.array([0.6, 0.7, 0.5]))
    assert chosen.sum(axis=0).tolist() == [3, 1, 1]
    assert decide(np.float32([[0.3]]), 0.3).all()  # 0.3 in float32 is more than in float64


def test_best_thresholds_by_hand():
    """Class 0: all four at 0.3 (F1 6/7); 1: 0.6 is perfect; 2: 0.2 (4/5, at 0.5 2/3)."""
    assert best_thresholds(SCORES, LABELS) == pytest.approx([0.3, 0.6, 0.2])
    labels = LABELS.copy()
    labels[:, 1] = -1
    assert best_thresholds(SCORES, labels)[1] == 0.5
    labels[2, 0] = 0  # without the positive at 0.3 the 0.6 is as good as it gets
    assert best_thresholds(SCORES, labels)[0] == pytest.approx(0.6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_no_threshold_gives_a_higher_f1(seed):
    scores, labels = random_case(seed, num_images=20, num_classes=3, annotated=0.7)
    best = by_class(count(decide(scores, best_thresholds(scores, labels)), labels)).f1
    for threshold in np.linspace(0, 1, 41):
        other = by_class(count(decide(scores, threshold), labels)).f1
        assert (np.nan_to_num(other) <= np.nan_to_num(best) + 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_learn(seed):
    scores, labels = random_case(seed)
    chosen, truth = decide(scores, 0.5), labels == 1
    counts = count(chosen, labels)
    for average, ours in ((None, by_class(counts)), ("micro", overall(counts)[3:])):
        expected = theirs.precision_recall_fscore_support(
            truth, chosen, average=average, zero_division=0
        )[:3]
        for part, whole in zip(ours, expected, strict=True):
            assert part == pytest.approx(100 * whole)
    macro = [
        f(truth, chosen, average="macro") for f in (theirs.precision_score, theirs.recall_score)
    ]
    assert overall(counts)[:2] == pytest.approx(100 * np.array(macro))


def test_sparse_labels_give_the_same():
    scores, labels = random_case(5, annotated=0.4)
    rows, columns = np.nonzero(labels)
    table = sparse_labels(rows, columns, labels[rows, columns], labels.shape)
    dense, sparse = (count(decide(scores, 0.5), one) for one in (labels, table))
    assert all((a == b).all() for a, b in zip(dense, sparse, strict=True))
    assert (best_thresholds(scores, labels) == best_thresholds(scores, table)).all()


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        count(decide(SCORES), LABELS[:2])


def test_probabilities_are_float32_and_keep_the_order_of_logits():
    logits = np.linspace(-80, 15, 5000, dtype=np.float32)[:, None]
    scores = probabilities(logits)
    assert scores.dtype == np.float32
    assert (np.diff(scores[:, 0]) >= 0).all()
    assert probabilities(np.float32([[0.0]]))[0, 0] == 0.5
    assert scores[0, 0] == pytest.approx(math.exp(-80))


def test_many_classes_cost_no_table_of_places():
    """The order of the classes of all images at once would take eight times the scores."""
    scores = np.random.RandomState(0).rand(20_000, 50).astype(np.float32)
    tracemalloc.start()
    decide(scores, top_k=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * scores.nbytes
