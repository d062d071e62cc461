"""`coco`: objects as pycocotools reads them, from COCO's form of file."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sslbench.core.errors import UserError
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset
from sslbench.data.store.instances import instances_of

BLOCK = {
    "kind": "coco", "train": {"images": "train2017", "annotations": "train.json"}, "val": None,
    "test": {"images": "val2017", "annotations": "test.json"}, "seed": 0, "limit": None,
    "val_fraction": 0.25, "on_bad_image": "error",
}  # fmt: skip
CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 7, "name": "b"}]
WIDTH, HEIGHT = 24, 16
TRIANGLE = [[2.0, 2.0, 14.5, 2.0, 2.0, 12.5]]
TWO_PARTS = [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0], [10, 8, 20, 8, 20, 15, 10, 15]]
CROWD = {"size": [HEIGHT, WIDTH], "counts": [40, 100, WIDTH * HEIGHT - 140]}


def thing(image, category=1, box=(2, 2, 12.5, 10.5), segmentation=TRIANGLE, **more):
    return {
        "id": image * 100 + category, "image_id": image, "category_id": category, "bbox": list(box),
        "segmentation": segmentation, "iscrowd": 0, "area": 60.0,
    } | more  # fmt: skip


def write(root, split, images, objects):
    folder = root / ("train2017" if split == "train" else "val2017")
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in images:
        pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:012d}.jpg")
        name = f"{number:012d}.jpg"
        entries.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
    content = {"images": entries, "annotations": objects, "categories": CATEGORIES}
    (root / f"{split}.json").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    objects = [thing(1), thing(1, 90, segmentation=TWO_PARTS), thing(2, 7)]
    objects += [thing(3, 1, (0, 0, 24, 16), CROWD, iscrowd=1)]
    write(root, "train", [1, 2, 3, 4], objects)
    write(root, "test", [11, 12], [thing(11, 90)])
    return root


def run(root, **change):
    out = root.parent / "out"
    return prepare("x", BLOCK | {"root": str(root)} | change, out), Dataset.open(out)


def edit(root, change, split="train"):
    """Change one annotation file in place."""
    path = root / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def objects_by_image(data, split):
    part = data.split(split)
    return {int(name[-16:-4]): instances_of(part, row) for row, name in enumerate(part.ids)}


def all_of_train(data):
    return objects_by_image(data, "train") | objects_by_image(data, "val")


def test_images_objects_and_classes(root):
    info, data = run(root)
    assert info["counts"] == {"train": 3, "val": 1, "test": 2}
    assert info["classes"] == ["person", "b", "toothbrush"], "in order of their ids"
    assert info["metric"] == "map_area"
    found = all_of_train(data)
    assert found[1].boxes.tolist() == [[2, 2, 14.5, 12.5]] * 2
    assert found[1].labels.tolist() == [0, 2]
    assert found[2].labels.tolist() == [1]
    assert found[3].is_crowd.tolist() == [True]
    assert found[4].boxes.shape == (0, 4)
    assert found[4].masks.shape == (0, HEIGHT, WIDTH)
    test = data.split("test")
    targets = dict(zip(test.ids, test.column("targets").tolist(), strict=True))
    assert targets == {"val2017/000000000011.jpg": [0, 0, 1], "val2017/000000000012.jpg": [0, 0, 0]}
    assert (test.labels == -1).all()
    assert test.encoded(0) == (root / test.ids[0]).read_bytes()
    data.verify()


def test_masks_and_boxes_are_those_of_pycocotools(root):
    from pycocotools.coco import COCO

    _, data = run(root)
    theirs = COCO(root / "train.json")
    for number, found in all_of_train(data).items():
        said = theirs.loadAnns(theirs.getAnnIds(number))
        assert len(said) == len(found.labels)
        for mask, box, entry in zip(found.masks, found.boxes, said, strict=True):
            np.testing.assert_array_equal(mask, theirs.annToMask(entry))
            np.testing.assert_allclose([*box[:2], *(box[2:] - box[:2])], entry["bbox"])


def test_compressed_run_lengths(root):
    mask = np.asfortranarray(np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.4, np.uint8)
    coded = coco.encode(mask)
    coded["counts"] = coded["counts"].decode()
    edit(root, lambda content: content["annotations"][2].update(segmentation=coded))
    found = all_of_train(run(root)[1])
    np.testing.assert_array_equal(found[2].masks[0], mask)


def test_val_is_held_out_by_hash_or_given(root):
    info, _ = run(root)
    assert run(root)[0] == info
    assert "val out of train by hash rank" in info["split_rule"]
    assert len({run(root, seed=seed)[1].split("val").ids[0] for seed in range(8)}) > 1
    write(root, "val", [21, 22], [])
    files = {"images": "val2017", "annotations": "val.json"}
    info, _ = run(root, val=files, val_fraction=0.0)
    assert info["counts"] == {"train": 4, "val": 2, "test": 2}
    assert info["split_rule"] == "by annotation file"


def test_an_image_of_test_is_not_trained_on(root):
    files = {"images": "train2017", "annotations": "test.json"}
    edit(root, lambda content: content["images"][0].update(file_name="000000000001.jpg"), "test")
    edit(root, lambda content: content["images"][1].update(file_name="000000000002.jpg"), "test")
    info, data = run(root, test=files)
    held = set(data.split("test").ids)
    assert held == {"train2017/000000000001.jpg", "train2017/000000000002.jpg"}
    assert not held & {*data.split("train").ids, *data.split("val").ids}
    assert info["duplicates"]["dropped"]["train"] + info["duplicates"]["dropped"]["val"] == 2


def test_limit(root):
    info, _ = run(root, limit=1)
    assert info["counts"] == {"train": 1, "val": 1, "test": 1}


def test_boxes_are_clipped_and_counted(root):
    def change(content):
        content["annotations"] += [
            thing(4, 1, (-3, 4, 40, 5)), thing(4, 1, (30, 4, 5, 5)), thing(4, 1, (3, 3, 0, 5)),
            thing(4, 7, (20, 2, 4.01, 5)),
        ]  # fmt: skip

    edit(root, change)
    info, data = run(root)
    found = all_of_train(data)[4]
    np.testing.assert_allclose(found.boxes, [[0, 4, 24, 9], [20, 2, 24, 7]])
    assert found.labels.tolist() == [0, 1]
    assert len(found.masks) == 2
    reasons = [e["reason"] for e in info["skipped"] if e["id"] in ("train", "val")]
    assert any("1 of" in r and "by up to 13.0 pixels, and were clipped" in r for r in reasons)
    assert any("2 of" in r and "objects dropped" in r for r in reasons)


def test_without_a_mask_for_each_object_there_are_none(root):
    edit(root, lambda content: content["annotations"][0].pop("segmentation"))
    info, data = run(root)
    assert all(found.masks is None for found in all_of_train(data).values())
    assert {"id": "train", "reason": "no masks kept: 1 objects have none"} in info["skipped"]
    assert objects_by_image(data, "test")[11].masks.shape == (1, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.pop("annotations"), r"no 'annotations'"),
        (lambda c: c.pop("categories"), r"no 'categories'"),
        (lambda c: c["images"][0].pop("width"), r"no 'width'"),
        (lambda c: c["images"][0].update(height="16"), "not whole numbers"),
        (lambda c: c["images"][0].update(file_name="../x.jpg"), "leads out of"),
        (lambda c: c["annotations"][0].update(image_id=99), r"no 99|image 99"),
        (lambda c: c["annotations"][0].update(category_id=5), "object 101 .*unknown category 5"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "object 101 .*not x, y, width"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, float("nan")]), "not x, y, width"),
        (lambda c: c["annotations"][0].update(bbox=None), "not x, y, width"),
    ],
)
def test_damaged_annotations(root, change, says):
    edit(root, change)
    with pytest.raises(UserError, match=rf"train\.json: damaged annotations.*({says})"):
        run(root, on_bad_image="skip")


@pytest.mark.parametrize("text", ["{", "", "\x00", "[" * 100_000, "[1]"])
def test_broken_json(root, text):
    (root / "train.json").write_text(text)
    with pytest.raises(UserError, match=r"train\.json: (not JSON|damaged)"):
        run(root)


def test_missing_annotations(root):
    (root / "test.json").unlink()
    with pytest.raises(UserError, match=r"test\.json: annotations cannot be read"):
        run(root)


def test_categories_that_differ(root):
    edit(root, lambda content: content["categories"].pop(), "test")
    with pytest.raises(UserError, match="categories are not those of train"):
        run(root)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["images"][0].update(width=25), "where its annotation says 25 x 16"),
        (lambda c: c["images"][0].update(file_name="gone.jpg"), r"gone\.jpg: cannot be read"),
        (lambda c: c["annotations"][0].update(segmentation=CROWD | {"size": [9, 9]}), "size"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": [1]}), "mask of object 101"),
        (
            lambda c: c["annotations"][0].update(segmentation=CROWD | {"counts": [3, 4]}),
            "mask of object 101",
        ),
        (lambda c: c["annotations"][0].update(segmentation=[1.0, 2.0]), "mask of object 101"),
        (lambda c: c["annotations"][0].update(segmentation="text"), "mask of object 101"),
    ],
)
def test_bad_images_stop_or_are_listed(root, change, says):
    edit(root, change)
    with pytest.raises(UserError, match=says):
        run(root)
    info, _ = run(root, on_bad_image="skip")
    assert info["counts"]["train"] + info["counts"]["val"] == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"val_fraction": 0.0}, "name a val split"),
        ({"val": BLOCK["test"]}, "and not both"),
        ({"train": {"images": "x"}}, "missing key 'annotations'"),
        ({"test": None}, "expected a mapping"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_wrong_blocks(root, change, says):
    with pytest.raises(UserError, match=says):
        run(root, **change)


def test_memory_does_not_hold_the_masks(tmp_path):
    """Each image's masks take 1.8 MB unpacked; 40 more images may not add 40 times that."""
    peaks = []
    for count in (10, 50):
        root = tmp_path / str(count)
        root.mkdir()
        (root / "train2017").mkdir()
        (root / "val2017").mkdir()
        for split, numbers in (("train", range(1, count)), ("test", [999])):
            folder = root / ("train2017" if split == "train" else "val2017")
            images, objects = [], []
            for n in numbers:
                Image.new("RGB", (300, 200), (n % 256, 0, 0)).save(folder / f"{n}.png")
                images.append({"id": n, "file_name": f"{n}.png", "width": 300, "height": 200})
                objects += [thing(n) for _ in range(30)]
            content = {"images": images, "annotations": objects, "categories": CATEGORIES}
            (root / f"{split}.json").write_text(json.dumps(content))
        tracemalloc.start()
        run(root)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 40 * 300 * 200 * 30 / 4, peaks
