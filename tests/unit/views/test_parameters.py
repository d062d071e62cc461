"""Chance: torchvision's distributions, from one explicit generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import ColorJitter, RandomResizedCrop

from sslbench.views.parameters import draw
from sslbench.views.policy import PLAIN, Blur, Crop, Jitter

COUNT = 3000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def torchvisions_windows(crop: Crop, height: int, width: int, count: int) -> np.ndarray:
    image = torch.empty(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        found = [
            RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio))
            for _ in range(count)
        ]
    return np.array(found, dtype=np.float64)


@pytest.mark.parametrize(
    ("crop", "height", "width"),
    [
        (Crop(scale=(0.08, 1.0), ratio=(0.75, 4 / 3)), 32, 32),
        (Crop(scale=(0.5, 1.0), ratio=(0.75, 4 / 3)), 24, 64),
        (Crop(scale=(0.9, 1.0), ratio=(0.2, 5.0)), 40, 40),
    ],
)
def test_crop_windows_are_distributed_as_torchvisions(crop, height, width):
    view = replace(PLAIN, crop=crop)
    ours = draw(view, COUNT, height, width, generator()).window
    theirs = torchvisions_windows(crop, height, width, COUNT)
    for column in range(4):
        pair = ours[:, column].double().numpy(), theirs[:, column]
        assert stats.ks_2samp(*pair).pvalue > 1e-3, column
    areas = (ours[:, 2] * ours[:, 3]).double().numpy(), theirs[:, 2] * theirs[:, 3]
    assert stats.ks_2samp(*areas).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(20, 200), (200, 20), (33, 301)])
def test_a_crop_that_never_fits_is_torchvisions_central_one(height, width):
    crop = Crop(scale=(1.0, 1.0), ratio=(0.75, 4 / 3))
    window = draw(replace(PLAIN, crop=crop), 5, height, width, generator()).window
    theirs = torchvisions_windows(crop, height, width, 1)
    assert (window.double().numpy() == theirs).all()


def test_windows_are_whole_and_inside():
    crop = Crop(scale=(0.02, 1.0), ratio=(0.3, 3.0))
    window = draw(replace(PLAIN, crop=crop), COUNT, 17, 29, generator()).window
    assert torch.equal(window, window.round())
    assert (window[:, :2] >= 0).all()
    assert (window[:, 2:] >= 1).all()
    assert (window[:, 0] + window[:, 2] <= 17).all()
    assert (window[:, 1] + window[:, 3] <= 29).all()


def test_padding_shifts_uniformly_over_every_place():
    window = draw(replace(PLAIN, pad=2), COUNT, 8, 8, generator()).window
    for column in (0, 1):
        counts = torch.bincount(window[:, column].long(), minlength=5)
        assert len(counts) == 5
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert (window[:, 2:] == 8).all()


def test_jitter_lies_in_torchvisions_ranges_and_in_every_order():
    jitter = Jitter(probability=0.8, brightness=0.4, contrast=1.5, saturation=0.0, hue=0.1)
    drawn = draw(replace(PLAIN, jitter=jitter), COUNT, 8, 8, generator()).jitter
    assert drawn.applied.float().mean().item() == pytest.approx(0.8, abs=0.03)
    low, high = drawn.factors.amin(0), drawn.factors.amax(0)
    assert torch.allclose(low, torch.tensor([0.6, 0.0, 1.0]), atol=0.01)
    assert torch.allclose(high, torch.tensor([1.4, 2.5, 1.0]), atol=0.01)
    assert drawn.hue.abs().max().item() == pytest.approx(0.1, abs=0.001)
    orders, counts = torch.unique(drawn.order, dim=0, return_counts=True)
    assert len(orders) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def torchvisions_jitter(jitter: Jitter, count: int) -> np.ndarray:
    """Return draws (count, 8): the order, then brightness, contrast, saturation and hue."""
    ranges = ColorJitter(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    limits = ranges.brightness, ranges.contrast, ranges.saturation, ranges.hue
    with torch.random.fork_rng():
        torch.manual_seed(5)
        found = [ColorJitter.get_params(*limits) for _ in range(count)]
    return np.array([[*order.tolist(), *factors] for order, *factors in found])


def test_jitter_is_distributed_as_torchvisions():
    jitter = Jitter(probability=1.0, brightness=0.4, contrast=1.5, saturation=0.8, hue=0.1)
    drawn = draw(replace(PLAIN, jitter=jitter), COUNT, 8, 8, generator()).jitter
    theirs = torchvisions_jitter(jitter, COUNT)
    ours = torch.cat([drawn.order, drawn.factors, drawn.hue[:, None]], dim=1).double().numpy()
    for column in range(4, 8):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3, column
    for place in range(4):
        counts = [np.bincount(draws[:, place].astype(int)) for draws in (ours, theirs)]
        assert stats.chi2_contingency(np.array(counts)).pvalue > 1e-3, place


@pytest.mark.parametrize("what", ["flip", "grey", "solarise"])
def test_what_happens_by_chance_happens_as_often_as_asked(what):
    drawn = draw(replace(PLAIN, **{what: 0.2}), COUNT, 8, 8, generator())
    happened = int(getattr(drawn, what).sum())
    assert stats.binomtest(happened, COUNT, 0.2).pvalue > 1e-3


def test_what_is_off_is_not_drawn():
    drawn = draw(PLAIN, 4, 8, 8, generator())
    assert all(value is None for value in vars(drawn).values())
    source = generator()
    before = source.get_state()
    draw(PLAIN, 4, 8, 8, source)
    assert torch.equal(before, source.get_state())


def test_blur_has_its_probability_and_range():
    blur = Blur(probability=0.3, sigma=(0.5, 2.0))
    sigma = draw(replace(PLAIN, blur=blur), COUNT, 8, 8, generator()).sigma
    assert (sigma > 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert sigma[sigma > 0].min() >= 0.5
    assert sigma.max() <= 2.0


def test_rotation_is_symmetric_and_bounded():
    angle = draw(replace(PLAIN, rotation=90.0), COUNT, 8, 8, generator()).angle
    assert angle.abs().max() <= np.pi / 2
    assert angle.mean().abs() < 0.06
