"""Artifacts from a shared cache that somebody spoilt on purpose: refused in a line, never run."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save

from sslbench import backbones
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts, feature_file, provenance, records
from sslbench.core.errors import UserError
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset, Split, write_split
from sslbench.evaluation.features.model import load_backbone
from sslbench.reporting.csv_file import read_csv
from tests.faults.test_hostile_archives import _Touch
from tests.faults.test_hostile_images import png
from tests.memory import peak_bytes

ROWS = 6


def refused(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    line = str(caught.value)
    assert line.isprintable()
    return line


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "code-ran"


READERS = {
    "train.arrow": Split,
    "dataset.json": lambda path: Dataset.open(path.parent),
    "backbone.safetensors": artifacts.read_tensors,
    "train.safetensors": artifacts.read_arrays,
    "model.json": ModelInfo.read,
    "seed0.json": records.read,
    "numbers.csv": read_csv,
    "dvc.lock": lambda path: provenance.lock(path.parent),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pickle_under_any_name_is_not_loaded(tmp_path, mark, name):
    (tmp_path / name).write_bytes(pickle.dumps(_Touch(str(mark))))
    assert name in refused(READERS[name], tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize("name", READERS)
def test_a_folder_under_any_name_is_one_line(tmp_path, name):
    (tmp_path / name).mkdir()
    assert name in refused(READERS[name], tmp_path / name)


@pytest.fixture
def split(tmp_path):
    """A split of encoded images."""
    path = tmp_path / "train.arrow"
    images = [png(8, 8)] * ROWS
    write_split(path, images, np.zeros(ROWS, np.int64), [f"{row}" for row in range(ROWS)])
    return path


def rewrite(path, change=None, compression=None, columns=None):
    """Write a split's columns again, as a hand that is not ours would."""
    batch = pa.ipc.open_file(path).get_batch(0)
    found = dict(zip(batch.schema.names, batch.columns, strict=True)) | (change or {})
    names = columns or list(found)
    made = pa.record_batch([found[name] for name in names], names=names)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(str(path), made.schema, options=options) as file:
        file.write_batch(made)


def test_an_offset_out_of_the_file_ends_no_process(split):
    """Read without a full validation, this row is memory that is not ours."""
    content = bytearray(split.read_bytes())
    length = len(png(8, 8))
    at = content.index(struct.pack("<3q", 0, length, 2 * length))
    content[at + 8 : at + 16] = struct.pack("<q", 2**40)
    split.write_bytes(content)
    assert "damaged file" in refused(Split, split)


def test_a_compressed_split_is_refused_before_it_unpacks(split):
    rewrite(split, {"image": pa.array([bytes(20 * 2**20)] * ROWS, pa.large_binary())}, "zstd")
    assert split.stat().st_size < 2**20
    before = pa.default_memory_pool().max_memory()
    assert peak_bytes(lambda: refused(Split, split)) < 2**20
    assert pa.default_memory_pool().max_memory() <= max(before, 200 * 2**20)
    assert "compressed" in refused(Split, split)


@pytest.mark.parametrize("messages", [0, 1])
def test_a_split_without_a_batch(split, messages):
    """Found by the coverage-guided fuzzer: an early end of the messages is a StopIteration."""
    schema = pa.schema([pa.field("label", pa.int64())]).serialize().to_pybytes()
    split.write_bytes(b"ARROW1\0\0" + schema * messages + b"\xff\xff\xff\xff\0\0\0\0ARROW1")
    assert "damaged file" in refused(Split, split)


COLUMNS = {
    "no image": {"columns": ["label", "id"]},
    "text as label": {"change": {"label": pa.array(["x"] * ROWS)}},
    "no label": {"change": {"label": pa.array([None, *range(ROWS - 1)], pa.int64())}},
    "no id": {"change": {"id": pa.array([None] * ROWS, pa.string())}},
    "number as id": {"change": {"id": pa.array(range(ROWS))}},
    "list": {"change": {"image": pa.array([[1, 2]] * ROWS)}},
    "no shape": {"change": {"image": pa.array([b"1234"] * ROWS, pa.binary(4))}},
    "dictionary": {"change": {"id": pa.array(["a"] * ROWS).dictionary_encode()}},
    "twice": {"columns": ["image", "label", "id", "id"]},
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_that_the_store_does_not_write(split, kind):
    rewrite(split, **COLUMNS[kind])
    assert "damaged file" in refused(Split, split)


@pytest.mark.parametrize("shape", [b"9,9,9", b"-8,-8,1", b"a", b"1e3", b""])
def test_a_shape_that_is_not_that_of_the_bytes(split, shape):
    batch = pa.ipc.open_file(split).get_batch(0)
    field = pa.field("image", pa.binary(64), metadata={"shape": shape})
    schema = pa.schema([field, batch.schema.field("label"), batch.schema.field("id")])
    images = pa.array([bytes(64)] * ROWS, pa.binary(64))
    with pa.ipc.new_file(str(split), schema) as file:
        file.write_batch(pa.record_batch([images, *batch.columns[1:]], schema=schema))
    assert "damaged file" in refused(Split, split)


def test_a_bad_image_in_a_split_is_named_by_its_row(split):
    write_split(
        split, [png(8, 8), b"no image", png(200_000, 1)], np.zeros(3, np.int64), list("abc")
    )
    found = Split(split)
    assert "row 1" in refused(found.decode, [0, 1], 8)
    assert "row 1" in refused(found.image, 1)
    assert "row 1" in refused(found.size, 1)
    assert "too long and narrow" in refused(found.decode, [2], 96)


@pytest.fixture
def folder(tmp_path):
    """A small prepared data set."""
    block = {"kind": "digits", "seed": 0, "size": 8, "val_fraction": 0.15, "test_fraction": 0.7}
    prepare("x", block, tmp_path)
    return tmp_path


INFO = {
    "counts": {"train": 1, "val": 1, "test": "1"},
    "mean": ["a"] * 3,
    "std": [0, 0, 0],
    "channels": 2,
    "classes": 5,
    "image_size": "8",
    "sha256": {"../../x": "0"},
    "format": 2,
    "skipped": "x",
    "extra": 1,
}


@pytest.mark.parametrize("key", INFO)
def test_a_description_that_cannot_be_so(folder, key):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: INFO[key]}))
    assert "dataset.json" in refused(Dataset.open, folder)


