"""Data-dependent initialisation: the statistics it promises, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sslbench import backbones
from sslbench.core.errors import UserError
from sslbench.methods.base import Method, Progress
from sslbench.methods.random_rescaled import rescale
from tests.contract import harness

FIRST = Progress(0, 1, 1)


def statistics(network: nn.Module, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation of every channel after each batch norm, as the next layer sees them."""
    found: list[tuple[Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: object, outputs: Tensor) -> None:
        found.append((outputs.mean(dim=(0, 2, 3)), outputs.std(dim=(0, 2, 3))))

    hooks = [m.register_forward_hook(note) for m in network.modules() if is_norm(m)]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return found


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d)


def rescaled(seed: int = 0, stream: int = 0, **changes: object) -> Method:
    method = harness.build_method("random_rescaled", seed, **changes)
    harness.start_epoch(method, FIRST, stream)
    return method


def test_every_pre_activation_has_the_promised_mean_and_deviation() -> None:
    method = rescaled()
    images = harness.make_batch(method, torch.arange(harness.NUM_IMAGES)).views[0]
    found = statistics(method.backbone, images)
    assert len(found) == 1 + 2 * 4 + 3  # stem, two a block, three shortcuts that change shape
    for mean, deviation in found:
        assert torch.allclose(mean, torch.full_like(mean, 0.1), atol=1e-2)
        assert torch.allclose(deviation, torch.ones_like(deviation), atol=1e-2)


def test_without_it_the_statistics_are_others() -> None:
    method = harness.build_method("random_rescaled")
    images = harness.make_batch(method, torch.arange(harness.NUM_IMAGES)).views[0]
    deviations = torch.cat([deviation for _, deviation in statistics(method.backbone, images)])
    assert (deviations - 1).abs().max() > 0.2


def test_filters_keep_their_direction_and_the_network_its_mode() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    before = network[0].weight.detach().clone()
    network.train()
    rescale(network, torch.randn(8, 3, 6, 6), 0.1)
    ratio = network[0].weight.detach() / before
    assert torch.allclose(ratio, ratio[:, :1, :1, :1].expand_as(ratio), rtol=1e-4)
    assert network.training
    assert not network[0]._forward_hooks
    assert not network[1]._forward_pre_hooks


def test_the_images_are_drawn_from_the_split_by_the_seed() -> None:
    weights = [rescaled(stream=s, num_images=5).backbone.conv1.weight for s in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    drawn = []
    method = harness.build_method("random_rescaled", num_images=5)
    method.backbone.register_forward_pre_hook(lambda module, inputs: drawn.append(inputs[0]))
    harness.start_epoch(method, FIRST)
    assert len(drawn[0]) == 5
    split = harness.make_batch(method, torch.arange(harness.NUM_IMAGES)).views[0]
    places = [(split == image).flatten(1).all(dim=1).nonzero().item() for image in drawn[0]]
    assert places == sorted(set(places))
    assert places != list(range(5))


def test_a_network_without_batch_norms_is_refused() -> None:
    vit = backbones.build({"family": "vit", "size": "micro", "patch_size": 8, "image_size": 32})
    made = harness.methods.load("random_rescaled").METHOD
    with pytest.raises(UserError, match="batch norms"):
        made(vit, harness.build_params("random_rescaled"), harness.data_info())
    with pytest.raises(UserError, match="one image or more"):
        harness.build_params("random_rescaled", num_images=0)
