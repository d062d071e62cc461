"""Inpainting and the adversarial game against restatements and values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from sslbench.objectives.adversarial import discriminator_loss, generator_loss
from sslbench.objectives.inpainting import ring_weights, weighted_squared_error
from tests.contract import harness
from tests.reference.test_objectives import BATCH, draw, first_loss


def test_ring_weighs_more_and_mean_prediction_scores_the_variance() -> None:
    weights = ring_weights(6, 2, 10.0)
    assert weights[2:4, 2:4].eq(1).all()
    assert float(weights.sum()) == 4 * 1 + 32 * 10
    target = draw(8, 3, 6, 6)
    flat = weighted_squared_error(torch.zeros_like(target), target, ring_weights(6, 0, 10.0))
    assert float(flat) == pytest.approx(float(target.square().mean()), abs=1e-6)


def test_context_encoder_equals_its_restatement_on_the_centre_only() -> None:
    method = harness.build_method("context_encoder")
    block = method.block
    images, painted = draw(2, 3, 32, 32), draw(2, 3, block.side, block.side, seed=1)
    start, ring, total = (32 - block.side) // 2, block.overlap, 0.0
    for row in range(block.side):
        for column in range(block.side):
            inside = min(row, column, block.side - 1 - row, block.side - 1 - column) >= ring
            gap = painted[:, :, row, column] - images[:, :, start + row, start + column]
            total += float(gap.square().sum()) * (1.0 if inside else 10.0)
    expected = total / painted.numel()
    assert float(block.error(painted, images)) == pytest.approx(expected, rel=1e-5)


def test_context_encoder_never_sees_the_hole() -> None:
    method = harness.build_method("context_encoder").eval()
    images = draw(2, 3, 32, 32)
    changed = images.clone()
    inner = slice(8 + method.block.overlap, 24 - method.block.overlap)
    changed[:, :, inner, inner] += 5.0
    painted = method.block.paint(method.backbone, images)
    assert torch.equal(painted, method.block.paint(method.backbone, changed))
    changed[:, :, 8, 8] += 5.0  # a pixel of the ring, which is visible
    assert not torch.equal(painted, method.block.paint(method.backbone, changed))


def test_undecided_discriminator_scores_two_log_two() -> None:
    undecided = torch.zeros(BATCH)
    assert float(discriminator_loss(undecided, undecided)) == pytest.approx(2 * math.log(2))
    assert float(generator_loss(undecided)) == pytest.approx(math.log(2))


def test_adversarial_losses_equal_their_formulas() -> None:
    real, fake = draw(BATCH), draw(BATCH, seed=1)
    expected = -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean())
    assert float(discriminator_loss(real, fake)) == pytest.approx(float(expected), abs=1e-5)
    assert float(generator_loss(fake)) == pytest.approx(
        float(-fake.sigmoid().log().mean()), abs=1e-5
    )


def test_adversarial_at_weight_zero_is_the_l2_method_bit_for_bit() -> None:
    plain = harness.build_method("context_encoder")
    game = harness.build_method("context_encoder_adversarial", adversarial_weight=0.0)
    expected = [step["main"] for step in harness.train(plain, range(4), make=harness.adam)]
    found = [step["generator"] for step in harness.train(game, range(4), make=harness.adam)]
    assert found == expected
    state = game.state_dict()
    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())


def test_adversarial_paints_again_where_the_discriminator_phase_was_skipped() -> None:
    method = harness.build_method("context_encoder_adversarial")
    assert first_loss(method, "generator") == pytest.approx(
        first_loss(harness.build_method("context_encoder_adversarial"), "generator")
    )
