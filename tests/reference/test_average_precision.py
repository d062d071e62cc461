"""Average precision against scikit-learn, torchmetrics and plain fractions, and at its edges."""

from fractions import Fraction

import numpy as np
import pytest

from sslbench.evaluation.protocols.parts.average_precision import (
    area,
    eleven_point,
    mean_over_classes,
)


def curve(scores, positives):
    """Every (recall, precision) that a threshold can reach, as fractions."""
    points = []
    for threshold in sorted(set(scores.tolist())):
        taken = scores >= threshold
        hits = int((taken & positives).sum())
        points.append((Fraction(hits, int(positives.sum())), Fraction(hits, int(taken.sum()))))
    return points


def brute_force(scores, positives):
    points, total = curve(scores, positives), Fraction(0)
    for tenth in range(11):
        total += max(p for recall, p in points if recall >= Fraction(tenth, 10))
    return float(total / 11)


def cases():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 10, 30, 200):
        for levels in (2, 5, 1000):  # few levels: many ties
            positives = rng.random(size) < 0.4
            positives[rng.integers(size)] = True
            yield rng.integers(0, levels, size).astype(np.float32), positives
    yield np.ones(7), np.array([1, 0, 0, 1, 0, 0, 0], bool)  # all tied
    yield np.arange(10.0), np.ones(10, bool)  # all positive
    yield np.arange(10.0), np.arange(10) == 0  # the only positive comes last


CASES = list(cases())


@pytest.mark.parametrize(("scores", "positives"), CASES)
def test_area_is_sklearns(scores, positives):
    from sklearn.metrics import average_precision_score

    assert area(scores, positives) == pytest.approx(average_precision_score(positives, scores))


@pytest.mark.parametrize(("scores", "positives"), CASES)
def test_eleven_points_are_the_definition(scores, positives):
    assert eleven_point(scores, positives) == pytest.approx(brute_force(scores, positives))


def test_a_recall_that_floats_would_miss():
    """3 of 10 positives is a recall of 0.3, though 0.1 * 3 is more than 0.3 in binary."""
    positives = np.array([1, 1, 1] + [0] * 90 + [1] * 7, bool)
    scores = -np.arange(100.0)
    expected = (4 * 1.0 + 7 * 10 / 100) / 11
    assert eleven_point(scores, positives) == pytest.approx(expected)


def test_known_values():
    scores, positives = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0], bool)
    assert area(scores, positives) == pytest.approx((1 + 2 / 3) / 2)
    assert eleven_point(scores, positives) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


@pytest.mark.parametrize("rule", [area, eleven_point])
def test_order_does_not_matter_even_with_ties(rule):
    rng = np.random.default_rng(1)
    scores, positives = rng.integers(0, 4, 40).astype(float), rng.random(40) < 0.3
    order = rng.permutation(40)
    assert rule(scores, positives) == rule(scores[order], positives[order])
    assert rule(np.zeros(40), positives) == pytest.approx(positives.mean())  # a constant score
    assert rule(scores, np.ones(40, bool)) == 1.0


@pytest.mark.parametrize("rule", [area, eleven_point])
@pytest.mark.parametrize(
    ("scores", "positives"),
    [
        (np.zeros(3), np.zeros(3, bool)),
        (np.array([1.0, np.nan]), np.ones(2, bool)),
        (np.zeros(3), np.ones(2, bool)),
        (np.zeros(0), np.zeros(0, bool)),
    ],
)
def test_what_has_no_average_precision_is_refused(rule, scores, positives):
    with pytest.raises(ValueError, match=r"equal vectors|needs a positive"):
        rule(scores, positives)


def test_unsaid_images_and_classes_without_positives_are_left_out():
    scores = np.array([[4, 9, 1.0], [3, 1, 2], [2, 5, 3], [1, 4, 4]])
    targets = np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 1], [1, 0, 1]], np.int8)
    value, left_out = mean_over_classes(area, scores, targets)
    first = area(np.array([4.0, 2, 1]), np.array([1, 0, 1], bool))
    assert left_out == [1]
    assert value == pytest.approx((first + 1.0) / 2)
    scores[0, 2] = np.nan  # a class that was not learned
    assert mean_over_classes(area, scores, targets) == (pytest.approx(first), [1, 2])
    with pytest.raises(ValueError, match="no class"):
        mean_over_classes(area, scores, np.zeros((4, 3), np.int8))
    with pytest.raises(ValueError, match="differ in shape"):
        mean_over_classes(area, scores, targets[:, :2])


@pytest.mark.slow
def test_mean_over_classes_is_torchmetrics():
    import torch
    from torchmetrics.functional.classification import multilabel_average_precision

    rng = np.random.default_rng(3)
    scores, targets = rng.random((80, 6)), (rng.random((80, 6)) < 0.3).astype(np.int8)
    theirs = multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(targets).long(), 6, thresholds=None
    )
    assert mean_over_classes(area, scores, targets)[0] == pytest.approx(float(theirs), abs=1e-6)
