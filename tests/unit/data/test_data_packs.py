"""Real images, where there are any: SSLBENCH_PACKS names the folder of unpacked packs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset
from sslbench.data.store.instances import instances_of

PACKS = os.environ.get("SSLBENCH_PACKS", "")
BLOCK = {
    "kind": "folder", "labelled": True, "size": None, "seed": 0, "limit_per_class": 20,
    "val_fraction": 0.1, "test_fraction": 0.0, "on_bad_image": "error",
}  # fmt: skip


def root_of(name):
    root = Path(PACKS) / name
    if not PACKS or not root.is_dir():
        pytest.skip("set SSLBENCH_PACKS to the folder that holds " + name)
    return root


def run(name, out, **change):
    return prepare(name, BLOCK | {"root": str(root_of(name))} | change, out), Dataset.open(out)


@pytest.mark.slow
def test_cifar10_jpeg(tmp_path):
    info, data = run("cifar10_jpeg", tmp_path, size=32)
    assert info["counts"] == {"train": 200, "val": 200, "test": 200}
    assert data.split("train").pixels.shape == (200, 32, 32, 3)


def test_imagenette_mini(tmp_path):
    info, data = run("imagenette_mini", tmp_path)
    assert info["image_size"] is None
    assert "test is the val folder" in info["split_rule"]
    assert data.split("test").decode(np.arange(4), 96).shape == (4, 96, 96, 3)
    data.verify()


def test_omniglot_mini(tmp_path):
    info, data = run("omniglot_mini", tmp_path, size=64, limit_per_class=2)
    assert len(info["classes"]) == 184
    assert data.split("train").pixels.max() == 255
    assert info["mean"][0] > 0.8


PHOTOGRAPHS = "VOCdevkit/VOC2007/JPEGImages"
SHARED = {"seed": 0, "limit": None, "val_fraction": 0.2, "on_bad_image": "error"}


def coco_mini_as_coco(out):
    root, files = root_of("coco_mini"), {}
    for split, name in (("train", "trainval"), ("test", "test")):
        annotations = f"annotations/instances_{name}.json"
        files[split] = {"images": PHOTOGRAPHS, "annotations": annotations}
    block = {"kind": "coco", "root": str(root), "val": None} | files | SHARED
    return prepare("coco", block, out / "coco"), Dataset.open(out / "coco")


def coco_mini_as_voc(out):
    root = root_of("coco_mini")
    lines = (root / "annotations/categories.txt").read_text().splitlines()
    block = {
        "kind": "voc", "root": str(root), "lists": "Segmentation", "train": ["2007/trainval"],
        "val": [], "test": ["2007/test"], "classes": [line.split("\t")[2] for line in lines],
    } | SHARED  # fmt: skip
    return prepare("voc", block, out / "voc"), Dataset.open(out / "voc")


def objects(data):
    """Return stem -> objects of all splits."""
    found = {}
    for name in data.info.counts:
        split = data.split(name)
        found |= {Path(i).stem: instances_of(split, row) for row, i in enumerate(split.ids)}
    return found


def test_coco_mini_says_the_same_in_both_layouts(tmp_path):
    made = [coco_mini_as_coco(tmp_path), coco_mini_as_voc(tmp_path)]
    for info, data in made:
        assert info["counts"] == {"train": 22, "val": 5, "test": 33}
        assert len(info["classes"]) == 80
        data.verify()
    coco, voc = (objects(data) for _, data in made)
    assert set(coco) == set(voc)
    assert sum(len(found.labels) for found in coco.values()) == 443
    for stem in coco:
        np.testing.assert_array_equal(coco[stem].labels, voc[stem].labels)
        np.testing.assert_array_equal(coco[stem].is_crowd, voc[stem].is_difficult)
        np.testing.assert_allclose(coco[stem].boxes, voc[stem].boxes, atol=1.01)


def test_coco_mini_masks_are_those_of_pycocotools(tmp_path):
    from pycocotools.coco import COCO

    found = objects(coco_mini_as_coco(tmp_path)[1])
    for name in ("trainval", "test"):
        theirs = COCO(root_of("coco_mini") / f"annotations/instances_{name}.json")
        for number, image in theirs.imgs.items():
            said = theirs.loadAnns(theirs.getAnnIds(number))
            masks = found[Path(image["file_name"]).stem].masks
            for mask, entry in zip(masks, said, strict=True):
                np.testing.assert_array_equal(mask, theirs.annToMask(entry))
