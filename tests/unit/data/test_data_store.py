"""The Arrow store: what is written is what is read, by view, and damage is refused."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data import store
from sslbench.data.prepare import prepare
from sslbench.data.store import decoding

SCENES = {"kind": "scenes", "seed": 0, "image_size": 32, "train": 300, "val": 20, "test": 30}


def png(width, height, colour=(255, 0, 0)):
    sink = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def raw():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)


def test_raw_split_round_trips_with_columns(tmp_path, raw):
    labels, ids = np.arange(600) % 7, [f"a/{i}" for i in range(600)]
    boxes = np.arange(2400, dtype=np.float32).reshape(600, 4)
    mask = raw[..., 0] // 128
    digest = store.write_split(
        tmp_path / "train.arrow", raw, labels, ids, boxes=boxes, mask=mask, track=labels * 2
    )
    split = store.Split(tmp_path / "train.arrow")
    assert len(split) == 600
    assert split.ids == ids
    assert split.content_hash() == digest
    for found, expected in (
        (split.pixels, raw),
        (split.labels, labels),
        (split.column("boxes"), boxes),
        (split.column("mask"), mask),
        (split.column("track"), labels * 2),
    ):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert not list(tmp_path.glob(".*")), "no spool is left"


def test_pixels_are_a_view_of_the_file(tmp_path, raw):
    store.write_split(tmp_path / "a.arrow", raw, np.zeros(600), ["x"] * 600)
    before = pa.total_allocated_bytes()
    pixels = store.Split(tmp_path / "a.arrow").pixels
    assert pa.total_allocated_bytes() - before < 4096
    assert pixels.base is not None
    assert not pixels.flags.writeable
    assert pixels.flags.c_contiguous


def test_content_hash_ignores_chunking_and_sees_order(tmp_path, raw):
    labels, ids = np.arange(600), [str(i) for i in range(600)]
    whole = store.write_split(tmp_path / "a.arrow", raw, labels, ids)
    with store.split_writer(tmp_path / "b.arrow", (8, 8, 3)) as writer:
        for start in (0, 7, 100):
            stop = {0: 7, 7: 100, 100: 600}[start]
            writer.append(raw[start:stop], labels[start:stop], ids[start:stop])
    assert writer.sha256 == whole
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()
    assert store.write_split(tmp_path / "c.arrow", raw[::-1], labels, ids) != whole


def test_encoded_split_keeps_bytes_and_decodes_a_centre_crop(tmp_path):
    left, right = Image.new("RGB", (20, 10), "red"), Image.new("RGB", (10, 10), "blue")
    left.paste(right, (5, 0))
    sink = io.BytesIO()
    left.save(sink, "PNG")
    files = [sink.getvalue(), png(7, 30)]
    store.write_split(tmp_path / "a.arrow", files, np.array([1, 0]), ["a", "b"])
    split = store.Split(tmp_path / "a.arrow")
    assert split.is_encoded
    assert [split.encoded(i) for i in range(2)] == files
    made = split.decode([1, 0], 10)
    assert made.shape == (2, 10, 10, 3)
    assert (made[0] == (255, 0, 0)).all()
    assert (made[1] == (0, 0, 255)).all()
    with pytest.raises(UserError, match="encoded"):
        _ = split.pixels


def test_raw_split_decodes_at_its_own_and_another_size(tmp_path, raw):
    store.write_split(tmp_path / "a.arrow", raw, np.zeros(600), ["x"] * 600)
    split = store.Split(tmp_path / "a.arrow")
    np.testing.assert_array_equal(split.decode([5, 3], 8), raw[[5, 3]])
    assert split.decode(np.array([1]), 16).shape == (1, 16, 16, 3)
    assert split.decode([], 16).shape == (0, 16, 16, 3)


@pytest.mark.parametrize("images", [np.zeros((0, 8, 8, 3), np.uint8), []])
def test_empty_split(tmp_path, images):
    digest = store.write_split(tmp_path / "a.arrow", images, np.zeros(0), [])
    split = store.Split(tmp_path / "a.arrow")
    assert len(split) == 0
    assert split.labels.shape == (0,)
    assert len(digest) == 64


def test_unequal_columns_are_refused(tmp_path, raw):
    with pytest.raises(ValueError, match="differ in length"):
        store.write_split(tmp_path / "a.arrow", raw, np.zeros(600), ["x"] * 600, boxes=raw[:9])
    assert not list(tmp_path.iterdir())


def test_missing_and_damaged_files(tmp_path, raw):
    path = tmp_path / "a.arrow"
    with pytest.raises(UserError, match="file not found"):
        store.Split(path)
    store.write_split(path, raw, np.zeros(600), ["x"] * 600)
    content = path.read_bytes()
    for damaged in (b"", content[:-10], content[: len(content) // 2], b"x" * 5000):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            store.Split(path)


def test_dataset_refuses_damage_and_verifies(tmp_path):
    prepare("scenes", SCENES, tmp_path)
    data = store.Dataset.open(tmp_path)
    data.verify()
    assert data.info.counts == {"train": 300, "val": 20, "test": 30}
    with pytest.raises(UserError, match="no split"):
        data.split("other")
    path = tmp_path / "val.arrow"
    content = bytearray(path.read_bytes())
    at = content.find(data.split("val").pixels[3].tobytes())
    content[at + 5] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match="content hash differs"):
        store.Dataset.open(tmp_path).verify()
    (tmp_path / "test.arrow").write_bytes((tmp_path / "train.arrow").read_bytes())
    with pytest.raises(UserError, match="300 images where"):
        store.Dataset.open(tmp_path).split("test")


@pytest.mark.parametrize("change", [{"format": 9}, {"classes": None}, {"surplus": 1}])
def test_dataset_json_of_another_form(tmp_path, change):
    prepare("scenes", SCENES, tmp_path)
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"dataset\.json"):
        store.Dataset.open(tmp_path)


def test_missing_dataset_json(tmp_path):
    with pytest.raises(UserError, match="file not found"):
        store.Dataset.open(tmp_path)


def test_columns_of_bytes_round_trip_whatever_the_chunks(tmp_path, raw):
    texts = [bytes([i % 256]) * (i % 5) for i in range(600)]
    targets = (raw[:, :3, 0, 0] % 3).astype(np.int8) - 1
    labels, ids = np.full(600, -1), [str(i) for i in range(600)]
    columns = {"instances": texts, "targets": targets}
    whole = store.write_split(tmp_path / "a.arrow", raw, labels, ids, **columns)
    with store.split_writer(tmp_path / "b.arrow", (8, 8, 3)) as writer:
        for rows in (slice(0, 1), slice(1, 300), slice(300, 600)):
            extra = {name: values[rows] for name, values in columns.items()}
            writer.append(raw[rows], labels[rows], ids[rows], **extra)
    assert writer.sha256 == whole
    split = store.Split(tmp_path / "b.arrow")
    assert split.content_hash() == whole
    assert [split.encoded(row, "instances") for row in range(600)] == texts
    np.testing.assert_array_equal(split.column("targets"), targets)
    assert split.column("targets").dtype == np.int8


def test_hash_sees_where_one_text_ends(tmp_path, raw):
    def written(texts):
        return store.write_split(
            tmp_path / "a.arrow", raw[:2], np.zeros(2), ["a", "b"], notes=texts
        )

    assert len({written([b"xy", b"z"]), written([b"x", b"yz"]), written([b"", b"xyz"])}) == 3


def test_image_at_its_own_size(tmp_path, raw):
    store.write_split(tmp_path / "raw.arrow", raw, np.zeros(600), ["x"] * 600)
    np.testing.assert_array_equal(store.Split(tmp_path / "raw.arrow").image(5), raw[5])
    store.write_split(tmp_path / "a.arrow", [png(7, 30), png(9, 4)], np.zeros(2), ["a", "b"])
    split = store.Split(tmp_path / "a.arrow")
    assert [split.image(np.int64(row)).shape for row in range(2)] == [(30, 7, 3), (4, 9, 3)]
    assert (split.image(0) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_size_is_that_of_the_upright_image(kind, orientation):
    content = turned_image(orientation, kind)
    assert decoding.size_of(content) == decoding.to_rgb(content).size


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("width", [7, 30])
def test_a_size_that_does_not_tell_of_a_turn(kind, orientation, width):
    content = turned_image(orientation, kind, width)
    is_turned = orientation in range(5, 9) and width != 30
    expected = orientation in range(2, 9) and not is_turned
    assert decoding.is_changed_unseen(content) == expected


def turned_image(orientation, kind, width=7):
    image = Image.new("RGB", (width, 30))
    exif = image.getexif()
    exif[0x0112] = orientation
    sink = io.BytesIO()
    image.save(sink, kind, exif=exif)
    return sink.getvalue()
