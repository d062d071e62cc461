"""Batch norms measured again on whole images: exact, repeatable, and only where asked for."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sslbench.backbones.resnet import build
from sslbench.core import artifacts
from sslbench.data.store import Dataset, DatasetInfo, write_info, write_split
from sslbench.evaluation.features.model import load_backbone, plain_view
from sslbench.methods.rotation import Rotation
from sslbench.pretraining import batch_norm
from sslbench.pretraining.pretrain import Request, pretrain
from tests.contract import harness

NUM_IMAGES = 24


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    made = build(depth="tiny", stem="small_stride2", width=4)
    for norm in norms(made):  # as tiles might have left them
        norm.running_mean.fill_(3.0)
        norm.running_var.fill_(7.0)
    return made


def norms(module):
    return [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]


def images(count, seed=0):
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_statistics_equal_those_of_the_whole_images(backbone):
    inputs = {}
    hooks = [
        norm.register_forward_pre_hook(lambda module, given: inputs.update({module: given[0]}))
        for norm in norms(backbone)
    ]
    batch_norm.reestimate(backbone, [images(20)])
    assert len(inputs) == len(hooks) == len(norms(backbone))
    for norm, maps in inputs.items():
        assert torch.allclose(norm.running_mean, maps.mean(dim=(0, 2, 3)), atol=1e-5)
        assert torch.allclose(norm.running_var, maps.var(dim=(0, 2, 3)), rtol=1e-4)


def test_several_batches_weigh_alike(backbone):
    batches = [images(8, seed) for seed in range(3)]
    batch_norm.reestimate(backbone, batches)
    maps = backbone.conv1(torch.cat(batches))
    assert torch.allclose(backbone.bn1.running_mean, maps.mean(dim=(0, 2, 3)), atol=1e-5)
    spread = torch.stack([backbone.conv1(some).var(dim=(0, 2, 3)) for some in batches]).mean(dim=0)
    assert torch.allclose(backbone.bn1.running_var, spread, rtol=1e-4)


def test_nothing_else_changes_and_nothing_is_drawn(backbone):
    backbone.train()
    momenta = [norm.momentum for norm in norms(backbone)]
    before, state = torch.get_rng_state(), copy.deepcopy(backbone.state_dict())
    batch_norm.reestimate(backbone, [images(8)])
    changed = {
        name for name, value in backbone.state_dict().items() if not torch.equal(value, state[name])
    }
    assert {name.rsplit(".", 1)[1] for name in changed} == {
        "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip
    assert backbone.training
    assert [norm.momentum for norm in norms(backbone)] == momenta
    assert torch.equal(before, torch.get_rng_state())


def test_twice_is_once(backbone):
    batch_norm.reestimate(backbone, [images(8)])
    first = copy.deepcopy(backbone.state_dict())
    batch_norm.reestimate(backbone, [images(8)])
    assert all(torch.equal(value, first[name]) for name, value in backbone.state_dict().items())


def test_a_network_without_batch_norms_is_left_alone():
    def nothing():
        raise AssertionError("looked at images for nothing")
        yield

    batch_norm.reestimate(nn.Linear(2, 2), nothing())


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    pixels = harness.images(NUM_IMAGES).permute(0, 2, 3, 1).contiguous().numpy()
    labels, ids = np.arange(NUM_IMAGES) % 2, [str(row) for row in range(NUM_IMAGES)]
    digest = write_split(folder / "train.arrow", pixels, labels, ids)
    write_info(
        folder,
        DatasetInfo(
            name="smooth", kind="test", classes=("a", "b"), counts={"train": NUM_IMAGES},
            image_size=32, channels=3, mean=(0.5, 0.4, 0.6), std=(0.25, 0.2, 0.3),
            source="seed 0", split_rule="one", sha256={"train": digest}, duplicates={}, skipped=[],
        ),
    )  # fmt: skip
    return folder


def test_images_are_those_that_evaluation_sees(data, monkeypatch):
    monkeypatch.setattr(batch_norm, "IMAGES_PER_BATCH", 8)
    split, info = Dataset.open(data).split("train"), Dataset.open(data).info
    mean, std = torch.tensor(info.mean), torch.tensor(info.std)
    batches = list(batch_norm.whole_images(split, 32, mean, std))
    assert [len(batch) for batch in batches] == [8, 8, 8]
    for start, batch in enumerate(batches):
        rows = np.arange(start, NUM_IMAGES, 3)
        assert torch.equal(batch, plain_view(split.decode(rows, 32), info, "cpu"))


def test_a_large_split_is_sampled_evenly(data, monkeypatch):
    monkeypatch.setattr(batch_norm, "MOST_IMAGES", 6)
    split = Dataset.open(data).split("train")
    (batch,) = batch_norm.whole_images(split, 32, torch.zeros(3), torch.ones(3))
    pixels = torch.from_numpy(split.decode(np.arange(0, NUM_IMAGES, 4), 32)).permute(0, 3, 1, 2)
    assert torch.allclose(batch, pixels / 255, atol=1e-6)


def run(tmp_path, data, name):
    request = Request(
        name=name,
        seed=0,
        data=data,
        budget={
            "epochs": 1, "batch_size": 8, "image_size": 32, "precision": "32-true",
            "accumulate": 1, "checkpoint_every_epochs": 1, "keep_every_epochs": None,
        },
        recipe={**harness.SMALL["recipes"][name], "backbone": {
            "family": "resnet", "depth": "tiny", "stem": "small_stride2", "width": 8,
        }},
        method_params=harness.shrink(harness.SMALL["methods"][name]),
        device="cpu",
        scratch=tmp_path / "scratch",
        out=tmp_path / "out",
    )  # fmt: skip
    torch.set_num_threads(1)
    pretrain(request, lambda row: None)
    return artifacts.read_tensors(tmp_path / "out" / artifacts.METHOD)


def test_a_method_without_the_flag_is_untouched_bit_for_bit(tmp_path, data, monkeypatch):
    expected = run(tmp_path / "before", data, "rotation")
    monkeypatch.setattr(Rotation, "reestimates_batch_norms", True)
    measured = run(tmp_path / "with", data, "rotation")
    monkeypatch.setattr(Rotation, "reestimates_batch_norms", False)
    monkeypatch.setattr(batch_norm, "reestimate", None)  # a call would fail
    found = run(tmp_path / "without", data, "rotation")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    changed = [name for name, value in expected.items() if not torch.equal(measured[name], value)]
    assert changed
    assert all(name.startswith("backbone.") for name in changed)
    assert {name.rsplit(".", 1)[1] for name in changed} <= {
        "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["relative_patch", "jigsaw", "pirl"])
def test_a_network_trained_on_tiles_leaves_with_the_statistics_of_images(tmp_path, data, name):
    run(tmp_path, data, name)
    backbone, info = load_backbone(tmp_path / "out")
    split = Dataset.open(data).split("train")
    seen = plain_view(split.decode(np.arange(NUM_IMAGES), 32), info, "cpu")
    maps = backbone.conv1(seen)
    assert torch.allclose(backbone.bn1.running_mean, maps.mean(dim=(0, 2, 3)), atol=1e-4)
    assert torch.allclose(backbone.bn1.running_var, maps.var(dim=(0, 2, 3)), rtol=1e-3)
