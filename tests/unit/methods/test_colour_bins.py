"""The bins of ab: how many, what a code holds, and that decoding finds the colour again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sslbench import backbones
from sslbench.backbones.colour_space import rgb_to_lab
from sslbench.core.errors import UserError
from sslbench.methods.parts.colour_bins import ColourBins, by_position, cells_in_gamut
from tests.contract import harness

BINS = ColourBins(10.0)


def colours(count: int = 200) -> Tensor:
    """ab (count, 2) of random sRGB colours."""
    rgb = torch.rand(1, 3, 1, count, generator=torch.Generator().manual_seed(0))
    return by_position(rgb_to_lab(rgb)[:, 1:])


def test_261_cells_hold_a_colour() -> None:
    """METHODS counted them with kornia over the whole cube of bytes; the surface finds the same."""
    assert len(BINS) == 261
    assert len(set(cells_in_gamut(10.0))) == 261
    assert (0.0, 0.0) in cells_in_gamut(10.0)


def test_every_colour_inside_the_cube_is_in_a_counted_cell() -> None:
    cells = {(10 * round(a / 10), 10 * round(b / 10)) for a, b in colours(5000).tolist()}
    assert cells <= set(cells_in_gamut(10.0))


def test_soft_codes_equal_their_restatement() -> None:
    codes = BINS.soft_codes(colours(20).double(), 10, 5.0)
    for code, ab in zip(codes, colours(20).tolist(), strict=True):
        distances = sorted(
            (math.dist(ab, centre), i) for i, centre in enumerate(BINS.centres.tolist())
        )
        shares = {i: math.exp(-(d**2) / (2 * 5.0**2)) for d, i in distances[:10]}
        expected = [shares.get(i, 0.0) / sum(shares.values()) for i in range(len(BINS))]
        assert code.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_hard_code_is_the_mode_of_the_soft_one_and_within_half_a_cell() -> None:
    hard = BINS.hard_codes(colours())
    assert torch.equal(hard, BINS.soft_codes(colours(), 10, 5.0).argmax(dim=1))
    assert (BINS.centres[hard] - colours()).abs().max() <= 5.0001


def test_decoding_a_code_gives_the_colour_back() -> None:
    logits = BINS.soft_codes(colours(), 10, 5.0).log()
    assert (BINS.decode(logits, 1.0) - colours()).norm(dim=1).max() < 5
    assert (BINS.decode(logits) - colours()).norm(dim=1).mean() < 5


def test_annealing_leads_from_the_mean_to_the_mode() -> None:
    logits = torch.full((1, len(BINS)), -100.0)
    logits[0, 3], logits[0, 200] = 0.0, -0.5
    shares = torch.softmax(torch.tensor([0.0, -0.5]) / 0.38, dim=0)
    middle = shares[0] * BINS.centres[3] + shares[1] * BINS.centres[200]
    assert torch.allclose(BINS.decode(logits)[0], middle, atol=1e-3)
    assert torch.allclose(BINS.decode(logits, 0.01)[0], BINS.centres[3], atol=1e-3)


def test_positions_are_in_reading_order() -> None:
    maps = torch.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    rows = by_position(maps)
    assert rows.shape == (8, 3)
    assert torch.equal(rows[5], maps[1, :, 0, 1])


@pytest.mark.parametrize("name", ["colorization", "split_brain"])
def test_another_backbone_is_refused(name: str) -> None:
    spec = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 8}
    made = harness.methods.load(name).METHOD
    with pytest.raises(UserError, match="sees Lab"):
        made(backbones.build(spec), harness.build_params(name), harness.data_info())


@pytest.mark.parametrize("name", ["colorization", "split_brain"])
@pytest.mark.parametrize("change", [{"grey": 0.2}, {"solarise": 0.1}])
def test_views_that_change_colours_are_refused(name: str, change: dict[str, float]) -> None:
    view = harness.SMALL["methods"][name]["views"][0] | change
    with pytest.raises(UserError, match="must keep colours"):
        harness.build_params(name, views=[view])
