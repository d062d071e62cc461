"""Colourisation and split-brain against restatements, and what each may see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sslbench.methods.base import Method, Progress, ViewBatch
from sslbench.objectives.colour import rebalancing_weights, weighted_cross_entropy
from tests.contract import harness
from tests.reference.test_objectives import draw

FIRST = Progress(0, 10, harness.STEPS_PER_EPOCH)


def batch_of(method: Method, images: Tensor | None = None) -> ViewBatch:
    batch = harness.make_batch(method, torch.arange(4))
    return batch if images is None else ViewBatch([images], torch.arange(4), batch.generator)


class Uniform(nn.Module):
    """A decoder that answers every bin alike."""

    def __init__(self, num_bins: int) -> None:
        super().__init__()
        self.num_bins = num_bins

    def forward(self, maps: Tensor) -> Tensor:
        return maps.new_zeros(len(maps), self.num_bins, 8, 8)


def restated_weights(prior: list[float], share: float) -> list[float]:
    used = sum(p > 0 for p in prior)
    raw = [1 / ((1 - share) * p + share / used) for p in prior]
    mean = sum(p * w for p, w in zip(prior, raw, strict=True))
    return [w / mean for w in raw]


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_weights_equal_their_restatement(share: float) -> None:
    prior = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0]).double()
    weights = rebalancing_weights(prior, share)
    assert weights.tolist() == pytest.approx(restated_weights(prior.tolist(), share))
    assert float((prior * weights).sum()) == pytest.approx(1)
    assert (weights.diff() >= -1e-12).all()  # the rarer, the heavier


def test_weighted_cross_entropy_equals_its_restatement() -> None:
    logits, targets = draw(5, 7).double(), draw(5, 7, seed=1).double().softmax(dim=1)
    weights = torch.tensor([0.5, 2.0, 0.0, 1.0, 0.0]).double()
    total = 0.0
    for row, target, weight in zip(
        logits.tolist(), targets.tolist(), weights.tolist(), strict=True
    ):
        norm = math.log(sum(map(math.exp, row)))
        total -= weight * sum(z * (x - norm) for z, x in zip(target, row, strict=True))
    loss = weighted_cross_entropy(logits, targets, weights)
    assert float(loss) == pytest.approx(total / 3)
    assert float(weighted_cross_entropy(logits, targets, 0 * weights)) == 0


def test_colorization_of_uniform_logits_is_log_of_the_bins() -> None:
    method = harness.build_method("colorization")
    method.decoder = Uniform(len(method.bins))
    loss = method(batch_of(method), FIRST, "main").loss  # no epoch began: all weights are 1
    assert float(loss) == pytest.approx(math.log(261), abs=1e-5)


def test_colorization_equals_its_restatement_at_every_position() -> None:
    method = harness.build_method("colorization").eval()
    harness.start_epoch(method, FIRST)
    method.eval()
    batch = batch_of(method)
    logits = method.decoder(method.backbone.feature_map(batch.views[0]))
    ab = method.backbone.lab(batch.views[0])[:, 1:]
    total = 0.0
    for image in range(4):
        for row in range(8):
            for column in range(8):
                cell = ab[image, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                code = method.bins.soft_codes(cell.mean(dim=(1, 2))[None], 10, 5.0)[0]
                likely = logits[image, :, row, column].log_softmax(dim=0)
                total -= float(method.weights[code.argmax()] * (code * likely.detach()).sum())
    loss = method(batch, FIRST, "main").loss
    assert float(loss.detach()) == pytest.approx(total / (4 * 64), rel=1e-4)


def test_the_prior_is_that_of_the_train_split_and_is_taken_once() -> None:
    method = harness.build_method("colorization")
    harness.start_epoch(method, FIRST)
    whole = harness.make_batch(method, torch.arange(harness.NUM_IMAGES), step=-1)
    ab = method._target(whole.views[0]).permute(0, 2, 3, 1).reshape(-1, 2)
    prior = method.bins.soft_codes(ab, 10, 5.0).mean(dim=0)
    assert torch.allclose(method.weights, rebalancing_weights(prior, 0.5), rtol=1e-4)
    before = method.weights.clone()
    harness.start_epoch(method, Progress(2, 10, 2), seed=3)
    assert torch.equal(method.weights, before)


def test_grey_images_teach_no_colour() -> None:
    method = harness.build_method("colorization").eval()
    images = batch_of(method).views[0]
    method.decoder = Uniform(len(method.bins))
    grey = images.mean(dim=1, keepdim=True).expand_as(images)
    assert float(method(batch_of(method, grey), FIRST, "main").loss) == 0
    mixed = torch.cat([images[:2], grey[:2]])
    assert float(method(batch_of(method, mixed), FIRST, "main").loss) == pytest.approx(
        math.log(261), abs=1e-5
    )


def test_split_brain_of_uniform_logits_is_log_of_both_numbers_of_bins() -> None:
    method = harness.build_method("split_brain")
    method.colour_decoder, method.lightness_decoder = Uniform(len(method.bins)), Uniform(100)
    loss = method(batch_of(method), FIRST, "main").loss
    assert float(loss) == pytest.approx(math.log(261) + math.log(100), abs=1e-4)


def test_split_brain_targets_are_the_mean_of_each_cell() -> None:
    method = harness.build_method("split_brain")
    images = batch_of(method).views[0]
    lab = method.backbone.lab(images)
    colours, lightness = (found.view(4, 8, 8) for found in method._targets(images))
    cell = lab[1, :, 8:12, 20:24].mean(dim=(1, 2))
    assert int(lightness[1, 2, 5]) == int(cell[0])
    nearest = (method.bins.centres - cell[1:]).norm(dim=1).argmin()
    assert int(colours[1, 2, 5]) == int(nearest)


def gradients(method: Method, part: str) -> dict[str, bool]:
    """Whether each trunk of the backbone gets a gradient of one part of the loss."""
    images = batch_of(method).views[0]
    of_lightness, of_colour = method.backbone.feature_map(images).chunk(2, dim=1)
    logits = {
        "colour": lambda: method.colour_decoder(of_lightness),
        "lightness": lambda: method.lightness_decoder(of_colour),
    }
    method.zero_grad()
    logits[part]().square().sum().backward()
    return {
        name: any(p.grad is not None and bool(p.grad.any()) for p in trunk.parameters())
        for name, trunk in zip(("lightness", "colour"), method.backbone.trunks, strict=True)
    }


def test_each_task_trains_only_the_trunk_that_sees_the_other_channel() -> None:
    method = harness.build_method("split_brain")
    assert gradients(method, "colour") == {"lightness": True, "colour": False}
    assert gradients(method, "lightness") == {"lightness": False, "colour": True}


def test_split_brain_pairs_each_decoder_with_the_other_channels_trunk() -> None:
    """Were a half shown its own answer, the loss could not mind the other half's weights."""
    method = harness.build_method("split_brain").eval()
    batch = batch_of(method)
    before = method(batch, FIRST, "main").parts
    with torch.no_grad():
        for parameter in method.backbone.trunks[1].parameters():
            parameter.add_(0.1)
    after = method(batch, FIRST, "main").parts
    assert torch.equal(before["colour"], after["colour"])
    assert not torch.equal(before["lightness"], after["lightness"])


def test_colorization_sees_no_colour_in_its_evaluated_network() -> None:
    method = harness.build_method("colorization").eval()
    images = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    images[0, 0, :, :16] = 0.8  # more red, and less green to the same luminance
    linear = ((images + 0.055) / 1.055) ** 2.4
    gap = 0.212671 * (linear[0, 0] - linear[0, 0, 0, -1]) / 0.715160
    images[0, 1] = 1.055 * (linear[0, 1] - gap) ** (1 / 2.4) - 0.055
    plain = torch.full((1, 3, 32, 32), 0.5)
    mean, std = (value[:, None, None] for value in (harness.MEAN, harness.STD))
    with torch.no_grad():
        features = [
            method.evaluation_backbone(((some - mean) / std).float()) for some in (plain, images)
        ]
    assert float((images - plain).abs().max()) > 0.2
    assert torch.allclose(*features, atol=1e-4)
