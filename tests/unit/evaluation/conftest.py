"""Tiny features, a tiny data set and a tiny checkpoint, all seeded."""

import numpy as np
import pytest

from sslbench.core.feature_file import id_hashes, keyed, write_features

LAYERS = ("first", "second")


def cloud(num_samples, seed, num_classes=3, noise=1.0):
    """Labels, and a noisy and a clean layer of clouds around one centre per class."""
    centres = np.random.default_rng(99).normal(size=(num_classes, 8))
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_samples) % num_classes)
    clean = centres[labels] + noise * rng.normal(size=(num_samples, 8))
    noisy = clean + 3 * rng.normal(size=clean.shape)
    return labels, {"first": noisy.astype(np.float32), "second": clean.astype(np.float32)}


def ids(split, count):
    return id_hashes([f"{split}/{row}" for row in range(count)])


@pytest.fixture
def features_dir(tmp_path):
    for seed, (split, size) in enumerate({"train": 60, "val": 30, "test": 45}.items()):
        write_features(tmp_path, split, keyed(*cloud(size, seed), ids(split, size)))
    return tmp_path


@pytest.fixture
def rewrite(features_dir):
    """Return a function that changes one split's labels or layers in place."""

    def change(split, labels=None, **layers):
        old_labels, old_layers = cloud(
            {"train": 60, "val": 30, "test": 45}[split], ["train", "val", "test"].index(split)
        )
        kept = old_labels if labels is None else labels(old_labels)
        write_features(
            features_dir, split, keyed(kept, {**old_layers, **layers}, ids(split, len(kept)))
        )

    return change


@pytest.fixture
def checkpoint_dir(tmp_path):
    """A tiny residual network's checkpoint for 16 px images."""
    import torch

    from sslbench import backbones
    from sslbench.backbones.model_info import ModelInfo
    from sslbench.core import artifacts

    torch.set_num_threads(1)  # tiny tensors: more threads only wait for one another
    spec = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 8, "image_size": 16}
    torch.manual_seed(0)
    backbone = backbones.build(spec)
    folder = tmp_path / "checkpoint"
    artifacts.write_tensors(folder / artifacts.BACKBONE, backbone.state_dict())
    ModelInfo(
        backbone=spec, layers=tuple(backbone.layers), feature_dim=backbone.feature_dim, size=16,
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), labels="none",
    ).write(folder / artifacts.MODEL)  # fmt: skip
    return folder


@pytest.fixture
def dataset_dir(tmp_path):
    """Two classes of 16 px images, told apart by colour: red or blue on noise."""
    from sslbench.data.store import DatasetInfo, write_info, write_split

    folder, sizes, hashes = tmp_path / "data", {"train": 24, "val": 12, "test": 16}, {}
    rng = np.random.default_rng(7)
    for split, size in sizes.items():
        labels = np.arange(size) % 2
        images = rng.integers(0, 200, (size, 16, 16, 3), dtype=np.uint8)
        images[np.arange(size), :, :, 2 * labels] += 55
        ids = [f"{split}-{i}" for i in range(size)]
        hashes[split] = write_split(folder / f"{split}.arrow", images, labels, ids)
    write_info(
        folder,
        DatasetInfo(
            name="colours", kind="test", classes=("red", "blue"), counts=sizes, image_size=16,
            channels=3, mean=(0.9, 0.9, 0.9), std=(0.1, 0.1, 0.1), source="seed 7",
            split_rule="drawn apart, 1", sha256=hashes, duplicates={}, skipped=[],
        ),
    )  # fmt: skip
    return folder
