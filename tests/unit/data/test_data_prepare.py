"""`prepare`: the same bytes each time, exact statistics, memory that does not grow, digits."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sslbench.core import params
from sslbench.core.errors import UserError
from sslbench.data import prepare as module
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset

SCENES = {"kind": "scenes", "seed": 0, "image_size": 32, "train": 300, "val": 20, "test": 30}
DIGITS = {"kind": "digits", "seed": 0, "size": 32, "val_fraction": 0.15, "test_fraction": 0.3}
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("block", [SCENES, DIGITS], ids=["scenes", "digits"])
def test_twice_the_same_bytes(tmp_path, block):
    for place in ("one", "two"):
        prepare("x", block, tmp_path / place)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["dataset.json", "test.arrow", "train.arrow", "val.arrow"]
    for name in names:
        one, two = (tmp_path / place / name for place in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_statistics_are_those_of_train(tmp_path):
    info = prepare("x", SCENES, tmp_path)
    pixels = Dataset.open(tmp_path).split("train").pixels / 255
    np.testing.assert_allclose(info["mean"], pixels.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(info["std"], pixels.std((0, 1, 2)), atol=1e-6)


def test_scenes_carry_boxes_and_masks(tmp_path):
    info = prepare("x", SCENES, tmp_path)
    split = Dataset.open(tmp_path).split("val")
    assert split.column("boxes").shape == (20, 4)
    assert split.column("mask").shape == (20, 32, 32)
    assert info["image_size"] == 32
    assert info["kind"] == "scenes"


def test_digits_are_stratified_grey_and_disjoint(tmp_path):
    info = prepare("digits", DIGITS, tmp_path)
    data = Dataset.open(tmp_path)
    assert sum(info["counts"].values()) == 1797
    ids = [name for split in info["counts"] for name in data.split(split).ids]
    assert len(set(ids)) == 1797
    for split in info["counts"]:
        counts = np.bincount(data.split(split).labels)
        assert counts.max() / counts.min() < 1.1
        pixels = data.split(split).pixels
        assert (pixels[..., 0] == pixels[..., 2]).all()


def test_interrupted_run_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    prepare("x", SCENES, tmp_path)
    monkeypatch.setattr(module, "_check", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare("x", SCENES, tmp_path)
    with pytest.raises(UserError):
        Dataset.open(tmp_path)


def test_memory_does_not_grow_with_images(tmp_path):
    prepare("x", SCENES, tmp_path / "warm")
    peaks = []
    for count in (1024, 4096):
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        prepare("x", SCENES | {"train": count}, tmp_path / str(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pa.total_allocated_bytes() - before < 2**20
    pixels = 3072 * 3072
    assert peaks[1] - peaks[0] < pixels / 4, peaks


@pytest.mark.parametrize("name", ["A", "a-b", "../x", ""])
def test_names(tmp_path, name):
    with pytest.raises(UserError, match="a-z, 0-9"):
        prepare(name, SCENES, tmp_path)


@pytest.mark.parametrize("values", [None, {}, {"kind": "scenes"}, SCENES | {"train": "many"}])
def test_wrong_blocks(tmp_path, values):
    with pytest.raises(UserError, match=r"data\.x"):
        prepare("x", values, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((ROOT / "conf/data").glob("*.yaml")), ids=lambda p: p.stem)
def test_conf_blocks_build(path):
    import importlib

    blocks = params.load(path)
    assert list(blocks) == [path.stem]
    for name, values in blocks.items():
        kind = importlib.import_module(f"sslbench.data.{module.KINDS[values['kind']]}")
        params.build(kind.Params, values, f"data.{name}")


def test_import_costs_no_torch_or_sklearn():
    import subprocess
    import sys

    code = "import sys, sslbench.data.prepare, sslbench.data.scenes, sslbench.data.folder\n"
    code += "bad = {'torch', 'torchvision', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)\n"
    code += "sys.exit(str(bad) if bad else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=dict(os.environ))
