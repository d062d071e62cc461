"""Dense protocols on rectangles: they learn, repeat, reach or spare the backbone, and refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sslbench import backbones
from sslbench.core import seeding
from sslbench.core.errors import UserError
from sslbench.data.store import Dataset, DatasetInfo, Split, split_writer, write_info, write_split
from sslbench.data.store.instances import Instances, plain, to_bytes
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols import detection, instance_masks, segmentation
from sslbench.evaluation.protocols.parts import detection_runs as runs
from sslbench.evaluation.protocols.parts import detector, pyramid, segmenter
from sslbench.evaluation.protocols.parts.coco_ap import found_of
from sslbench.evaluation.protocols.parts.dense_training import (
    Trained,
    Training,
    choose_rate,
    learn,
)
from sslbench.evaluation.protocols.parts.transfer import Subject, run_transfer

TRAINING = Training(
    steps=40, batch_size=8, learning_rate=(0.05,), warmup_steps=4, drops=(0.75,),
    momentum=0.9, weight_decay=1e-4, flip=0.5,
)  # fmt: skip
DETECTOR = detector.Detector(
    short_side=32, long_side=48, anchors=(0.2, 0.8), fpn_dim=8, box_dim=32, num_proposals=20,
    anchors_per_image=16, rois_per_image=8,
)  # fmt: skip
DETECTION = detection.Params(detector=DETECTOR, training=TRAINING)
MASKS = instance_masks.Params(detector=DETECTOR, mask_dim=8, training=TRAINING)
SEGMENTATION = segmentation.Params(short_side=32, frozen=TRAINING, finetune=TRAINING)
SIZES = {"train": 24, "val": 6, "test": 10}
SIDES = segmenter.Sides(32, 32)


def rectangles(seed, count, side=32):
    """Images with one red or blue rectangle on grey noise, its box, class and mask."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 120, (count, side, side, 3)).astype(np.uint8)
    labels = np.arange(count) % 2
    corner = rng.integers(2, 12, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(12, 18, (count, 2))], 1)
    masks = np.zeros((count, side, side), np.uint8)
    for image, label, (x0, y0, x1, y1), mask in zip(images, labels, boxes, masks, strict=True):
        image[y0:y1, x0:x1] = (250, 20, 20) if label == 0 else (20, 20, 250)
        mask[y0:y1, x0:x1] = 1
    return images, labels, boxes.astype(np.float32), masks


@pytest.fixture
def boxes_dir(tmp_path):
    """A set as scenes are: raw 32 px images, a box and a mask each."""
    folder, hashes = tmp_path / "boxes", {}
    for seed, (split, count) in enumerate(SIZES.items()):
        images, labels, boxes, masks = rectangles(seed, count)
        ids = [f"{split}-{row}" for row in range(count)]
        path = folder / f"{split}.arrow"
        hashes[split] = write_split(path, images, labels, ids, boxes=boxes, mask=masks)
    write_info(
        folder,
        DatasetInfo(
            name="boxes", kind="test", classes=("red", "blue"), counts=SIZES, image_size=32,
            channels=3, mean=(0.5,) * 3, std=(0.2,) * 3, source="seeds", split_rule="drawn apart",
            sha256=hashes, duplicates={}, skipped=[],
        ),
    )  # fmt: skip
    return folder


@pytest.fixture
def subject(checkpoint_dir):
    return Subject(checkpoint_dir, load_backbone(checkpoint_dir)[1], 0, "cpu")


@pytest.fixture
def train(boxes_dir):
    return Dataset.open(boxes_dir).split("train")


