"""A bootstrap's standard errors against formulas and scipy, and what their intervals cover."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from sslbench.evaluation.protocols.parts.average_precision import area, eleven_point
from sslbench.evaluation.protocols.parts.metrics import mean_per_class
from sslbench.evaluation.protocols.parts.resampling import standard_error, standard_errors
from sslbench.evaluation.protocols.parts.segmentation_scores import mean_iou
from sslbench.evaluation.protocols.segmentation import mean_iou_of
from sslbench.evaluation.statistics.intervals import normal_interval

SHARES = np.array([0.9, 0.6, 0.4])  # right answers of each class
PRIORS = np.array([0.7, 0.2, 0.1])  # the classes are far from balanced


def answers(rng, n=400):
    """Labels and predictions; a wrong one is the next class."""
    labels = rng.choice(3, size=n, p=PRIORS)
    right = rng.uniform(size=n) < SHARES[labels]
    return np.where(right, labels, (labels + 1) % 3), labels


def per_class_error(predictions, labels):
    return standard_error(lambda rows: mean_per_class(predictions[rows], labels[rows]), len(labels))


def test_of_a_mean_it_is_the_textbooks():
    values = np.random.default_rng(0).exponential(size=2000)
    found = standard_error(lambda rows: float(values[rows].mean()), len(values))
    assert found == pytest.approx(stats.sem(values), rel=0.12)  # 200 draws: 5 % either way


def test_of_mean_per_class_it_is_scipys_and_that_of_the_formula():
    predictions, labels = answers(np.random.default_rng(1), 2000)
    found = per_class_error(predictions, labels)
    counts = np.bincount(labels)
    shares = np.bincount(labels, predictions == labels) / counts
    assert found == pytest.approx(np.sqrt((shares * (1 - shares) / counts).sum()) / 3, rel=0.12)
    theirs = stats.bootstrap(
        (predictions, labels), mean_per_class, paired=True, vectorized=False, n_resamples=999, rng=2
    ).standard_error
    assert found == pytest.approx(theirs, rel=0.12)


def test_the_same_samples_give_the_same_error():
    predictions, labels = answers(np.random.default_rng(3))
    assert per_class_error(predictions, labels) == per_class_error(predictions, labels)


def test_few_samples_and_a_draw_without_value_give_none():
    assert standard_error(lambda rows: float(rows.mean()), 29) is None

    def seldom(rows):
        if 7 not in rows:
            raise ValueError("no positive")
        return 0.0

    assert standard_error(seldom, 100) is None


def test_where_all_are_right_nothing_is_known_of_the_error():
    labels = np.arange(100) % 3
    assert per_class_error(labels, labels) is None


def test_several_statistics_share_the_draws_and_one_without_error_is_left_out():
    values = np.random.default_rng(5).normal(size=(50, 2))

    def both(rows):
        first, second = values[rows].mean(axis=0)
        return {"first": first, "second": second, "fixed": 0.5}

    alone = [standard_error(lambda rows, k=k: float(values[rows, k].mean()), 50) for k in (0, 1)]
    assert standard_errors(both, 50) == pytest.approx({"first": alone[0], "second": alone[1]})
    assert standard_errors(both, 29) == {}


@pytest.mark.parametrize("num_classes", [3, 7, 10, 11])
def test_a_collapsed_probe_has_no_error_out_of_rounding(num_classes):
    """All are called class 0: mean_per_class is 1 / num_classes in each draw, but for rounding."""
    labels = np.arange(1000) % num_classes
    assert per_class_error(np.zeros(1000, int), labels) is None


def covered(draw, truth, runs):
    """How often the 95 % interval of a value and its error holds the truth."""
    inside = []
    for seed in range(runs):
        value, error = draw(np.random.default_rng(seed))
        found = normal_interval(value, error, 0.95)
        inside.append(found.low <= truth <= found.high)
    return np.mean(inside)


def draw_per_class(rng):
    predictions, labels = answers(rng)
    return mean_per_class(predictions, labels), per_class_error(predictions, labels)


def draw_ap(rng, rule):
    positives = rng.uniform(size=400) < 0.3
    scores = rng.normal(positives * 1.2)
    error = standard_error(lambda rows: rule(scores[rows], positives[rows]), 400)
    return rule(scores, positives), error


def test_of_mean_iou_it_is_that_of_summed_areas():
    areas = np.random.default_rng(4).integers(1, 90, size=(40, 3, 5))
    areas[:, 1:] += areas[:, :1]  # true and found pixels are no fewer than those found right
    rows = np.random.default_rng(5).integers(40, size=40)
    assert mean_iou_of(areas, rows) == mean_iou(areas[rows].sum(axis=0))


def draw_iou(rng):
    """Areas of 200 images of three classes; how well each image is found differs."""
    true = rng.integers(50, 200, size=(200, 3))
    right = np.round(true * rng.beta(8, 2, size=(200, 3))).astype(int)
    found = right + rng.integers(0, 40, size=(200, 3))
    areas = np.stack([right, true, found], axis=1)
    error = standard_error(partial(mean_iou_of, areas), 200)
    return mean_iou(areas.sum(axis=0)), error


def truth_of(draw, runs):
    return np.mean([draw(np.random.default_rng(10_000 + seed))[0] for seed in range(runs)])


def test_mean_per_class_covers_what_it_promises():
    assert 0.93 <= covered(draw_per_class, SHARES.mean(), 600) <= 0.97


@pytest.mark.parametrize("rule", [area, eleven_point])
def test_average_precision_covers_what_it_promises(rule):
    """Its mean over test sets of this size: on few samples 11-point AP lies above the limit's."""
    draw = partial(draw_ap, rule=rule)
    assert 0.93 <= covered(draw, truth_of(draw, 2000), 400) <= 0.97


def test_mean_iou_covers_what_it_promises():
    assert 0.93 <= covered(draw_iou, truth_of(draw_iou, 400), 400) <= 0.97
