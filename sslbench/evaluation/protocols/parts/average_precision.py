"""Average precision of one class, by two rules, and its mean over classes; numpy only.

Samples with equal scores enter together, since no threshold parts them: the value does not depend
on the order of samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rule = Callable[[np.ndarray, np.ndarray], float]


def eleven_point(scores: np.ndarray, positives: np.ndarray) -> float:
    """Return the mean over recalls 0, 0.1, .. 1 of the best precision at that recall or beyond.

    PASCAL VOC2007, Everingham et al. 2010, section 4.2. Recalls are compared as whole numbers, so
    that 3 of 10 reaches 0.3.

    Args:
        scores: (num_samples,), higher for likelier.
        positives: (num_samples,) bool.

    Raises:
        ValueError: nothing is positive, a score is NaN, or shapes differ.
    """
    hits, taken = _curve(scores, positives)
    precision = hits / taken
    reached = [precision[10 * hits >= tenth * hits[-1]].max() for tenth in range(11)]
    return float(np.mean(reached))


def area(scores: np.ndarray, positives: np.ndarray) -> float:
    """Return the sum over thresholds of precision times the recall gained.

    This is scikit-learn's `average_precision_score`. VOC2010's rule would first raise each
    precision to the best at any higher recall, and is never lower. Arguments and errors are those
    of `eleven_point`.
    """
    hits, taken = _curve(scores, positives)
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / taken)))


def mean_over_classes(
    rule: Rule, scores: np.ndarray, targets: np.ndarray
) -> tuple[float, list[int]]:
    """Return the mean of a rule over classes, and the classes that were left out of it.

    Args:
        rule: `eleven_point` or `area`.
        scores: (num_samples, num_classes); a column with NaN is a class that was not learned.
        targets: (num_samples, num_classes): 1 positive, 0 negative, -1 unsaid. A sample counts
            for the classes that it speaks of; a class without positives is left out.

    Raises:
        ValueError: every class is left out.
    """
    if scores.shape != targets.shape:
        raise ValueError(f"scores {scores.shape} and targets {targets.shape} differ in shape")
    left_out = np.isnan(scores).any(axis=0) | ~(targets == 1).any(axis=0)
    values = []
    for index in np.flatnonzero(~left_out):
        known = targets[:, index] >= 0
        values.append(rule(scores[known, index], targets[known, index] == 1))
    if not values:
        raise ValueError("no class was learned and has positives")
    return float(np.mean(values)), np.flatnonzero(left_out).tolist()


def _curve(scores: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many positives and how many samples lie at or above each distinct score."""
    if scores.shape != positives.shape or scores.ndim != 1:
        raise ValueError(f"expected two equal vectors, found {scores.shape}, {positives.shape}")
    if not positives.any() or np.isnan(scores).any():
        raise ValueError("average precision needs a positive, and scores that are numbers")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    return np.cumsum(positives[order])[last], last + 1
