"""Pixel masks: one hole of the right size, in the right place."""

from __future__ import annotations

import pytest
import torch

from sslbench.core.errors import UserError
from sslbench.views.masks import block_mask


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_centred_hole_is_in_the_middle():
    mask = block_mask(3, 8, 4, generator(), centred=True)
    assert mask.shape == (3, 1, 8, 8)
    assert mask.dtype == torch.bool
    assert mask[:, :, 2:6, 2:6].all()
    assert (mask.flatten(1).sum(1) == 16).all()


def test_random_holes_have_the_size_and_reach_every_place():
    mask = block_mask(500, 6, 3, generator(), centred=False)[:, 0]
    assert (mask.flatten(1).sum(1) == 9).all()
    assert (mask.any(2).sum(1) == 3).all()
    assert len(torch.unique(mask, dim=0)) == 16


def test_the_generator_decides():
    masks = [block_mask(9, 16, 5, generator(seed), centred=False) for seed in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("hole", [0, 9])
def test_an_impossible_hole_is_refused(hole):
    with pytest.raises(UserError, match="1 to 8 px"):
        block_mask(1, 8, hole, generator(), centred=True)
