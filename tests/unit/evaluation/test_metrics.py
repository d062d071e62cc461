"""Metrics against scikit-learn's, and at their edges."""

import warnings

import numpy as np
import pytest

from sslbench.evaluation.protocols.parts.metrics import mean_per_class, top1


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [
        ([0, 1, 2, 1], [0, 1, 2, 2]),
        ([0, 0, 0], [0, 0, 0]),  # one class
        ([1, 1, 0], [0, 0, 0]),  # one class in the labels, another predicted
        ([0, 5, 5, 9], [0, 5, 9, 9]),  # absent classes between
        ([3, 3, 3, 3], [0, 1, 2, 3]),
        ([1, 1, 1], [0, 0, 0]),  # one class, none of it found
        ([0, 0, 0, 0, 2], [0, 0, 1, 1, 2]),  # a class that is never predicted
        ([7], [7]),
        ([-4, 10**12], [10**12, 10**12]),  # labels are names, not indices
    ],
)
def test_metrics_are_sklearns(predictions, labels):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    predictions, labels = np.array(predictions), np.array(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = balanced_accuracy_score(labels, predictions)
    assert top1(predictions, labels) == pytest.approx(accuracy_score(labels, predictions))
    assert mean_per_class(predictions, labels) == pytest.approx(balanced)


def test_mean_per_class_weighs_classes_alike():
    labels = np.array([0] * 9 + [1])
    assert mean_per_class(np.zeros(10, int), labels) == 0.5
    assert top1(np.zeros(10, int), labels) == 0.9


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((2, 1)), np.zeros(0)])
def test_shapes_that_mean_nothing_are_refused(labels):
    with pytest.raises(ValueError, match="equal, non-empty"):
        top1(np.zeros(2), labels)


@pytest.mark.slow
def test_mean_per_class_is_torchmetrics_where_each_class_occurs():
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy

    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(6), rng.integers(0, 6, 60)])
    predictions = rng.integers(0, 5, 66)  # class 5 is never predicted
    theirs = multiclass_accuracy(
        torch.from_numpy(predictions), torch.from_numpy(labels), num_classes=6, average="macro"
    )
    assert mean_per_class(predictions, labels) == pytest.approx(float(theirs), abs=1e-6)
