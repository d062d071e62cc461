"""channels_last is a layout, not another mathematics (docs/decisions/0008)."""

import copy

import pytest
import torch

from sslbench.backbones.resnet import build


def gradient(model, images):
    """Return the gradient of a smooth function of the features, flat."""
    model(images).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("stem", ["small", "small_stride2", "imagenet"])
def test_float64_gradients_do_not_depend_on_the_layout(stem):
    torch.manual_seed(0)
    plain = build(depth="tiny", stem=stem, width=8).double()
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(
        gradient(last, images), gradient(plain, images), rtol=1e-9, atol=1e-12
    )


def test_float32_features_agree_to_rounding():
    torch.manual_seed(0)
    plain = build(depth="tiny", stem="small", width=16)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 32, 32)
    assert last.feature_map(images).is_contiguous(memory_format=torch.channels_last)
    difference = (last(images) - plain(images)).norm() / plain(images).norm()
    assert difference < 1e-4
