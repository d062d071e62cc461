"""Masks over patches: sizes, shapes, places, and chance from the generator alone."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from sslbench.views.token_masks import (
    BlockMask,
    block_token_mask,
    focal_token_mask,
    random_token_mask,
    unit_token_mask,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blocks(batch: int = 200, grid: int = 8, seed: int = 0, **changes: object) -> Tensor:
    values = {"probability": 1.0, "ratio": (0.1, 0.5)} | changes
    return block_token_mask(batch, grid, BlockMask(**values), generator(seed))


def drawn(seed: int) -> list[Tensor]:
    return [
        random_token_mask(4, 64, 1, 0.5, generator(seed))[0],
        unit_token_mask(4, 8, 2, 0.6, generator(seed)),
        blocks(4, seed=seed),
        focal_token_mask(4, 8, 1, 4, generator(seed)),
    ]


def test_the_generator_decides_and_no_other_chance() -> None:
    torch.manual_seed(1)
    random.seed(1)
    first = drawn(0)
    torch.manual_seed(2)
    random.seed(2)
    before = torch.get_rng_state()
    again = drawn(0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, drawn(3), strict=True))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_kept_and_masked_tokens_are_every_token_once(prefix: int) -> None:
    kept, masked = random_token_mask(5, 16, prefix, 0.75, generator())
    assert kept.shape == (5, prefix + 4)
    together = torch.cat([kept, masked], dim=1).sort(dim=1).values
    assert torch.equal(together, torch.arange(16 + prefix).expand(5, -1))
    assert torch.equal(kept[:, :prefix], torch.arange(prefix).expand(5, -1))


def test_every_patch_is_kept_now_and_then_the_last_one_too() -> None:
    kept, _ = random_token_mask(500, 16, 1, 0.75, generator())
    assert torch.unique(kept).tolist() == list(range(17))


@pytest.mark.parametrize(("unit", "ratio"), [(1, 0.6), (2, 0.6), (4, 0.3)])
def test_units_are_hidden_whole_and_their_number_is_rounded_up(unit: int, ratio: float) -> None:
    mask = unit_token_mask(50, 8, unit, ratio, generator())
    units = (8 // unit) ** 2
    wanted = math.ceil(ratio * units)
    assert mask.shape == (50, 8, 8)
    assert (mask.flatten(1).sum(dim=1) == wanted * unit**2).all()
    tiles = mask.unfold(1, unit, unit).unfold(2, unit, unit).flatten(3)
    assert torch.equal(tiles.any(dim=3), tiles.all(dim=3))


def test_units_reach_every_place() -> None:
    mask = unit_token_mask(400, 8, 2, 0.6, generator()).float().mean(dim=0)
    assert (mask - 10 / 16).abs().max() < 0.12


def test_blocks_never_exceed_their_share_and_come_near_it() -> None:
    for low, high in ((0.1, 0.5), (0.3, 0.3)):
        count = blocks(ratio=(low, high)).flatten(1).sum(dim=1)
        assert count.max() <= high * 64
        assert count.float().mean() > 0.85 * (low + high) / 2 * 64


def test_blocks_hide_some_images_only() -> None:
    hidden = blocks(1000, probability=0.5).flatten(1).any(dim=1)
    assert float(hidden.float().mean()) == pytest.approx(0.5, abs=0.06)
    assert not blocks(probability=0.0).any()


def test_blocks_are_of_one_piece_rather_than_scattered() -> None:
    def neighbours(mask: Tensor) -> float:
        return float((mask[:, 1:] & mask[:, :-1]).sum() / mask.sum())

    mask = blocks(ratio=(0.3, 0.3))
    scattered = mask.flatten(1)[:, torch.randperm(64, generator=generator())].view_as(mask)
    assert neighbours(mask) > 1.8 * neighbours(scattered)


def test_blocks_reach_every_place() -> None:
    assert blocks(500).any(dim=0).all()


@pytest.mark.parametrize("grid", [1, 2, 3, 4])
def test_blocks_on_a_tiny_grid_leave_something_visible(grid: int) -> None:
    assert not blocks(50, grid, ratio=(0.5, 0.5)).flatten(1).all(dim=1).any()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"probability": 1.5, "ratio": (0.1, 0.5)}, "probability"),
        ({"probability": 0.5, "ratio": (0.5, 0.1)}, "ratio"),
        ({"probability": 0.5, "ratio": (0.5, 1.0)}, "ratio"),
    ],
)
def test_impossible_block_masks_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BlockMask(**values)


@pytest.mark.parametrize("side", [1, 3, 8])
def test_a_focal_mask_keeps_one_square_and_the_class_token(side: int) -> None:
    kept = focal_token_mask(300, 8, 1, side, generator())
    assert kept.shape == (300, 1 + side**2)
    assert (kept[:, 0] == 0).all()
    rows, columns = (kept[:, 1:] - 1) // 8, (kept[:, 1:] - 1) % 8
    for place in (rows, columns):
        assert (place.max(dim=1).values - place.min(dim=1).values == side - 1).all()
    assert all(len(set(row)) == side**2 for row in kept[:, 1:].tolist())
    assert torch.unique(kept).tolist() == list(range(65))
