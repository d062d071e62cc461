"""Colour operations against torchvision's, image by image."""

from __future__ import annotations

import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from sslbench.views import colour
from sslbench.views.parameters import JitterValues, take

ORDERS = torch.tensor(list(itertools.permutations(range(4))))
TOLERANCE = 2e-6


def images(batch: int, size: int = 16) -> torch.Tensor:
    """Random images with greys, ties between channels, black, white and primaries among them."""
    draw = torch.Generator().manual_seed(0)
    made = torch.rand(batch, 3, size, size, generator=draw)
    made[:, :, 0] = made[:, :1, 0]
    made[:, 1, 1] = made[:, 0, 1]
    made[:, 2, 2] = made[:, 1, 2]
    made[:, :, 3] = (made[:, :, 3] > 0.5).float()
    return made


def values(batch: int) -> JitterValues:
    draw = torch.Generator().manual_seed(1)
    return JitterValues(
        applied=torch.arange(batch) % 5 != 4,
        factors=torch.rand(batch, 3, generator=draw) * 1.6 + 0.2,
        hue=torch.rand(batch, generator=draw) - 0.5,
        order=ORDERS[torch.arange(batch) % len(ORDERS)],
    )


def torchvisions_jitter(image: torch.Tensor, values: JitterValues, row: int) -> torch.Tensor:
    brightness, contrast, saturation = values.factors[row].tolist()
    steps = [
        lambda x: reference.adjust_brightness(x, brightness),
        lambda x: reference.adjust_contrast(x, contrast),
        lambda x: reference.adjust_saturation(x, saturation),
        lambda x: reference.adjust_hue(x, values.hue[row].item()),
    ]
    for operation in values.order[row].tolist():
        image = steps[operation](image)
    return image


def test_jitter_is_torchvisions_in_every_order():
    batch, drawn = images(120), values(120)
    done = colour.jitter(batch, drawn)
    for row in range(120):
        expected = batch[row]
        if drawn.applied[row]:
            expected = torchvisions_jitter(batch[row], drawn, row)
        assert (done[row] - expected).abs().max() < 1e-4, row


def test_the_path_without_selection_agrees_with_the_cpu_path(monkeypatch):
    batch, drawn = images(60), values(60)
    selected = colour.jitter(batch, drawn)
    monkeypatch.setattr(colour, "selects", lambda images: False)
    assert torch.equal(colour.jitter(batch, drawn), selected)


def test_jitter_leaves_its_input_alone():
    batch = images(10)
    before = batch.clone()
    colour.jitter(batch, values(10))
    assert torch.equal(batch, before)


def test_one_image_alone_is_jittered_as_in_its_batch():
    batch, drawn = images(48), values(48)
    done = colour.jitter(batch, drawn)
    for row in (0, 7, 23, 47):
        alone = _alone(drawn, row)
        assert torch.equal(colour.jitter(batch[row : row + 1], alone)[0], done[row])


def _alone(drawn: JitterValues, row: int) -> JitterValues:
    from sslbench.views.parameters import Parameters

    taken = take(Parameters(jitter=drawn), torch.tensor([row])).jitter
    assert taken is not None
    return taken


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.013, 0.37, 0.5])
def test_hue_is_torchvisions(shift):
    batch = images(8)
    done = colour.shift_hue(batch, torch.full((8,), shift))
    assert (done - reference.adjust_hue(batch, shift)).abs().max() < TOLERANCE * 5


def test_hue_keeps_greys_and_a_whole_turn_keeps_everything():
    batch = images(4)
    done = colour.shift_hue(batch, torch.full((4,), 0.3))
    assert torch.equal(done[:, :, 0], batch[:, :, 0])
    assert (colour.shift_hue(batch, torch.ones(4)) - batch).abs().max() < TOLERANCE


def test_grey_and_solarise_are_torchvisions():
    batch = images(4)
    assert (colour.grey(batch) - reference.rgb_to_grayscale(batch)).abs().max() < TOLERANCE
    assert torch.equal(colour.solarise(batch), reference.solarize(batch, 0.5))
