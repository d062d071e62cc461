"""The objects of an image in the store: what is written is what is read, and damage is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from sslbench.core.errors import UserError
from sslbench.data import store
from sslbench.data.prepare import prepare
from sslbench.data.store.instances import Instances, instances_of, plain, to_bytes


def some(seed, count=3, height=12, width=17):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 5, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.5, 7, (count, 2))], 1).astype(np.float32)
    masks = rng.random((count, height, width)) < rng.random((count, 1, 1))
    flags = rng.random((2, count)) < 0.5
    return Instances(boxes.round(2), rng.integers(0, 9, count), masks, *flags)


def written(tmp_path, texts):
    images = np.zeros((len(texts), 8, 8, 3), np.uint8)
    ids = [f"image {i}" for i in range(len(texts))]
    labels = np.full(len(texts), -1)
    store.write_split(tmp_path / "a.arrow", images, labels, ids, instances=texts)
    return store.Split(tmp_path / "a.arrow")


def assert_same(found, expected):
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-5)
    assert found.boxes.dtype == np.float32
    assert found.labels.dtype == np.int64
    for name in ("labels", "masks", "is_crowd", "is_difficult"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_objects_come_back(tmp_path):
    rows = [some(seed) for seed in range(5)]
    split = written(tmp_path, [to_bytes(row, 12, 17) for row in rows])
    for row, expected in enumerate(rows):
        assert_same(instances_of(split, row), expected)
    assert split.content_hash() == store.Split(split.path).content_hash()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 30), st.integers(1, 30))
def test_masks_of_any_size_come_back(tmp_path_factory, seed, count, height, width):
    made = some(seed, count, height, width)
    split = written(tmp_path_factory.mktemp("x"), [to_bytes(made, height, width)])
    assert_same(instances_of(split, 0), made)


@pytest.mark.parametrize("masks", [None, np.zeros((0, 4, 6), bool)])
def test_an_image_without_objects(tmp_path, masks):
    empty = plain(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), masks)
    found = instances_of(written(tmp_path, [to_bytes(empty, 4, 6)]), 0)
    assert found.boxes.shape == (0, 4)
    assert found.labels.shape == (0,)
    assert found.masks is None if masks is None else found.masks.shape == (0, 4, 6)


def test_the_text_is_json_with_cocos_run_lengths():
    made = some(7)
    content = json.loads(to_bytes(made, 12, 17))
    assert content["size"] == [12, 17]
    for text, mask in zip(content["masks"], made.masks, strict=True):
        np.testing.assert_array_equal(coco.decode({"size": [12, 17], "counts": text}), mask)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"\xff", b'{"size": [4, 6]}',
        b'{"boxes": [[0, 0, 1]], "labels": [1], "is_crowd": [0], "is_difficult": [0],'
        b' "size": [4, 6], "masks": null}',
        b'{"boxes": [[0, 0, 1, 1]], "labels": [1, 2], "is_crowd": [0], "is_difficult": [0],'
        b' "size": [4, 6], "masks": null}',
        b'{"boxes": [[2, 0, 1, 1]], "labels": [1], "is_crowd": [0], "is_difficult": [0],'
        b' "size": [4, 6], "masks": null}',
        b'{"boxes": [[0, 0, 1, 1]], "labels": [1], "is_crowd": [0], "is_difficult": [0],'
        b' "size": [4, 6], "masks": [3]}',
    ],
)  # fmt: skip
def test_damaged_text_names_the_row(tmp_path, text):
    split = written(tmp_path, [to_bytes(some(0), 12, 17), text])
    with pytest.raises(UserError, match=r"a\.arrow, row 1: damaged instances"):
        instances_of(split, 1)


@pytest.mark.parametrize(
    ("boxes", "labels", "says"),
    [
        (np.zeros((1, 4)), np.zeros(1), "without area"),
        (np.array([[0, 0, 1, 1.0]]), np.zeros(2), "lengths"),
        (np.zeros((0, 5)), np.zeros(0), "lengths"),
    ],
)
def test_impossible_objects(boxes, labels, says):
    with pytest.raises(ValueError, match=says):
        plain(boxes, labels, None)


def test_a_scene_is_one_object_and_digits_name_none(tmp_path):
    block = {"kind": "scenes", "seed": 0, "image_size": 32, "train": 10, "val": 10, "test": 10}
    prepare("scenes", block, tmp_path)
    split = store.Dataset.open(tmp_path).split("val")
    found = instances_of(split, 4)
    np.testing.assert_array_equal(found.boxes, split.column("boxes")[4:5])
    np.testing.assert_array_equal(found.masks, split.column("mask")[4:5].astype(bool))
    assert found.labels.tolist() == [4]
    images = np.zeros((1, 8, 8, 3), np.uint8)
    store.write_split(tmp_path / "b.arrow", images, np.zeros(1), ["x"])
    with pytest.raises(UserError, match="names no objects"):
        instances_of(store.Split(tmp_path / "b.arrow"), 0)
