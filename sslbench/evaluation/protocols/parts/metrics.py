"""Classification metrics on predicted labels, in [0, 1]; numpy only."""

from __future__ import annotations

import numpy as np


def top1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of predictions (num_samples,) that equal the labels (num_samples,)."""
    _refuse_shapes(predictions, labels)
    return float(np.mean(predictions == labels))


def mean_per_class(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean over classes of the share of the class's images that are right.

    The classes are those that occur in the labels; a class that only occurs in the predictions
    has no images and so no share. This is scikit-learn's `balanced_accuracy_score`.
    """
    _refuse_shapes(predictions, labels)
    _, inverse = np.unique(labels, return_inverse=True)
    right = np.bincount(inverse, weights=predictions == labels)
    return float(np.mean(right / np.bincount(inverse)))


def _refuse_shapes(predictions: np.ndarray, labels: np.ndarray) -> None:
    if predictions.shape != labels.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"expected two equal, non-empty vectors, found {predictions.shape}, {labels.shape}"
        )