def png(pixels):
    import io

    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def photos(tmp_path):
    """Encoded images of two sizes: two objects; a crowd and a difficult one; a crowd; none."""
    rng = np.random.default_rng(0)
    no, yes = np.zeros(2, bool), np.array([True, False])
    boxes = np.array([[2, 2, 20, 20], [10, 8, 40, 30]], np.float32)
    path = tmp_path / "photos.arrow"
    with split_writer(path, None) as writer:
        for number, (height, width) in enumerate([(40, 60), (64, 48), (40, 60), (64, 48)]):
            masks = np.zeros((2, height, width), bool)
            masks[0, 2:20, 2:20] = masks[1, 8:30, 10:40] = True
            objects = [
                Instances(boxes, np.array([3, 7]), masks, no, no),
                Instances(boxes, np.array([3, 7]), masks, yes, ~yes),
                Instances(boxes[:1], np.array([9]), masks[:1], yes[:1], no[:1]),
                Instances(boxes[:0], np.zeros(0, int), masks[:0], no[:0], no[:0]),
            ][number]
            image = png(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
            text = to_bytes(objects, height, width)
            writer.append([image], np.array([-1]), [str(number)], instances=[text])
    return Split(path)


def names(result):
    return [(row.metric, row.role) for row in result.measurements]


def value(result, metric, role="headline"):
    return next(r.value for r in result.measurements if (r.metric, r.role) == (metric, role))


@pytest.mark.slow
def test_detection_learns_rectangles(checkpoint_dir, boxes_dir):
    longer = replace(DETECTION, training=replace(TRAINING, steps=150))
    result = run_transfer(detection, checkpoint_dir, boxes_dir, longer, 0, "cpu")
    assert value(result, "ap50") > 0.7
    assert value(result, "ap50", "twin") > 0.7


def test_detection_measures_headline_and_twin_and_repeats_itself(checkpoint_dir, boxes_dir):
    short = replace(DETECTION, training=replace(TRAINING, steps=3, learning_rate=(0.05, 0.01)))
    result, again = (
        run_transfer(detection, checkpoint_dir, boxes_dir, short, 0, "cpu") for _ in range(2)
    )
    metrics = ("ap", "ap50", "ap75")
    assert names(result) == [(m, role) for role in ("headline", "twin") for m in metrics]
    assert result.to_json() == again.to_json()
    assert result.measurements[0].detail["learning_rate"] in (0.05, 0.01)
    assert 0 <= result.measurements[0].detail["val"] <= 1
    assert all(row.n == SIZES["test"] for row in result.measurements)


def test_the_error_over_test_images_is_that_of_the_headline(subject, tmp_path, monkeypatch):
    images, labels, boxes, masks = rectangles(9, 30)
    found = [found_of(boxes[[i]], labels[[i]] * (i < 20), np.ones(1), None) for i in range(30)]
    monkeypatch.setattr(runs, "predictions", lambda *_: iter(found))
    ids = [str(row) for row in range(30)]
    write_split(tmp_path / "test.arrow", images, labels, ids, boxes=boxes, mask=masks)
    task = runs.Task("detection", DETECTOR, TRAINING, None)
    one = Trained(torch.nn.Identity(), 0.05, 0.5)
    choice = runs.DetectionChoice(one, one, np.arange(2), task)
    rows = runs.measure(choice, subject, Split(tmp_path / "test.arrow"))
    assert [(row.role, row.standard_error is None) for row in rows] == [
        *[("headline", False)] * 3, *[("twin", True)] * 3,
    ]  # fmt: skip
    assert rows[3].value == rows[0].value
    assert 0.02 < rows[0].standard_error < 0.2


def test_the_same_seed_trains_the_same_bytes_whatever_the_global_seed(subject, train):
    task = runs.Task("detection", DETECTOR, replace(TRAINING, steps=2), None)
    objects = runs.Objects(train, has_masks=False)
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(runs.trained(subject, True, objects, 0.05, task).state_dict())
        assert torch.initial_seed() == seed
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    other = runs.trained(replace(subject, seed=1), True, objects, 0.05, task).state_dict()
    assert not torch.equal(
        other["roi_heads.box_head.fc6.weight"], states[0]["roi_heads.box_head.fc6.weight"]
    )


def test_gradients_reach_every_weight_of_the_backbone(subject, train):
    task = runs.Task("instance_masks", DETECTOR, TRAINING, 8)
    objects = runs.Objects(train, has_masks=True)
    network = detector.build(
        subject.backbone(is_pretrained=True), subject.info, DETECTOR, (32, 32), 2, mask_dim=8
    )
    images, targets = zip(
        *(runs._sample(objects, row, False, "cpu") for row in (0, 1)), strict=True
    )
    torch.manual_seed(0)
    losses = network(list(images), list(targets))
    assert set(losses) > {"loss_mask", "loss_classifier", "loss_box_reg", "loss_objectness"}
    sum(losses.values()).backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert without == []
    assert task.kinds == ("segm", "bbox")


def test_detection_trains_the_backbone_and_starts_at_the_checkpoint(subject, train):
    task = runs.Task("detection", DETECTOR, replace(TRAINING, steps=1), None)
    objects = runs.Objects(train, has_masks=False)
    before = subject.backbone(is_pretrained=True).state_dict()
    random = subject.backbone(is_pretrained=False).state_dict()
    still = runs.trained(subject, True, objects, 1e-30, task).backbone.backbone
    twin = runs.trained(subject, False, objects, 1e-30, task).backbone.backbone
    moved = runs.trained(subject, True, objects, 0.05, task).backbone.backbone
    for name in ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv2.weight"):
        assert torch.equal(still.state_dict()[name], before[name])
        assert torch.equal(twin.state_dict()[name], random[name])
        assert not torch.equal(moved.state_dict()[name], before[name])


TWO_RATES = replace(TRAINING, learning_rate=(0.1, 0.2))


def test_both_detectors_are_chosen_on_val_and_measured_by_their_own_weights(
    subject, train, boxes_dir, monkeypatch
):
    """Trained weights are right at a rate of 0.1 and random ones at 0.2; on train, the reverse."""

    def matched(network, _, split, *__):
        is_pretrained, rate = network
        return ((rate == 0.1) == is_pretrained) != (split is train)

    def precisions(is_right):
        return {"ap": float(is_right), "ap50": 0.5, "ap75": float(not is_right)}

    monkeypatch.setattr(
        runs, "trained", lambda _, is_pretrained, __, rate, ___: (is_pretrained, rate)
    )
    monkeypatch.setattr(runs, "matched", matched)
    monkeypatch.setattr(runs, "precisions", precisions)
    val, test = (Dataset.open(boxes_dir).split(name) for name in ("val", "test"))
    choice = runs.choose(subject, train, val, runs.Task("detection", DETECTOR, TWO_RATES, None))
    rows = [m for m in runs.measure(choice, subject, test) if m.metric == "ap"]
    assert [(m.role, m.detail["learning_rate"], m.value) for m in rows] == [
        ("headline", 0.1, 1.0), ("twin", 0.2, 1.0),
    ]  # fmt: skip


def test_all_segmenters_are_chosen_on_val_and_measured_by_their_own_weights(
    subject, train, boxes_dir, monkeypatch
):
    """As above; frozen and fine-tuned networks each have their own training."""
    params = replace(SEGMENTATION, frozen=TWO_RATES, finetune=replace(TWO_RATES, steps=41))

    def network(_, is_pretrained, __, *, is_frozen):
        return is_pretrained, params.frozen if is_frozen else params.finetune

    def trained(made, _, __, ___, rate, training):
        is_pretrained, expected = made
        assert training is expected
        return is_pretrained, rate

    def mean_iou(made, split):
        is_pretrained, rate = made
        return float(((rate == 0.1) == is_pretrained) != (split is train))

    monkeypatch.setattr(segmentation, "_network", network)
    monkeypatch.setattr(segmentation, "_trained", trained)
    monkeypatch.setattr(segmentation, "_areas", lambda made, *_: made)
    monkeypatch.setattr(segmentation, "_mean_iou", mean_iou)
    val, test = (Dataset.open(boxes_dir).split(name) for name in ("val", "test"))
    choice = segmentation.choose(subject, train, val, params)
    rows = segmentation.measure(choice, subject, train, val, test)
    assert [(m.metric, m.role, m.detail["learning_rate"], m.value) for m in rows] == [
        (metric, role, rate, 1.0)
        for metric in ("miou_frozen", "miou_finetuned")
        for role, rate in (("headline", 0.1), ("twin", 0.2))
    ]


def test_masks_are_measured_first_and_boxes_beside_them(checkpoint_dir, boxes_dir):
    short = replace(MASKS, training=replace(TRAINING, steps=2))
    result = run_transfer(instance_masks, checkpoint_dir, boxes_dir, short, 0, "cpu")
    expected = ["ap_mask", "ap50_mask", "ap75_mask", "ap", "ap50", "ap75"]
    assert [name for name, role in names(result) if role == "headline"] == expected
    assert [name for name, role in names(result) if role == "twin"] == expected


@pytest.mark.slow
def test_masks_of_rectangles_are_learned(checkpoint_dir, boxes_dir):
    longer = replace(MASKS, training=replace(TRAINING, steps=150))
    result = run_transfer(instance_masks, checkpoint_dir, boxes_dir, longer, 0, "cpu")
    assert value(result, "ap50_mask") > 0.6


def test_found_boxes_and_masks_are_in_the_images_own_pixels(subject, photos):
    network = detector.build(
        subject.backbone(is_pretrained=True), subject.info, DETECTOR, (32, 48), 2, mask_dim=8
    )
    network.roi_heads.score_thresh = 0.0  # untrained: keep whatever there is
    from pycocotools import mask as coco

    found = list(runs.predictions(network, subject, photos, np.array([3, 7]), 3))
    assert len(found) == len(photos)
    for row, annotations in enumerate(found):
        height, width = photos.image(row).shape[:2]
        assert annotations
        assert {a["category_id"] for a in annotations} <= {3, 7}
        for each in annotations:
            x, y, w, h = each["bbox"]
            assert min(x, y) >= -1e-3
            assert max(x + w - width, y + h - height) <= 1e-3
            assert coco.decode(each["segmentation"]).shape == (height, width)


def test_learning_leaves_out_crowds_and_images_without_objects(photos):
    objects = runs.Objects(photos, has_masks=True)
    assert objects.rows.tolist() == [0, 1]
    assert objects.classes.tolist() == [3, 7]
    _, target = runs._sample(objects, 1, False, "cpu")
    assert target["labels"].tolist() == [2]  # class 7 is the second, and 0 is the background
    assert target["masks"].shape == (1, 64, 48)


def test_a_mirrored_image_keeps_its_boxes_on_its_objects(train):
    objects = runs.Objects(train, has_masks=True)
    image, target = runs._sample(objects, 0, True, "cpu")
    x0, y0, x1, y1 = target["boxes"][0].int().tolist()
    mask = torch.zeros(32, 32, dtype=torch.uint8)
    mask[y0:y1, x0:x1] = 1
    assert torch.equal(target["masks"][0], mask)
    assert image[0][mask.bool()].min() > 0.9  # red
    plain_image, _ = runs._sample(objects, 0, False, "cpu")
    assert torch.equal(image.flip(2), plain_image)


@pytest.mark.parametrize(
    ("spec", "strides"),
    [
        ({"family": "resnet", "depth": "tiny", "stem": "small_stride2", "width": 4}, (2, 4, 8, 16)),
        ({"family": "resnet", "depth": "tiny", "stem": "imagenet", "width": 4}, (4, 8, 16, 32)),
        ({"family": "vit", "size": "micro", "patch_size": 4}, (1, 2, 4, 8)),
        ({"family": "alexnet"}, (2, 4, 8)),
    ],
)
def test_the_pyramid_fits_every_family(spec, strides):
    backbone = backbones.build(spec | {"image_size": 32})
    levels = pyramid.Pyramid(backbone, 32, 8)
    assert levels.scales == [1 / stride for stride in strides]
    found = levels(torch.zeros(2, 3, 64, 32))
    assert list(found) == [str(level) for level in range(len(strides))]
    shapes = [tuple(each.shape) for each in found.values()]
    assert shapes == [(2, 8, 64 // stride, 32 // stride) for stride in strides]
    assert backbone.training


def test_a_vit_can_be_trained_to_detect(train):
    spec = {"family": "vit", "size": "micro", "patch_size": 8, "image_size": 32}
    objects = runs.Objects(train, has_masks=False)
    info = type("Info", (), {"size": 32, "mean": (0.5,) * 3, "std": (0.2,) * 3, "backbone": spec})
    network = detector.build(backbones.build(spec), info, DETECTOR, (32, 32), 2, mask_dim=None)
    image, target = runs._sample(objects, 0, False, "cpu")
    sum(network([image] * 2, [target] * 2).values()).backward()
    assert network.backbone.backbone.vit.patch_embed.proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("patch", [None, 12, 14])
@pytest.mark.parametrize("side", [16, 32, 40, 64])
def test_regions_are_pooled_at_the_true_scale_of_each_level(subject, patch, side):
    """torchvision's guess is twice the truth at 40 px, and .75 of it for patches of 12."""
    info = subject.info
    if patch:
        spec = {"family": "vit", "size": "micro", "patch_size": patch, "image_size": 2 * patch}
        info = replace(info, backbone=spec, size=2 * patch)
    built = backbones.build(info.backbone)
    network = detector.build(built, info, DETECTOR, (side, side), 2, mask_dim=8)
    seen = []
    network.backbone.register_forward_hook(lambda _, inputs, found: seen.append((inputs, found)))
    target = {
        "boxes": torch.tensor([[2.0, 2, 12, 12]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, side, side, dtype=torch.uint8),
    }
    network([torch.rand(3, side, side)] * 2, [target] * 2)
    ((padded,), levels) = seen[-1]
    true = [level.shape[3] / padded.shape[3] for level in levels.values()]
    heads = network.roi_heads
    assert heads.box_roi_pool.scales == heads.mask_roi_pool.scales == pytest.approx(true)
    assert network.training


@pytest.mark.parametrize(
    "spec",
    [
        {"family": "alexnet", "image_size": 224},
        {"family": "resnet", "depth": "tiny", "stem": "imagenet", "width": 4, "image_size": 16},
        {"family": "resnet", "depth": "tiny", "stem": "small_stride2", "width": 4, "image_size": 8},
    ],
)
def test_a_box_is_pooled_from_its_place_also_on_networks_for_other_sizes(subject, spec):
    """Maps that hold their own column's place in pixels give back where a box lies.

    Without padding at the border AlexNet's maps are smaller than the image over the stride; two
    stages of a network for 16 px have maps of one position there, and of different ones here.
    """
    info = replace(subject.info, backbone=spec, size=spec["image_size"])
    built = backbones.build(spec)
    network = detector.build(built, info, DETECTOR, (480, 640), 2, mask_dim=None).eval()
    with torch.no_grad():
        levels = network.backbone(torch.zeros(1, 3, 480, 640))
    strides = [round(1 / scale) for scale in network.backbone.scales]
    assert strides == [strides[0] * 2**level for level in range(len(levels))]
    pool = network.roi_heads.box_roi_pool
    places = {
        name: ((torch.arange(level.shape[3]) + 0.5) * stride).expand(1, 1, *level.shape[2:])
        for (name, level), stride in zip(levels.items(), strides, strict=True)
    }
    for x0, x1 in ((40.0, 60.0), (200.0, 424.0), (40.0, 560.0)):
        across = pool(places, [torch.tensor([[x0, x0, x1, min(x1, 460.0)]])], [(480, 640)])
        columns = across[0, 0].mean(dim=0)
        cell = (x1 - x0) / len(columns)
        expected = x0 + cell * (torch.arange(len(columns)) + 0.5)
        assert (columns - expected).abs().max() <= 0.5 * strides[-1] + 1


def test_a_single_patch_can_be_trained_to_detect(subject):
    spec = {"family": "vit", "size": "micro", "patch_size": 32, "image_size": 32}
    info = replace(subject.info, backbone=spec, size=32)
    network = detector.build(backbones.build(spec), info, DETECTOR, (32, 32), 2, mask_dim=None)
    target = {"boxes": torch.tensor([[2.0, 2, 12, 12]]), "labels": torch.tensor([1])}
    losses = network([torch.rand(3, 32, 32)] * 2, [target] * 2)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_momentum_of_one_is_refused():
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\)"):
        replace(TRAINING, momentum=1.0)


def test_segmentation_takes_patches_that_do_not_divide_32(subject, photos):
    spec = {"family": "vit", "size": "micro", "patch_size": 14, "image_size": 28}
    vit = replace(subject.info, backbone=spec, size=28)
    sides = SEGMENTATION.sides(photos, vit)
    built = backbones.build(spec)
    network = segmenter.Segmenter(built, {"block4": 96}, 3, is_frozen=True)
    other = replace(subject, info=vit)
    found = list(segmentation.predictions(network, other, photos, sides))
    assert [each.shape for each in found] == [(40, 60), (64, 48), (40, 60), (64, 48)]


def test_masks_that_only_test_lacks_are_one_line(subject, tmp_path):
    """COCO's loader drops the masks of a split of which one object has none."""
    image, no = np.zeros((40, 60, 3), np.uint8), np.zeros(1, bool)
    boxes = Instances(np.array([[2, 2, 9, 9]], np.float32), np.array([1]), None, no, no)
    path = tmp_path / "test.arrow"
    with split_writer(path, None) as writer:
        text = to_bytes(boxes, 40, 60)
        writer.append([png(image)], np.array([-1]), ["a"], instances=[text])
    task = runs.Task("instance_masks", DETECTOR, TRAINING, 8)
    with pytest.raises(UserError, match=r"test.arrow: the objects have no masks"):
        runs.matched(torch.nn.Identity(), subject, Split(path), np.arange(2), task)


def test_anchors_run_from_the_first_fraction_to_the_last():
    assert detector.anchor_sizes(DETECTOR, 100, 3) == pytest.approx([20, 40, 80])
    assert detector.anchor_sizes(DETECTOR, 32, 1) == pytest.approx([6.4])


def test_raw_images_keep_their_size_and_encoded_ones_are_resized(train, photos):
    assert replace(DETECTOR, short_side=480, long_side=800).sides(train) == (32, 32)
    assert DETECTOR.sides(photos) == (32, 48)


def test_segmentation_learns_rectangles_frozen_and_finetuned(checkpoint_dir, boxes_dir):
    result = run_transfer(segmentation, checkpoint_dir, boxes_dir, SEGMENTATION, 0, "cpu")
    assert names(result) == [
        ("miou_frozen", "headline"), ("miou_frozen", "twin"),
        ("miou_finetuned", "headline"), ("miou_finetuned", "twin"),
    ]  # fmt: skip
    assert value(result, "miou_frozen") > 0.7
    assert value(result, "miou_finetuned") > 0.8


def test_segmentation_repeats_itself(checkpoint_dir, boxes_dir):
    few = replace(TRAINING, steps=3, learning_rate=(0.01, 0.05))
    short = replace(SEGMENTATION, frozen=few, finetune=few)
    result, again = (
        run_transfer(segmentation, checkpoint_dir, boxes_dir, short, 0, "cpu") for _ in range(2)
    )
    assert result.to_json() == again.to_json()


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_frozen_backbone_keeps_its_bytes_and_a_finetuned_one_does_not(subject, train, is_frozen):
    before = subject.backbone(is_pretrained=True).state_dict()
    network = segmentation._network(subject, True, 3, is_frozen=is_frozen)
    heads = [head[1].weight.clone() for head in network.heads]
    few = replace(TRAINING, steps=3)
    segmentation._trained(network, subject, train, SIDES, 0.05, few)
    after = network.backbone.state_dict()
    same = [torch.equal(before[name], after[name]) for name in before]
    assert all(same) if is_frozen else not any(same[:2])
    assert not any(torch.equal(h, n[1].weight) for h, n in zip(heads, network.heads, strict=True))


def test_the_head_is_one_linear_layer_on_the_enlarged_maps_side_by_side(subject):
    network = segmentation._network(subject, True, 3, is_frozen=True).eval()
    for head in network.heads:
        torch.nn.init.normal_(head[1].weight)
        torch.nn.init.normal_(head[1].bias)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        maps = network.backbone.maps(images)
        wide = torch.cat(
            [
                torch.nn.functional.interpolate(head[0](maps[name]), (32, 32), mode="bilinear")
                for name, head in zip(network.names, network.heads, strict=True)
            ],
            dim=1,
        )
        weight = torch.cat([head[1].weight for head in network.heads], dim=1)
        bias = torch.stack([head[1].bias for head in network.heads]).sum(0)
        expected = torch.nn.functional.conv2d(wide, weight, bias)
        assert torch.allclose(network(images), expected, atol=1e-4)


def test_photographs_are_segmented_at_their_own_size(subject, photos):
    network = segmentation._network(subject, True, 11, is_frozen=True)
    found = list(segmentation.predictions(network, subject, photos, SIDES))
    assert [each.shape for each in found] == [(40, 60), (64, 48), (40, 60), (64, 48)]
    assert segmenter.Sides(320, 32).of(480, 640) == (320, 416)
    assert segmenter.Sides(320, 14 * 16).of(480, 640) == (224, 448)
    image, truth = segmenter.crop_of(photos, 0, SIDES, seeding.generator(0, "x"), 0.5)
    assert image.shape == (32, 32, 3)
    assert truth.shape == (32, 32)


def test_a_crop_takes_the_classes_along(train):
    draw = seeding.generator(0, "x")
    for _ in range(4):
        image, truth = segmenter.crop_of(train, 0, SIDES, draw, 0.5)
        assert np.array_equal(image[..., 0] > 200, truth == 1)


def test_the_loss_looks_at_said_pixels_alone():
    logits = torch.randn(1, 3, 1, 2)
    half = segmenter.loss_of(logits, torch.tensor([[[1, 255]]]))
    assert half.item() == pytest.approx(-logits[0, :, 0, 0].log_softmax(0)[1].item(), abs=1e-6)
    assert segmenter.loss_of(logits, torch.full((1, 1, 2), 255)).item() == 0


def test_the_rate_warms_up_and_drops():
    training = replace(TRAINING, steps=100, warmup_steps=3, drops=(0.5, 0.9))
    shares = [training.share(step) for step in (0, 1, 2, 3, 49, 50, 90)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.1, 0.01])


def test_val_chooses_the_rate_and_one_rate_leaves_it_unread():
    networks = {rate: torch.nn.Linear(1, 1) for rate in (0.1, 0.2, 0.3, 0.4)}
    values = {networks[0.1]: 0.5, networks[0.3]: 0.7, networks[0.4]: 0.7}

    def train(rate):
        return None if rate == 0.2 else networks[rate]  # 0.2 diverges

    chosen = choose_rate((0.1, 0.2, 0.3, 0.4), train, values.__getitem__, "x")
    assert (chosen.learning_rate, chosen.val) == (0.3, 0.7)
    assert chosen.network is networks[0.3]
    alone = choose_rate((0.1,), train, {}.__getitem__, "x")
    assert (alone.learning_rate, alone.val) == (0.1, None)
    with pytest.raises(UserError, match="not finite at any learning rate"):
        choose_rate((0.2,), train, {}.__getitem__, "x")


def test_a_loss_that_is_not_finite_ends_the_run():
    network = torch.nn.Linear(1, 1)
    order = torch.Generator().manual_seed(0)
    huge = replace(TRAINING, learning_rate=(1e30,), warmup_steps=0)

    def loss_of(rows):
        return network(torch.ones(len(rows), 1)).square().mean()

    assert learn(network, loss_of, 8, 1e30, huge, order) is None
    fresh, once = torch.nn.Linear(1, 1), replace(huge, steps=1)
    assert learn(fresh, lambda _: 1e10 * fresh.weight.sum(), 8, 1e30, once, order) is None


def covered(folder, crowd):
    """Write two images that one object covers, a crowd (void) or none at all (background)."""
    path, number = folder / "covered.arrow", int(crowd)
    whole = Instances(
        np.array([[0, 0, 32, 32]], np.float32)[:number], np.zeros(number, int),
        np.ones((number, 32, 32), bool), np.ones(number, bool), np.zeros(number, bool),
    )  # fmt: skip
    pixels, texts = np.zeros((2, 32, 32, 3), np.uint8), [to_bytes(whole, 32, 32)] * 2
    write_split(path, pixels, np.full(2, -1), ["a", "b"], instances=texts)
    return Split(path)


@pytest.mark.parametrize("crowd", [True, False], ids=["void", "background"])
def test_a_train_split_without_classes_is_refused(subject, tmp_path, crowd):
    train = covered(tmp_path, crowd)
    with pytest.raises(UserError, match=r"covered.arrow: its pixels are background or void alone"):
        segmentation.choose(subject, train, train, SEGMENTATION)


def test_a_split_of_void_alone_is_refused(subject, train, tmp_path, monkeypatch):
    void, said = covered(tmp_path, True), r"covered.arrow: its truth says nothing of any pixel"
    monkeypatch.setattr(segmentation, "_trained", lambda network, *_: network)
    two = replace(SEGMENTATION, frozen=replace(TRAINING, learning_rate=(0.1, 0.2)))
    with pytest.raises(UserError, match=said):
        segmentation.choose(subject, train, void, two)
    choice = segmentation.choose(subject, train, void, SEGMENTATION)
    with pytest.raises(UserError, match=said):
        segmentation.measure(choice, subject, train, void, void)


def test_sets_without_boxes_or_masks_are_refused(checkpoint_dir, dataset_dir, tmp_path):
    for protocol, params in ((detection, DETECTION), (segmentation, SEGMENTATION)):
        with pytest.raises(UserError, match=r"train.arrow: names no objects; take a data set"):
            run_transfer(protocol, checkpoint_dir, dataset_dir, params, 0, "cpu")
    images, labels, boxes, _ = rectangles(0, 2)
    texts = [
        to_bytes(plain(box[None], labels[row : row + 1], None), 32, 32)
        for row, box in enumerate(boxes)
    ]
    path = tmp_path / "maskless.arrow"
    write_split(path, images, labels, ["a", "b"], instances=texts)
    with pytest.raises(UserError, match="the objects have no masks"):
        runs.Objects(Split(path), has_masks=True)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Training, TRAINING, {"steps": 0}),
        (Training, TRAINING, {"learning_rate": ()}),
        (Training, TRAINING, {"learning_rate": (0.0,)}),
        (Training, TRAINING, {"drops": (1.5,)}),
        (detector.Detector, DETECTOR, {"anchors": (0.5, 0.2)}),
        (detector.Detector, DETECTOR, {"long_side": 8}),
        (detector.Detector, DETECTOR, {"fpn_dim": 0}),
        (instance_masks.Params, MASKS, {"mask_dim": 0}),
        (segmentation.Params, SEGMENTATION, {"short_side": 0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, good, bad):
    with pytest.raises(ValueError, match=r"."):
        replace(good, **bad)
