"""Geometry against torchvision's, image by image."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from sslbench.views import geometry

WINDOWS = [
    (0, 0, 32, 40),
    (3, 5, 20, 11),
    (31, 39, 1, 1),
    (0, 12, 32, 7),
    (8, 8, 16, 16),
    (2, 1, 9, 30),
]


def images(batch: int = len(WINDOWS), height: int = 32, width: int = 40) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [8, 16, 24, 48])
def test_crops_are_torchvisions_antialiased_resized_crop(size):
    batch = images()
    flip = torch.arange(len(WINDOWS)) % 2 == 1
    done = geometry.resized_crop(batch, torch.tensor(WINDOWS, dtype=torch.float32), flip, size)
    for row, window in enumerate(WINDOWS):
        expected = reference.resized_crop(batch[row], *window, [size, size], antialias=True)
        expected = reference.horizontal_flip(expected) if flip[row] else expected
        assert (done[row] - expected).abs().max() < 1e-5, window


def test_one_crop_alone_is_the_same_crop_in_a_batch():
    batch, windows = images(), torch.tensor(WINDOWS, dtype=torch.float32)
    done = geometry.resized_crop(batch, windows, None, 24)
    for row in range(len(WINDOWS)):
        alone = geometry.resized_crop(batch[row : row + 1], windows[row : row + 1], None, 24)
        assert torch.equal(alone[0], done[row])


def test_a_window_of_the_whole_image_at_its_size_changes_nothing():
    batch = images(2, 32, 32)
    whole = torch.tensor([[0.0, 0.0, 32.0, 32.0]] * 2)
    assert (geometry.resized_crop(batch, whole, None, 32) - batch).abs().max() < 1e-6


@pytest.mark.parametrize("degrees", [-30.0, 0.0, 12.0, 90.0])
def test_rotation_is_torchvisions_away_from_the_corners(degrees):
    batch = images(2, 33, 33)
    done = geometry.rotate(batch, torch.full((2,), math.radians(degrees)))
    expected = reference.rotate(batch, degrees, interpolation=reference.InterpolationMode.BILINEAR)
    inner = slice(9, 24)
    assert (done - expected)[:, :, inner, inner].abs().max() < 1e-4


def test_rotation_fills_corners_by_reflection():
    done = geometry.rotate(torch.ones(1, 3, 16, 16), torch.tensor([0.6]))
    assert torch.allclose(done, torch.ones_like(done), atol=1e-5)


@pytest.mark.parametrize(("size", "radius"), [(32, 6), (9, 8), (16, 2), (5, 4)])
def test_blur_is_torchvisions(size, radius):
    batch = images(3, size, size)
    sigma = torch.tensor([0.1, 0.7, 2.0])
    done = geometry.gaussian_blur(batch, sigma, radius)
    taps = 2 * radius + 1
    for row in range(3):
        expected = reference.gaussian_blur(batch[row], [taps, taps], [sigma[row].item()] * 2)
        assert (done[row] - expected).abs().max() < 1e-5


def test_the_blurs_radius_reaches_three_sigma_within_the_image():
    assert geometry.blur_radius(2.0, 32) == 6
    assert geometry.blur_radius(2.0, 4) == 3
    assert geometry.blur_radius(0.5, 224) == 2
