"""SimMIM against a restatement of its authors' formula, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightly.models.utils import unpatchify
from torch import Tensor, nn

from sslbench.core import seeding
from sslbench.core.errors import UserError
from sslbench.methods.base import Progress
from sslbench.methods.simmim import masked_absolute_error
from tests.contract import harness

START = Progress(0, 10, harness.STEPS_PER_EPOCH)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = seeding.generator(seed, "reference")
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def restated_simmim(images: Tensor, painted: Tensor, hidden: Tensor) -> float:
    """Eq. 1: the L1 distance over masked pixels, divided by their number; hidden (batch, h, w)."""
    total, count = 0.0, 0
    for image, paint, hide in zip(images, painted, hidden, strict=True):
        for row in range(image.shape[1]):
            for column in range(image.shape[2]):
                if hide[row, column]:
                    total += float((image[:, row, column] - paint[:, row, column]).abs().sum())
                    count += image.shape[0]
    return total / count


def test_the_error_equals_its_restatement() -> None:
    targets, predicted = draw(2, 16, 12), draw(2, 16, 12, seed=1)
    mask = draw(2, 16, seed=2) > 0
    images, painted = (unpatchify(patches, 2, 3) for patches in (targets, predicted))
    pixels = mask.view(2, 4, 4).repeat_interleave(2, 1).repeat_interleave(2, 2)
    loss = masked_absolute_error(predicted, targets, mask)
    assert float(loss) == pytest.approx(restated_simmim(images, painted, pixels), abs=1e-9)


def test_the_error_is_zero_only_at_equality_on_masked_patches() -> None:
    targets, mask = draw(2, 16, 12), torch.zeros(2, 16, dtype=torch.bool)
    mask[:, 3] = True
    predicted = draw(2, 16, 12, seed=1)
    predicted[:, 3] = targets[:, 3]
    assert float(masked_absolute_error(predicted, targets, mask)) == 0.0
    assert float(masked_absolute_error(targets + 0.5, targets, mask)) == pytest.approx(0.5)


def test_a_head_of_zeros_scores_the_mean_absolute_pixel() -> None:
    method = harness.build_method("simmim")
    nn.init.zeros_(method.prediction_head.weight)
    nn.init.zeros_(method.prediction_head.bias)
    batch = harness.make_batch(method, torch.arange(8))
    batch = replace(batch, views=[torch.full_like(batch.views[0], -0.7)])
    output = method(batch, START, "main")
    assert float(output.loss.detach()) == pytest.approx(0.7, abs=1e-5)
    assert float(output.parts["share_masked"]) == pytest.approx(10 / 16)
    assert float(output.parts["predicted_std"]) == 0.0


def test_masked_pixels_are_targets_and_never_seen() -> None:
    """Without a head only targets reach the loss; without targets only visible pixels do."""
    method = harness.build_method("simmim")
    side = method.encoder.patch_size
    batch = harness.make_batch(method, torch.arange(2))
    images = batch.views[0].requires_grad_()
    weights = method.prediction_head.weight.detach().clone()
    nn.init.zeros_(method.prediction_head.weight)
    method(batch, START, "main").loss.backward()
    targets = touched(images.grad, side)
    assert float(targets.float().mean()) == pytest.approx(10 / 16)
    method.prediction_head.weight.data.copy_(weights)
    mask = targets.flatten(1)
    images.grad = None
    method.encoder.encode_masked(images, mask).square().sum().backward()
    assert torch.equal(touched(images.grad, side), ~targets)


def touched(gradient: Tensor, side: int) -> Tensor:
    """Return which patches (batch, grid, grid) have any gradient."""
    patches = gradient.abs().sum(dim=1).unfold(1, side, side).unfold(2, side, side)
    return patches.sum(dim=(3, 4)) > 0


def test_the_mask_token_learns_and_belongs_to_the_method() -> None:
    method = harness.build_method("simmim")
    harness.one_backward(method)
    assert method.mask_token.grad.abs().sum() > 0
    assert not [name for name in method.evaluation_backbone.state_dict() if "mask" in name]


@pytest.mark.parametrize("unit", [4, 12, 24])
def test_units_that_do_not_fit_are_refused(unit: int) -> None:
    with pytest.raises(UserError, match=f"units of {unit} px do not fit patches of 8 px"):
        harness.build_method("simmim", mask_unit_px=unit)


@pytest.mark.parametrize("changes", [{"mask_ratio": 1.0}, {"mask_unit_px": 0}])
def test_impossible_numbers_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(changes))):
        harness.build_params("simmim", **changes)
