"""Damaged Arrow and safetensors files: refused in one line, or read without a crash."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from sslbench.core import artifacts, feature_file
from sslbench.core.errors import UserError
from sslbench.data.store import Dataset, DatasetInfo, Split, split_path, write_info, write_split
from tests.faults.test_hostile_images import png
from tests.properties.hostile import ANYTHING, accepted, check_line, damaged, mutated

ROWS = 5
FEATURES = {
    "labels": np.arange(4), "ids": np.arange(4, dtype=np.uint64),
    "layer/a": np.ones((4, 3), np.float32), "targets": np.ones((4, 2), np.int8),
}  # fmt: skip


def written(folder, *, encoded):
    """A split of five small images, and what its bytes hash to."""
    images = [png(8, 8)] * ROWS if encoded else np.full((ROWS, 4, 4, 3), 7, np.uint8)
    labels = np.array([0, 1, 0, 1, -1])
    names = [f"a/{row}" for row in range(ROWS)]
    boxes = np.ones((ROWS, 4), np.float32)
    return write_split(split_path(folder, "train"), images, labels, names, boxes=boxes)


def contents(tmp_path_factory):
    found = []
    for encoded in (True, False):
        folder = tmp_path_factory.mktemp("sound")
        digest = written(folder, encoded=encoded)
        found.append((split_path(folder, "train").read_bytes(), digest))
    return found


def read(path, digest):
    """Read every row of a split; its content is as it was, or its hash is not."""
    split = Split(path)
    found = split.content_hash()
    for row in range(len(split)):
        accepted(split.image, row)
        accepted(split.size, row)
    accepted(split.decode, range(len(split)), 8)
    names = [split.names(slice(0, len(split))), split.labels.tolist()]
    if found == digest:
        assert names == [[f"a/{row}" for row in range(ROWS)], [0, 1, 0, 1, -1]]


@given(st.data())
def test_a_damaged_split(tmp_path_factory, data):
    content, digest = data.draw(st.sampled_from(contents(tmp_path_factory)))
    path = tmp_path_factory.mktemp("damaged") / "train.arrow"
    path.write_bytes(data.draw(damaged(content)))
    accepted(read, path, digest)


@given(st.binary(max_size=200))
def test_a_split_of_chance(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("chance") / "train.arrow"
    path.write_bytes(b"ARROW1\x00\x00" + content + b"ARROW1")
    assert accepted(Split, path) is None


INFO = DatasetInfo(
    name="x", kind="scenes", classes=("a", "b"), counts={"train": ROWS}, image_size=4, channels=3,
    mean=(0.5,) * 3, std=(0.2,) * 3, source="", split_rule="", sha256={}, duplicates={}, skipped=[],
)  # fmt: skip


@given(st.data())
def test_a_description_with_one_fault(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("info")
    written(folder, encoded=False)
    write_info(folder, INFO)
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(data.draw(mutated(content) | ANYTHING)))
    dataset = accepted(Dataset.open, folder)
    if dataset is not None and accepted(dataset.split, "train") is not None:
        accepted(dataset.verify)
        assert all(isinstance(name, str) for name in dataset.info.classes)


@given(damaged(save(FEATURES)))
def test_damaged_tensors(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("tensors")
    path = folder / "train.safetensors"
    path.write_bytes(content)
    accepted(artifacts.read_tensors, path)
    found = accepted(feature_file.read_features, folder, "train", ["a"])
    if found is not None:
        assert len(found.labels) == len(found.ids) == len(found.layers["a"])
        assert np.isfinite(found.layers["a"]).all()


@given(ANYTHING)
def test_any_description_of_tensors(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("header") / "a.safetensors"
    text = json.dumps(content).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    for call in (artifacts.read_arrays, artifacts.read_tensors):
        try:
            assert not call(path)
        except UserError as error:
            check_line(error)
