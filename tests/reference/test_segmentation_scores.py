"""Mean IoU over a whole split against torchmetrics and by hand; pixels' classes from objects."""

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.data.store.instances import Instances, plain
from sslbench.evaluation.protocols.parts.segmentation_scores import (
    VOID,
    areas,
    confusion,
    mean_iou,
)
from sslbench.evaluation.protocols.parts.semantic import painted


def split_of(seed, num_classes, images=6, void=0.1):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, (images, 9, 7)).astype(np.uint8)
    found = np.where(
        rng.random(truth.shape) < 0.6, truth, rng.integers(0, num_classes, truth.shape)
    )
    truth[rng.random(truth.shape) < void] = VOID
    return truth, found.astype(np.uint8)


def ours(truth, found, num_classes):
    pairs = zip(truth, found, strict=True)
    return mean_iou(sum(areas(confusion(t, f, num_classes)) for t, f in pairs))


def theirs(truth, found, num_classes):
    import torch
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(num_classes, average="macro", ignore_index=VOID)
    for t, f in zip(truth, found, strict=True):
        metric.update(torch.tensor(f.astype(int))[None], torch.tensor(t.astype(int))[None])
    return metric.compute().item()


@pytest.mark.slow  # importing torchmetrics
@pytest.mark.parametrize(("seed", "num_classes"), [(0, 4), (1, 2), (2, 11)])
def test_it_is_torchmetrics_over_the_whole_split(seed, num_classes):
    truth, found = split_of(seed, num_classes)
    value = ours(truth, found, num_classes)
    assert 0 < value < 1
    assert value == pytest.approx(theirs(truth, found, num_classes), abs=1e-6)


def test_it_is_no_mean_over_images():
    truth = np.array([[[0, 0]], [[0, 1]]], np.uint8)
    found = np.array([[[0, 0]], [[0, 0]]], np.uint8)
    assert ours(truth, found, 2) == pytest.approx((3 / 4 + 0) / 2)


def test_by_hand():
    """Background: 2 right of 2 true, 3 found. Class 1: 1 right, 2 true, 1 found. Void: left out."""
    truth = np.array([[0, 0, 1, 1, VOID]], np.uint8)
    found = np.array([[0, 0, 0, 1, 1]], np.uint8)
    assert ours([truth], [found], 2) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_class_that_the_truth_lacks_is_skipped_though_it_was_found():
    truth, found = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 1, 2]], np.uint8)
    assert ours([truth], [found], 4) == pytest.approx((1 + 1 / 2) / 2)


def test_room_for_more_classes_changes_nothing():
    truth, found = split_of(3, 5)
    assert ours(truth, found, VOID) == ours(truth, found, 5)


def test_one_class_and_nothing_found_of_it():
    truth, found = np.ones((1, 4), np.uint8), np.zeros((1, 4), np.uint8)
    assert ours([truth], [found], 2) == 0.0
    assert ours([truth], [truth], 2) == 1.0


def test_no_said_pixel_and_other_shapes_are_refused():
    void = np.full((2, 2), VOID, np.uint8)
    with pytest.raises(ValueError, match="says nothing"):
        ours([void], [np.zeros((2, 2), np.uint8)], 2)
    with pytest.raises(ValueError, match="truth of shape"):
        confusion(void, np.zeros((2, 3), np.uint8), 2)


def strips(*columns):
    """Masks of a 1 x 6 image, each over a range of columns."""
    masks = np.zeros((len(columns), 1, 6), bool)
    for mask, (start, stop) in zip(masks, columns, strict=True):
        mask[:, start:stop] = True
    return masks


def objects(columns, labels, crowd=None):
    masks = strips(*columns)
    boxes = np.array([(start, 0, stop, 1) for start, stop in columns], np.float32).reshape(-1, 4)
    no = np.zeros(len(labels), bool)
    return Instances(boxes, np.array(labels, int), masks, no if crowd is None else crowd, no)


@pytest.mark.parametrize("label", [254, 255, 300])
def test_a_class_that_would_be_void_or_background_is_refused(label):
    assert painted(objects([(0, 6)], [253]), 1, 6).tolist() == [[254] * 6]
    with pytest.raises(UserError, match=f"here: an object is of class {label}"):
        painted(objects([(0, 6)], [label]), 1, 6, where="here")


def test_a_class_is_painted_one_higher_and_two_classes_void_each_other():
    found = painted(objects([(0, 3), (2, 5)], [0, 2]), 1, 6)
    assert found.tolist() == [[1, 1, VOID, 3, 3, 0]]


def test_overlaps_of_one_class_stay():
    assert painted(objects([(0, 3), (2, 5)], [1, 1]), 1, 6).tolist() == [[2, 2, 2, 2, 2, 0]]


def test_a_third_object_does_not_bring_a_voided_pixel_back():
    found = painted(objects([(0, 3), (0, 3), (0, 3)], [0, 1, 0]), 1, 6)
    assert found.tolist() == [[VOID, VOID, VOID, 0, 0, 0]]


def test_a_crowd_is_void_where_nothing_else_is():
    found = painted(objects([(0, 4), (3, 6)], [1, 1], np.array([True, False])), 1, 6)
    assert found.tolist() == [[VOID, VOID, VOID, 2, 2, 2]]


def test_no_objects_are_background_and_no_masks_are_refused():
    assert painted(objects([], []), 1, 6).tolist() == [[0] * 6]
    boxes = np.array([[0, 0, 1, 1]], np.float32)
    with pytest.raises(UserError, match=r"here: the objects have no masks; take"):
        painted(plain(boxes, np.array([0]), None), 1, 6, where="here")
