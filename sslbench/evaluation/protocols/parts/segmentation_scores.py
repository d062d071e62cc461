"""Intersection over union of classes, summed over a whole split; numpy only.

Source: Everingham et al., the PASCAL VOC challenge, https://doi.org/10.1007/s11263-014-0733-5,
section 4.4: true positives / (true positives + false positives + false negatives) of each class
over all pixels of the test images, meant over classes, the background among them.
"""

from __future__ import annotations

import numpy as np

# Pixels of which nothing is said: they count neither for nor against.
VOID = 255


def confusion(truth: np.ndarray, found: np.ndarray, num_classes: int) -> np.ndarray:
    """Return how many pixels of each true class (row) were found to be each class (column).

    Args:
        truth: any shape, classes below `num_classes`, or VOID.
        found: of the same shape, classes below `num_classes`.
        num_classes: the background included.

    Returns:
        (num_classes, num_classes) int64; add them over images.
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth of shape {truth.shape}, found {found.shape}")
    said = truth != VOID
    pairs = truth[said].astype(np.int64) * num_classes + found[said]
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def areas(counts: np.ndarray) -> np.ndarray:
    """Return (3, num_classes) of a confusion matrix: pixels found right, true ones, found ones."""
    return np.stack([np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)])


def mean_iou(summed: np.ndarray) -> float:
    """Return the mean intersection over union, in [0, 1], of `areas` summed over images.

    Classes without a pixel in the truth have no share in the mean (their false positives still
    count against the class that they were taken from).

    Raises:
        ValueError: the truth says nothing of any pixel.
    """
    right, true, found = summed
    there = true > 0
    if not there.any():
        raise ValueError("the truth says nothing of any pixel")
    return float(np.mean(right[there] / (true + found - right)[there]))
