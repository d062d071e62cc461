"""How well masks and keypoints were followed: J and F of DAVIS, and PCK.

J and F   Perazzi et al. 2016, "A Benchmark Dataset and Evaluation Methodology for Video Object
          Segmentation"; details as in the official evaluation,
          https://github.com/davisvideochallenge/davis2017-evaluation (davis2017/metrics.py)
PCK       https://github.com/ajabri/videowalk (code/eval/eval_pck.py), as JHMDB is scored
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import distance_transform_edt

# Share of the frame's diagonal within which two contours count as one (Perazzi et al. 2016).
_BOUND = 0.008
# Share of the diagonal of the keypoints' box that PCK takes for the object's size.
_BOX = 0.6


def region_similarity(truth: np.ndarray, found: np.ndarray) -> float:
    """Return J, the intersection of two masks (height, width) bool over their union.

    Two empty masks are equal: 1.
    """
    union = np.count_nonzero(truth | found)
    return np.count_nonzero(truth & found) / union if union else 1.0


def contour_accuracy(truth: np.ndarray, found: np.ndarray) -> float:
    """Return F, the harmonic mean of precision and recall of a mask's contour pixels.

    A contour pixel is matched by one of the other mask within ceil(.008 * diagonal) pixels. The
    official code dilates with a disk of that radius, which is the same set of pixels.

    Args:
        truth: (height, width) bool.
        found: (height, width) bool.
    """
    wanted, given = contour(truth), contour(found)
    if not wanted.any() or not given.any():
        return float(wanted.any() == given.any())
    reach = math.ceil(_BOUND * math.hypot(*truth.shape))
    precision = np.mean(distance_transform_edt(~wanted)[given] <= reach)
    recall = np.mean(distance_transform_edt(~given)[wanted] <= reach)
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def contour(mask: np.ndarray) -> np.ndarray:
    """Return where a mask (height, width) bool differs from its right, lower or diagonal neighbour.

    So a contour lies half a pixel towards the origin, and the frame's border is none.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    found: np.ndarray = (mask != right) | (mask != below) | (mask != diagonal)
    return found


def follow_scores(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return J&F, J and F (num_objects, 3) of a clip, each a mean over frames.

    The objects are those of the first frame. The first frame is given and the last is left out,
    by the official rule.

    Args:
        truth: (num_frames, height, width) object numbers, 0 for background.
        found: (num_frames - 1, height, width) object numbers of the frames after the first.
    """
    numbers = np.unique(truth[0])
    pairs = list(zip(truth[1:-1], found[:-1], strict=True))
    rows = []
    for number in numbers[numbers > 0]:
        masks = [(true == number, made == number) for true, made in pairs]
        j = np.mean([region_similarity(*pair) for pair in masks])
        f = np.mean([contour_accuracy(*pair) for pair in masks])
        rows.append([(j + f) / 2, j, f])
    return np.array(rows).reshape(-1, 3)


def keypoint_scores(
    truth: np.ndarray, found: np.ndarray, thresholds: tuple[float, ...]
) -> np.ndarray:
    """Return PCK (1, num_thresholds) of a clip, or (0, num_thresholds) where nothing is scored.

    A keypoint is right if it lies within `threshold` times the object's size, which is .6 times
    the diagonal of the box around the keypoints that are scored in the frame. Scored are those
    visible in the frame and in the first one, in every frame but the first.

    Args:
        truth: (num_frames, num_points, 3): x, y in pixels and 1 where visible.
        found: (num_frames - 1, num_points, 2): x, y in pixels; NaN for lost.
        thresholds: shares of the object's size.
    """
    is_known = truth[0, :, 2] > 0
    ratios: list[float] = []
    for true, made in zip(truth[1:], found, strict=True):
        is_scored = is_known & (true[:, 2] > 0)
        places = true[is_scored, :2]
        size = _BOX * float(np.linalg.norm(np.ptp(places, axis=0))) if len(places) else 0.0
        if size > 0:
            ratios += (np.linalg.norm(made[is_scored] - places, axis=1) / size).tolist()
    right = np.array(ratios)[:, None] <= np.array(thresholds)
    return right.mean(axis=0, keepdims=True) if ratios else np.zeros((0, len(thresholds)))
