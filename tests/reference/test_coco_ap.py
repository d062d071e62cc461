"""Average precision against torchmetrics, the COCO API on files' terms, and by hand."""

import contextlib
import io

import numpy as np
import pytest

from sslbench.data.store.instances import Instances, plain
from sslbench.evaluation.protocols.parts.coco_ap import Matches, found_of, truth_of
from sslbench.evaluation.protocols.parts.resampling import standard_errors

SIZE = 24


def boxes_of(rng, count):
    """Random boxes with whole corners, so that their masks are exactly the boxes."""
    first = rng.integers(0, SIZE - 8, (count, 2))
    return np.concatenate([first, first + rng.integers(2, 8, (count, 2))], 1).astype(np.float32)


def masks_of(boxes):
    """Boxes as masks, less one corner where that leaves any."""
    masks = np.zeros((len(boxes), SIZE, SIZE), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
        mask[y0, x0] = False
    return masks


def random_case(seed, num_classes=3, images=12, fewest=0):
    """Truth with crowds, and detections near it or anywhere, with tied scores."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        boxes = boxes_of(rng, rng.integers(fewest, 5))
        crowd = rng.random(len(boxes)) < 0.15
        labels = rng.integers(0, num_classes, len(boxes))
        truth.append(Instances(boxes, labels, masks_of(boxes), crowd, np.zeros_like(crowd)))
        near = boxes + rng.integers(-1, 2, boxes.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 2)
        near = np.concatenate([near.clip(0, SIZE), boxes_of(rng, rng.integers(0, 3))])
        guesses = np.concatenate([labels, rng.integers(0, num_classes + 1, len(near) - len(boxes))])
        scores = rng.integers(1, 6, len(near)) / 5  # ties
        found.append((near.astype(np.float32), guesses, scores, masks_of(near)))
    return truth, found


def matches(truth, found, kind="bbox"):
    return Matches([truth_of(t) for t in truth], [found_of(*f) for f in found], kind)


def ours(truth, found, kind="bbox"):
    return matches(truth, found, kind).precision()


def theirs(truth, found, kind="bbox"):
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    # Its own thresholds are float32 steps, which overlaps of exactly 0.55 and the like fall below.
    metric = MeanAveragePrecision(
        iou_type=kind, backend="pycocotools",
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )  # fmt: skip
    metric.update(
        [
            {
                "boxes": torch.tensor(boxes), "labels": torch.tensor(labels),
                "scores": torch.tensor(scores, dtype=torch.float32), "masks": torch.tensor(masks),
            }
            for boxes, labels, scores, masks in found
        ],
        [
            {
                "boxes": torch.tensor(t.boxes), "labels": torch.tensor(t.labels),
                "iscrowd": torch.tensor((t.is_crowd | t.is_difficult).astype(int)),
                "masks": torch.tensor(t.masks),
            }
            for t in truth
        ],
    )  # fmt: skip
    values = metric.compute()
    return {"ap": values["map"], "ap50": values["map_50"], "ap75": values["map_75"]}


@pytest.mark.slow  # importing torchmetrics
@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize(("seed", "num_classes"), [(0, 3), (1, 1), (2, 8)])
def test_it_is_torchmetrics_with_ties_and_crowds(seed, num_classes, kind):
    # Comparing masks, torchmetrics leaves images without objects out, and what was found there.
    truth, found = random_case(seed, num_classes, fewest=int(kind == "segm"))
    expected = theirs(truth, found, kind)
    found_values = ours(truth, found, kind)
    assert 0 < found_values["ap"] < found_values["ap50"] < 1
    for name, value in found_values.items():
        assert value == pytest.approx(expected[name].item(), abs=1e-6), name


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_it_is_the_coco_api_as_its_demo_calls_it(kind):
    """Through loadRes and summarize; some images have no objects."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = random_case(3)
    rows = [{"image_id": i, **r} for i, t in enumerate(truth) for r in truth_of(t)]
    results = [{"image_id": i, **r} for i, f in enumerate(found) for r in found_of(*f)]
    results = [{k: v for k, v in r.items() if k not in ("area", "iscrowd")} for r in results]
    if kind == "segm":
        results = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = {
            "images": [{"id": i, "height": SIZE, "width": SIZE} for i in range(len(truth))],
            "categories": [{"id": c} for c in range(3)],
            "annotations": [{"id": i + 1, **row} for i, row in enumerate(rows)],
            "info": {},
        }
        api.createIndex()
        known = [r for r in results if r["category_id"] < 3]
        evaluator = COCOeval(api, api.loadRes(known), kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    assert list(ours(truth, found, kind).values()) == evaluator.stats[:3].tolist()


def one(box, label=0, **marks):
    boxes = np.array([box], np.float32)
    made = plain(boxes, np.array([label]), masks_of(boxes))
    if not marks:
        return made
    return Instances(
        made.boxes, made.labels, made.masks,
        np.array([marks.get("crowd", False)]), np.array([marks.get("difficult", False)]),
    )  # fmt: skip


def guess(*rows):
    """Detections (box, label, score)."""
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    labels = np.array([row[1] for row in rows], np.int64)
    return boxes, labels, np.array([row[2] for row in rows], float), masks_of(boxes)


NOTHING = guess()
BOX, FAR = (2, 2, 12, 12), (14, 14, 20, 20)


def test_by_hand():
    """Two objects; found: a hit (.9), a miss (.8), a hit of overlap 0.8 (.7).

    At overlaps up to 0.8 precision is 1 up to recall 1/2 (51 of 101 recalls) and 2/3 beyond;
    above 0.8 it is 1 on those 51 and 0 beyond. Seven of the ten overlaps are up to 0.8.
    """
    truth = [one(BOX), one(BOX)]
    found = [guess((BOX, 0, 0.9), (FAR, 0, 0.8)), guess(((2, 2, 12, 10), 0, 0.7))]
    low, high = (51 + 50 * 2 / 3) / 101, 51 / 101
    values = ours(truth, found)
    assert values["ap50"] == pytest.approx(low)
    assert values["ap75"] == pytest.approx(low)
    assert values["ap"] == pytest.approx(0.7 * low + 0.3 * high)


def test_everything_found_exactly_is_one():
    truth, _ = random_case(5)
    found = [guess(*((b, c, 1.0) for b, c in zip(t.boxes, t.labels, strict=True))) for t in truth]
    for kind in ("bbox", "segm"):
        assert ours(truth, found, kind) == pytest.approx({"ap": 1.0, "ap50": 1.0, "ap75": 1.0})


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_nothing_found_is_zero(kind):
    assert ours([one(BOX)], [NOTHING], kind) == {"ap": 0.0, "ap50": 0.0, "ap75": 0.0}


def test_a_class_without_a_detection_counts_zero_and_one_without_truth_not_at_all():
    truth = [one(BOX, 0), one(BOX, 4)]
    assert ours(truth, [guess((BOX, 0, 1.0)), NOTHING])["ap"] == pytest.approx(0.5)
    with_unknown = [guess((BOX, 0, 1.0), (FAR, 2, 1.0)), NOTHING]
    assert ours(truth, with_unknown)["ap"] == pytest.approx(0.5)


def test_detections_in_an_image_without_objects_are_false():
    empty = plain(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros((0, SIZE, SIZE), bool))
    truth, found = [empty, one(BOX)], [guess((BOX, 0, 1.0)), guess((BOX, 0, 0.9))]
    assert ours(truth, found)["ap"] == pytest.approx(0.5)
    assert ours(truth, [NOTHING, found[1]])["ap"] == pytest.approx(1.0)


@pytest.mark.parametrize("mark", ["crowd", "difficult"])
def test_what_lies_in_an_ignored_object_counts_neither_for_nor_against(mark):
    truth = [one(BOX), one(FAR, **{mark: True})]
    hit = guess((BOX, 0, 0.5))
    inside = guess((FAR, 0, 0.9), ((15, 15, 18, 18), 0, 0.8))
    assert ours(truth, [hit, inside])["ap"] == pytest.approx(1.0)
    assert ours(truth, [hit, NOTHING])["ap"] == pytest.approx(1.0)
    assert ours(truth, [hit, guess((BOX, 0, 0.9))])["ap"] == pytest.approx(0.5)


def test_empty_masks_match_nothing():
    truth = [one(BOX)]
    boxes, labels, scores, masks = guess((BOX, 0, 1.0))
    empty = [(boxes, labels, scores, np.zeros_like(masks))]
    assert ours(truth, empty, "segm")["ap"] == 0.0
    assert ours(truth, empty, "bbox")["ap"] == pytest.approx(1.0)


def test_of_equal_scores_the_earlier_image_goes_first():
    right, wrong = guess((BOX, 0, 0.5)), guess((FAR, 0, 0.5))
    truth = [one(BOX), plain(np.zeros((0, 4), np.float32), np.zeros(0, int), None)]
    assert ours(truth, [right, wrong])["ap"] == pytest.approx(1.0)
    assert ours(truth[::-1], [wrong, right])["ap"] == pytest.approx(0.5)


def test_no_truth_and_other_images_are_refused():
    with pytest.raises(ValueError, match="no object that counts"):
        ours([one(BOX, crowd=True)], [NOTHING])
    with pytest.raises(ValueError, match="truth of 1 images, objects found in 2"):
        ours([one(BOX)], [NOTHING, NOTHING])


def test_it_says_nothing(capsys):
    ours([one(BOX)], [guess((BOX, 0, 1.0))])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_of_drawn_images_it_is_that_of_a_set_that_holds_them_as_often(kind):
    truth, found = random_case(6)
    made = matches(truth, found, kind)
    for seed in range(5):
        rows = np.random.default_rng(seed).integers(len(truth), size=len(truth))
        assert made.precision(rows) == ours(
            [truth[r] for r in rows], [found[r] for r in rows], kind
        )
    assert made.precision() == ours(truth, found, kind), "a draw leaves nothing behind"


def test_drawn_images_without_an_object_that_counts_have_no_value():
    made = matches([one(BOX), one(BOX, crowd=True)], [guess((BOX, 0, 1.0)), NOTHING])
    assert made.precision(np.array([0, 0]))["ap"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no object that counts"):
        made.precision(np.array([1, 1]))


@pytest.mark.slow
def test_the_standard_error_is_how_far_other_test_images_move_it():
    """On 200 images; on 60 it is up to a third too large where AP is near 0.1."""
    sets = [matches(*random_case(seed, images=200)) for seed in range(100)]
    values = [made.precision() for made in sets]
    errors = [standard_errors(made.precision, 200) for made in sets[:4]]
    for name in ("ap", "ap50"):
        spread = np.std([value[name] for value in values], ddof=1)  # known to 7 %
        assert np.mean([error[name] for error in errors]) == pytest.approx(spread, rel=0.2), name