@pytest.mark.parametrize("change", [{"classes": ["a"]}, {"image_size": 32}, {"image_size": None}])
def test_a_split_that_is_not_as_described(folder, change):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert "train.arrow" in refused(Dataset.open(folder).split, "train")


def header(entries, data=b""):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


HEADERS = {
    "empty": b"",
    "long": struct.pack("<Q", 2**62) + b"{}",
    "shape": header({"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]}}, bytes(4)),
    "overflow": header({"a": {"dtype": "F32", "shape": [2**40] * 3, "data_offsets": [0, 4]}}),
    "type": header({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)),
    "negative": header({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
    "not json": struct.pack("<Q", 4) + b"{a:}",
    "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
}


@pytest.mark.parametrize("read", [artifacts.read_tensors, artifacts.read_arrays])
@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_lies(tmp_path, read, kind):
    path = tmp_path / "a.safetensors"
    path.write_bytes(HEADERS[kind])
    assert "damaged file" in refused(read, path)


GOOD = {
    "labels": np.zeros(4, np.int64), "ids": np.zeros(4, np.uint64),
    "layer/a": np.zeros((4, 2), np.float32),
}  # fmt: skip
FEATURES = {
    "short": {"layer/a": np.zeros((3, 2), np.float32)},
    "flat": {"layer/a": np.zeros(4, np.float32)},
    "whole numbers": {"layer/a": np.zeros((4, 2), np.int64)},
    "few ids": {"ids": np.zeros(1, np.uint64)},
    "labels of fractions": {"labels": np.zeros(4, np.float32)},
    "two labels": {"labels": np.zeros((4, 1), np.int64)},
    "targets": {"targets": np.zeros((3, 2), np.int8)},
    "nan": {"layer/a": np.full((4, 2), np.nan, np.float32)},
}


@pytest.mark.parametrize("kind", FEATURES)
def test_features_that_are_not_those_of_one_split(tmp_path, kind):
    (tmp_path / "train.safetensors").write_bytes(save({**GOOD, **FEATURES[kind]}))
    assert "train.safetensors" in refused(feature_file.read_features, tmp_path, "train", ["a"])


@pytest.fixture
def checkpoint(tmp_path):
    spec = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 8, "image_size": 16}
    backbone = backbones.build(spec)
    artifacts.write_tensors(tmp_path / artifacts.BACKBONE, backbone.state_dict())
    ModelInfo(
        backbone=spec, layers=tuple(backbone.layers), feature_dim=backbone.feature_dim, size=16,
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), labels="none",
    ).write(tmp_path / artifacts.MODEL)  # fmt: skip
    return tmp_path


MODELS = {
    "wide": {"backbone": {"width": 10**6}},
    "endless": {"backbone": {"width": 10**30}},
    "text": {"backbone": {"width": "4"}},
    "list": {"backbone": {"depth": [1]}},
    "module": {"backbone": {"family": "../../os"}},
    "key": {"backbone": {"eval": 1}},
    "vit": {"backbone": {"family": "vit", "image_size": 10**7}},
    "size": {"input": {"size": 10**9}},
    "std": {"input": {"std": [0, 0, 0]}},
    "nan": {"input": {"mean": [float("nan")] * 3}},
    "labels": {"labels": "<script>"},
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_file_is_not_believed(checkpoint, kind):
    path = checkpoint / artifacts.MODEL
    content = json.loads(path.read_text())
    for key, value in MODELS[kind].items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(content))
    assert "model.json" in refused(load_backbone, checkpoint)


def test_a_look_at_the_size_draws_nothing(checkpoint):
    """Or a head drawn after it would have other weights than before."""
    torch.manual_seed(0)
    load_backbone(checkpoint)
    after = torch.rand(1)
    torch.manual_seed(0)
    backbones.build(ModelInfo.read(checkpoint / artifacts.MODEL).backbone)
    assert torch.equal(after, torch.rand(1))
