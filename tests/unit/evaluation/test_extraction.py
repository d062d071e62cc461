"""Pooling, extraction and loading: what a probe will read is what the backbone says."""

import json

import numpy as np
import pytest
import torch

from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.core.feature_file import id_hashes, keyed, read_features, write_features
from sslbench.data.store import Dataset, Split, write_split
from sslbench.evaluation.features import extract as features
from sslbench.evaluation.features.model import load_backbone, plain_view
from tests.memory import peak_bytes


@pytest.mark.parametrize(
    ("shape", "max_dim", "dim"),
    [
        ((2, 4, 8, 8), 64, 64),  # 4 * 4 * 4
        ((2, 4, 8, 8), 63, 36),  # 3 x 3 is the largest that fits
        ((2, 4, 8, 8), 3, 4),  # at least 1 x 1
        ((2, 4, 3, 2), 1000, 16),  # never above the map itself
        ((2, 100), 10, 100),  # vectors pass
    ],
)
def test_width_of_a_pooled_layer(shape, max_dim, dim):
    assert features.pool_layer(torch.rand(shape), max_dim).shape == (2, dim)


def test_pooling_averages_and_keeps_channels_apart():
    layer = torch.arange(32.0).reshape(1, 2, 4, 4)
    pooled = features.pool_layer(layer, 8)
    assert pooled[0, 0] == layer[0, 0, :2, :2].mean()
    assert pooled[0, 4] == layer[0, 1, :2, :2].mean()


@pytest.fixture
def extract(checkpoint_dir, dataset_dir, tmp_path):
    backbone, info = load_backbone(checkpoint_dir)
    backbone.train()
    split = Dataset.open(dataset_dir).split("train")

    def run(batch_size=7, precision="fp32"):
        path = features.extract_features(
            backbone, split, info, tmp_path,
            max_dim=16, batch_size=batch_size, device="cpu", precision=precision,
        )  # fmt: skip
        return artifacts.read_arrays(path)

    return run, backbone, info, split


def test_extracted_layers_are_the_backbones(extract, tmp_path):
    run, backbone, info, split = extract
    run()
    read = read_features(tmp_path, "train", info.layers)
    assert not backbone.training
    assert tuple(read.layers) == info.layers
    assert np.array_equal(read.labels, split.labels)
    with torch.no_grad():
        expected = backbone(plain_view(split.pixels, info, "cpu")).numpy()
    assert np.allclose(read.layers[info.layers[-1]], expected, atol=1e-5)
    assert read.layers["stem"].shape == (24, 8)


def test_a_streamed_file_has_the_bytes_of_one_written_whole(extract, tmp_path):
    run, backbone, info, split = extract
    run(batch_size=10)
    layers = {}
    batches = features.layer_batches(backbone, split, info, batch_size=10, device="cpu")
    for maps in (maps for _, maps in batches):
        for name, layer in maps.items():
            layers.setdefault(name, []).append(features.pool_layer(layer, 16).numpy())
    whole = {name: np.concatenate(parts) for name, parts in layers.items()}
    path = write_features(tmp_path / "b", "train", keyed(split.labels, whole, id_hashes(split.ids)))
    assert path.read_bytes() == (tmp_path / "train.safetensors").read_bytes()


def test_batches_change_nothing_but_rounding(extract):
    run, *_ = extract
    whole, parts = run(batch_size=24), run(batch_size=5)
    for name, values in whole.items():
        assert np.allclose(values, parts[name], atol=1e-5)


def test_low_precision_is_close_and_stored_as_float32(extract):
    run, *_ = extract
    exact, rough = run(), run(precision="bf16")
    for name in set(exact) - {"labels", "ids"}:
        assert rough[name].dtype == np.float32
        assert np.abs(exact[name] - rough[name]).max() < 0.1 * np.abs(exact[name]).max()
        assert not np.array_equal(exact[name], rough[name])


def test_images_are_streamed(extract, monkeypatch):
    run, _, _, split = extract
    sizes = []
    decode = type(split).decode
    monkeypatch.setattr(
        type(split),
        "decode",
        lambda self, rows, size: sizes.append(len(rows)) or decode(self, rows, size),
    )
    run(batch_size=10)
    assert sizes == [10, 10, 4]


def test_memory_does_not_grow_with_the_images(checkpoint_dir, tmp_path):
    backbone, info = load_backbone(checkpoint_dir)

    def run(images):
        features.extract_features(
            backbone, Split(tmp_path / f"{images}.arrow"), info, tmp_path,
            max_dim=16, batch_size=50, device="cpu", precision="fp32",
        )  # fmt: skip

    peaks = []
    for images in (50, 100, 2000):
        pixels = np.zeros((images, 16, 16, 3), np.uint8)
        names = [str(row) for row in range(images)]
        write_split(tmp_path / f"{images}.arrow", pixels, np.zeros(images, np.int64), names)
        peaks.append(peak_bytes(lambda count=images: run(count)))
    assert peaks[2] - peaks[1] < 20 * 2000  # bytes an image; the features have over 300


def test_plain_view_uses_the_pretraining_statistics(checkpoint_dir):
    _, info = load_backbone(checkpoint_dir)
    image = np.full((1, 2, 2, 3), 255, np.uint8)
    image[0, 0, 0] = 0
    view = plain_view(image, info, "cpu")
    assert view.shape == (1, 3, 2, 2)
    assert view[0, :, 1, 1].tolist() == pytest.approx([3.0, 2.0, 4 / 3], abs=1e-5)
    assert view[0, :, 0, 0].tolist() == pytest.approx([-2.0, -2.0, -2.0], abs=1e-5)


def test_model_info_round_trip(checkpoint_dir, tmp_path):
    info = ModelInfo.read(checkpoint_dir / artifacts.MODEL)
    info.write(tmp_path / "again.json")
    assert ModelInfo.read(tmp_path / "again.json") == info
    content = json.loads((tmp_path / "again.json").read_text())
    assert set(content) == {"format", "backbone", "labels", "layers", "feature_dim", "input"}
    assert set(content["input"]) == {"size", "mean", "std"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format=1), "not of model format 2"),
        (lambda content: content.pop("layers"), "damaged file"),
        (lambda content: content["input"].update(size="x"), "damaged file"),
        (lambda content: content["backbone"].update(family="none"), "unknown family"),
        (lambda content: content["backbone"].update(width=16), "weights are not those"),
    ],
)
def test_a_damaged_description_is_refused(checkpoint_dir, change, message):
    path = checkpoint_dir / artifacts.MODEL
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_backbone(checkpoint_dir)


def test_damaged_weights_are_refused(checkpoint_dir):
    path = checkpoint_dir / artifacts.BACKBONE
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="damaged file"):
        load_backbone(checkpoint_dir)
    path.unlink()
    with pytest.raises(UserError, match="file not found"):
        load_backbone(checkpoint_dir)
