"""sRGB to Lab: published values, a restatement with its inverse, and what a grey is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslbench.backbones.colour_space import rgb_to_lab


def colour(*rgb: float) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float64)[None, :, None, None]


def lab_to_rgb(lightness: float, a: float, b: float) -> list[float]:
    """The inverse, from CIE 15 and IEC 61966-2-1; the matrix is inverted, not quoted."""
    y = (lightness + 16) / 116
    roots = [y + a / 500, y, y - b / 200]
    xyz = [
        white * (root**3 if root**3 > 0.008856 else (root - 16 / 116) / 7.787)
        for root, white in zip(roots, (0.95047, 1.0, 1.08883), strict=True)
    ]
    to_xyz = [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
    linear = torch.linalg.solve(torch.tensor(to_xyz).double(), torch.tensor(xyz).double())
    return [v * 12.92 if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in linear]


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_corners_have_their_published_values(rgb, lab) -> None:
    assert rgb_to_lab(colour(*rgb)).flatten().tolist() == pytest.approx(lab, abs=0.02)


@pytest.mark.parametrize("lab", [(50, 0, 0), (60, 20, -30), (30, 15, 10), (3, 1, -1), (90, -5, 8)])
def test_there_and_back_is_the_same_colour(lab) -> None:
    rgb = lab_to_rgb(*lab)
    assert all(0 <= value <= 1 for value in rgb)
    assert rgb_to_lab(colour(*rgb)).flatten().tolist() == pytest.approx(lab, abs=1e-3)


def test_greys_have_no_colour_and_lightness_rises() -> None:
    level = torch.linspace(0, 1, 256)
    lightness, a, b = rgb_to_lab(level.expand(1, 3, 1, 256))[0, :, 0]
    assert torch.cat([a, b]).abs().max() < 0.02
    assert (lightness.diff() > 0).all()


def test_precision_stays_whatever_autocast_says() -> None:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    exact = rgb_to_lab(images.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rgb_to_lab(images)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, atol=1e-3)
