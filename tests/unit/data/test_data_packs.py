"""Real images, where there are any: SSLBENCH_PACKS names the folder of unpacked packs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset

PACKS = os.environ.get("SSLBENCH_PACKS", "")
BLOCK = {
    "kind": "folder", "labelled": True, "size": None, "seed": 0, "limit_per_class": 20,
    "val_fraction": 0.1, "test_fraction": 0.0, "on_bad_image": "error",
}  # fmt: skip


def run(name, out, **change):
    root = Path(PACKS) / name
    if not PACKS or not root.is_dir():
        pytest.skip("set SSLBENCH_PACKS to the folder that holds " + name)
    return prepare(name, BLOCK | {"root": str(root)} | change, out), Dataset.open(out)


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
