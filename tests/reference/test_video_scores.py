"""J, F and PCK against a restatement by brute force, pixel by pixel and pair by pair."""

import math

import numpy as np
import pytest

from sslbench.evaluation.protocols.parts.video_scores import (
    contour,
    contour_accuracy,
    follow_scores,
    keypoint_scores,
    region_similarity,
)


def slow_region(truth, found):
    both = either = 0
    for y, x in np.ndindex(truth.shape):
        both += truth[y, x] and found[y, x]
        either += truth[y, x] or found[y, x]
    return both / either if either else 1.0


def slow_contour(mask):
    """Pixels unlike their right, lower or lower-right neighbour, of those neighbours there are."""
    height, width = mask.shape
    return [
        (y, x)
        for y, x in np.ndindex(mask.shape)
        if any(
            mask[b, a] != mask[y, x]
            for b, a in ((y, x + 1), (y + 1, x), (y + 1, x + 1))
            if b < height and a < width
        )
    ]


def slow_accuracy(truth, found):
    wanted, given = slow_contour(truth), slow_contour(found)
    if not wanted or not given:
        return float(not wanted and not given)
    reach = math.ceil(0.008 * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))

    def share(points, others):
        near = [any((y - b) ** 2 + (x - a) ** 2 <= reach**2 for b, a in others) for y, x in points]
        return sum(near) / len(near)

    precision, recall = share(given, wanted), share(wanted, given)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blob(rng, shape, count=3):
    made = np.zeros(shape, bool)
    for _ in range(count):
        top, left = (rng.integers(-3, side) for side in shape)
        high, wide = rng.integers(1, 12, 2)
        made[max(top, 0) : max(top + high, 0), max(left, 0) : max(left + wide, 0)] ^= True
    return made


def edge_cases():
    empty, full = np.zeros((30, 41), bool), np.ones((30, 41), bool)
    square, corner, border, pixel = (empty.copy() for _ in range(4))
    square[10:20, 10:25] = True
    corner[25:, 35:] = True
    border[:, :7] = True
    pixel[29, 40] = True
    middle = empty.copy()
    middle[15, 20] = True
    return {
        "empty": empty, "full": full, "square": square, "corner": corner, "border": border,
        "last_pixel": pixel, "pixel": middle, "shifted": np.roll(square, 2, axis=1),
    }  # fmt: skip


CASES = edge_cases()


@pytest.mark.parametrize("one", CASES)
@pytest.mark.parametrize("other", CASES)
def test_edge_cases(one, other):
    truth, found = CASES[one], CASES[other]
    assert region_similarity(truth, found) == pytest.approx(slow_region(truth, found))
    assert contour_accuracy(truth, found) == pytest.approx(slow_accuracy(truth, found))
    if one == other:
        assert region_similarity(truth, found) == contour_accuracy(truth, found) == 1


@pytest.mark.parametrize("shape", [(20, 20), (40, 33), (90, 140)])  # reaches of 1, 1 and 2 pixels
def test_random_masks(shape):
    rng = np.random.default_rng(sum(shape))
    for _ in range(3):
        truth = blob(rng, shape)
        found = truth ^ blob(rng, shape, 1)
        assert region_similarity(truth, found) == pytest.approx(slow_region(truth, found))
        assert contour_accuracy(truth, found) == pytest.approx(slow_accuracy(truth, found))
        assert [tuple(p) for p in np.argwhere(contour(truth))] == slow_contour(truth)


def test_values_worked_out_by_hand():
    assert region_similarity(CASES["empty"], CASES["empty"]) == 1
    assert contour_accuracy(CASES["square"], CASES["empty"]) == 0
    assert contour_accuracy(CASES["empty"], CASES["full"]) == 1  # a full frame has no contour
    assert region_similarity(CASES["square"], CASES["shifted"]) == pytest.approx(13 / 17)
    # 2 px off with a reach of 1: rows of the contour agree, columns do not.
    assert 0.3 < contour_accuracy(CASES["square"], CASES["shifted"]) < 0.8


def test_a_disk_reaches_as_far_as_a_dilation():
    from scipy.ndimage import binary_dilation, distance_transform_edt

    points = np.random.default_rng(0).random((60, 60)) < 0.01
    y, x = np.mgrid[-4:5, -4:5]
    dilated = binary_dilation(points, y**2 + x**2 <= 16)
    np.testing.assert_array_equal(distance_transform_edt(~points) <= 4, dilated)


def test_the_first_and_the_last_frame_are_not_scored():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, (5, 12, 12)).astype(np.uint8)
    found = rng.integers(0, 3, (4, 12, 12)).astype(np.uint8)
    scores = follow_scores(truth, found)
    for row, number in enumerate((1, 2)):
        pairs = [(truth[t] == number, found[t - 1] == number) for t in (1, 2, 3)]
        j = np.mean([slow_region(*pair) for pair in pairs])
        f = np.mean([slow_accuracy(*pair) for pair in pairs])
        np.testing.assert_allclose(scores[row], [(j + f) / 2, j, f])
    other = found.copy()
    other[-1] = 0
    np.testing.assert_array_equal(scores, follow_scores(truth, other))


def test_the_objects_are_those_of_the_first_frame():
    truth = np.zeros((3, 8, 8), np.uint8)
    truth[0, 2:4, 2:4], truth[1:, 5:7, 5:7] = 4, 9
    assert follow_scores(truth, truth[1:]).tolist() == [[1, 1, 1]]  # 4 has gone, and none is found


def slow_pck(truth, found, threshold):
    right = []
    for true, made in zip(truth[1:], found, strict=True):
        scored = [k for k in range(len(true)) if true[k, 2] and truth[0, k, 2]]
        if len(scored) < 2:
            continue
        xs, ys = ([true[k, axis] for k in scored] for axis in (0, 1))
        size = 0.6 * math.hypot(max(xs) - min(xs), max(ys) - min(ys))
        right += [math.dist(true[k, :2], made[k]) <= threshold * size for k in scored]
    return np.mean(right)


def test_pck():
    rng = np.random.default_rng(2)
    truth = np.concatenate([rng.random((6, 5, 2)) * 30, rng.random((6, 5, 1)) < 0.7], axis=2)
    truth[0, :3, 2] = 1
    found = truth[1:, :, :2] + rng.normal(size=(5, 5, 2)) * 2
    scores = keypoint_scores(truth, found, (0.1, 0.2))
    np.testing.assert_allclose(scores, [[slow_pck(truth, found, t) for t in (0.1, 0.2)]])
    assert 0 < scores[0, 0] < scores[0, 1] < 1


def test_pck_edge_cases():
    truth = np.ones((3, 2, 3)) * [[0, 0, 1], [30, 40, 1]]  # a size of .6 * 50 = 30 pixels
    found = truth[1:, :, :2].copy()
    assert keypoint_scores(truth, found, (0.1,)) == [[1]]
    found[0, 0] = [3, 0]  # at the threshold
    assert keypoint_scores(truth, found, (0.1,)) == [[1]]
    found[0, 0], found[1, 1] = [3.1, 0], np.nan  # beyond it, and lost
    assert keypoint_scores(truth, found, (0.1,)) == [[0.5]]
    truth[0, :, 2] = 0
    assert keypoint_scores(truth, found, (0.1,)).shape == (0, 1)
    alone = truth[:, :1]
    assert keypoint_scores(alone, found[:, :1], (0.1,)).shape == (0, 1)
