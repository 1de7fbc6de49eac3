"""Precision, recall and F1 of multi-label predictions, by class and overall, as pure functions.

Letters in shapes: N images, K classes. Scores are sigmoids in 0..1; labels are 1 positive,
-1 negative and 0 not annotated, dense or sparse, and what is not annotated counts nowhere. Results
are percentages; 0/0 is 0, except that a class without an annotated entry is NaN and left out of
every mean. The definitions are those of Chen et al., "Multi-Label Image Recognition with Graph
Convolutional Networks", CVPR 2019, section 4.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data.labels import Labels, annotated_by_class

_ROWS = 4096  # images whose classes are put in order at a time


class Counts(NamedTuple):
    """What was predicted of each class, int [K] each, of annotated entries alone."""

    hits: np.ndarray  # predicted and positive
    predicted: np.ndarray
    positives: np.ndarray
    annotated: np.ndarray


class ByClass(NamedTuple):
    """Of each class, float [K] each, in percent."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


class Overall(NamedTuple):
    """The six numbers of the field, in percent: C is a mean over classes, O of all entries."""

    CP: float
    CR: float
    CF1: float  # of CP and CR, not the mean of the classes' F1
    OP: float
    OR: float
    OF1: float


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The sigmoids of logits, in float64 before they are rounded: float32 of the same shape."""
    from scipy.special import expit

    result = np.empty(logits.shape, np.float32)
    for first in range(0, len(logits), _ROWS):
        result[first : first + _ROWS] = expit(logits[first : first + _ROWS].astype(np.float64))
    return result


def decide(
    scores: np.ndarray, thresholds: np.ndarray | float = 0.0, top_k: int | None = None
) -> np.ndarray:
    """Which classes are predicted, bool [N, K]: those whose score is at least the threshold.

    `scores` [N, K]; `thresholds` one for all classes, or [K]. With `top_k` at most so many classes
    of an image, the highest, the first of equal ones; with the threshold 0 exactly so many.
    """
    chosen = scores >= np.asarray(thresholds, scores.dtype)
    if top_k is None or top_k >= scores.shape[1]:
        return chosen
    for first in range(0, len(scores), _ROWS):
        rows = slice(first, first + _ROWS)
        below = np.argsort(-scores[rows], axis=1, kind="stable")[:, top_k:]
        np.put_along_axis(chosen[rows], below, False, axis=1)
    return chosen


def count(predicted: np.ndarray, labels: Labels) -> Counts:
    """What was predicted and what is there, class by class. `predicted` bool, `labels` [N, K].

    Raises ValueError where they are not of one shape.
    """
    if predicted.shape != labels.shape:
        raise ValueError(f"predictions {predicted.shape}, labels {labels.shape} differ in shape")
    table = [
        ((predicted[rows, k] & positive).sum(), predicted[rows, k].sum(), positive.sum(), len(rows))
        for k, (rows, positive) in enumerate(annotated_by_class(labels))
    ]
    return Counts(*np.array(table, dtype=np.int64).T)


def by_class(counts: Counts) -> ByClass:
    """Precision, recall and F1 of each class [K].

    A class that is never predicted has precision 0, one without positives recall 0, as its AP is.
    """
    known = counts.annotated > 0
    return ByClass(
        _percent(counts.hits, counts.predicted, known),
        _percent(counts.hits, counts.positives, known),
        _percent(2 * counts.hits, counts.predicted + counts.positives, known),
    )


def overall(counts: Counts) -> Overall:
    """CP, CR, CF1, OP, OR and OF1; all NaN where no class has an annotated entry.

    CP and CR are the means of the classes' precision and recall, OP and OR those of all entries
    together; each F1 is the harmonic mean of the two before it.
    """
    known = counts.annotated > 0
    if not known.any():
        return Overall(*[float("nan")] * 6)
    classes = by_class(counts)
    precision, recall = (float(part[known].mean()) for part in classes[:2])
    total = by_class(Counts(*(part.sum(keepdims=True) for part in counts)))
    together = [float(part[0]) for part in total]
    return Overall(precision, recall, _harmonic(precision, recall), *together)


def best_thresholds(scores: np.ndarray, labels: Labels, otherwise: float = 0.5) -> np.ndarray:
    """The threshold of each class that gives it the highest F1 on these images, float32 [K].

    `scores`, `labels` [N, K]. Each is a score that occurs, the highest of equally good ones. A
    class without an annotated positive has the threshold `otherwise`.
    """
    return np.array(
        [
            _best_threshold(scores[rows, k], positive) if positive.any() else otherwise
            for k, (rows, positive) in enumerate(annotated_by_class(labels))
        ],
        dtype=np.float32,
    )


def _best_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    """Of one class: `scores` [N], `positive` bool [N] with at least one that is true."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(ranked[1:] != ranked[:-1], True)  # the last one of equal scores
    hits, predicted = np.cumsum(positive[order])[ends], np.flatnonzero(ends) + 1
    return ranked[ends][np.argmax(2 * hits / (predicted + positive.sum()))]


def _percent(part: np.ndarray, whole: np.ndarray, known: np.ndarray) -> np.ndarray:
    share = np.divide(100.0 * part, whole, out=np.zeros(len(part)), where=whole > 0)
    return np.where(known, share, np.nan)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
