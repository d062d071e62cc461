"""Masks over tokens, drawn from an explicit generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Rectangles tried for each image; most images have their share after five.
_BLOCK_TRIES = 16
# Height over width lies between 0.3 and its inverse (BEiT, algorithm 1).
_LOG_ASPECT = math.log(1 / 0.3)


def random_token_mask(
    batch: int, num_patches: int, num_prefix_tokens: int, ratio: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the indices of kept and of masked tokens, a uniform draw per image.

    Prefix tokens (a class token) are always kept and come first. lightly's function of this name
    draws from the global generator and takes no other, hence this one.

    Args:
        batch: number of images.
        num_patches: patch tokens of an image.
        num_prefix_tokens: tokens before the patches.
        ratio: share of patches that is masked, in (0, 1).
        generator: the stream to draw from; the result lies on its device.

    Returns:
        Token indices (batch, num_prefix_tokens + num_kept) and (batch, num_masked); together
        every token once.
    """
    num_masked = min(max(round(ratio * num_patches), 1), num_patches - 1)
    noise = torch.rand(batch, num_patches, generator=generator, device=generator.device)
    order = noise.argsort(dim=1) + num_prefix_tokens
    prefix = torch.arange(num_prefix_tokens, device=order.device).expand(batch, -1)
    kept = torch.cat([prefix, order[:, num_masked:]], dim=1)
    return kept, order[:, :num_masked]


def unit_token_mask(
    batch: int, grid_size: int, unit: int, ratio: float, generator: torch.Generator
) -> Tensor:
    """Return masks (batch, grid_size, grid_size), true in whole units of unit x unit patches.

    Source: SimMIM, arXiv 2111.09886, section 3.2; the number of masked units is rounded up, as in
    its authors' MaskGenerator.

    Args:
        batch: number of images.
        grid_size: patches along a side; a multiple of unit.
        unit: patches along a side of a unit.
        ratio: share of units that is masked, in (0, 1].
        generator: the stream to draw from; the result lies on its device.
    """
    side = grid_size // unit
    num_masked = math.ceil(ratio * side**2)
    noise = torch.rand(batch, side**2, generator=generator, device=generator.device)
    rank = noise.argsort(dim=1).argsort(dim=1)
    units = (rank < num_masked).view(batch, side, side)
    return units.repeat_interleave(unit, dim=1).repeat_interleave(unit, dim=2)


@dataclass(frozen=True, kw_only=True)
class BlockMask:
    """Masks made of rectangles, on some of the images.

    Attributes:
        probability: of an image being masked at all.
        ratio: range of the largest share of patches hidden in a masked image.
    """

    probability: float
    ratio: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse what is no probability, and a reversed range or one that hides everything."""
        if not 0 <= self.probability <= 1:
            raise ValueError(f"mask probability must lie in [0, 1], found {self.probability}")
        if not 0 <= self.ratio[0] <= self.ratio[1] < 1:
            raise ValueError(f"mask ratio must be ordered in [0, 1), found {self.ratio}")


def block_token_mask(
    batch: int, grid_size: int, mask: BlockMask, generator: torch.Generator
) -> Tensor:
    """Return masks (batch, grid_size, grid_size), true in overlapping rectangles.

    A masked image draws its share uniformly from the range, then takes rectangles of random area
    and shape as long as they hide something new and do not exceed the share; so a mask may stay
    somewhat below it, and a share below one patch leaves it empty. Source: BEiT, arXiv 2106.08254,
    algorithm 1, with iBOT's shares and smallest area
    (https://github.com/bytedance/ibot/blob/c24f870dc85c0322200e66399c05af193b8c9554/loader.py).
    lightly's `random_block_mask` draws from Python's global generator, hence this one.

    Args:
        batch: number of images.
        grid_size: patches along a side.
        mask: probability and range of shares.
        generator: the stream to draw from; the result lies on its device.
    """
    device = generator.device
    chosen, share = torch.rand(2, batch, generator=generator, device=device)
    low, high = mask.ratio
    ratio = torch.where(chosen < mask.probability, low + (high - low) * share, 0.0)
    draws = torch.rand(_BLOCK_TRIES, 4, batch, generator=generator, device=device)
    return _add_blocks(ratio * grid_size**2, grid_size, draws)


def _add_blocks(most: Tensor, grid_size: int, draws: Tensor) -> Tensor:
    """Return masks (batch, grid_size, grid_size) of at most `most` (batch,) patches each.

    Each of the draws (tries, 4, batch) in [0, 1) is one rectangle's area, aspect and corner.
    """
    mask = torch.zeros(len(most), grid_size, grid_size, dtype=torch.bool, device=most.device)
    least_area = (grid_size // 3) ** 2
    for area, shape, top, left in draws:
        room = most - mask.sum(dim=(1, 2))
        size = (least_area + (room - least_area) * area).clamp_min(0.0)
        aspect = torch.exp(_LOG_ASPECT * (2.0 * shape - 1.0))
        height, width = (size * aspect).sqrt().round(), (size / aspect).sqrt().round()
        rows, columns = _span(height, grid_size, top), _span(width, grid_size, left)
        block = rows[:, :, None] & columns[:, None, :]
        fresh = (block & ~mask).sum(dim=(1, 2))
        fits = (height < grid_size) & (width < grid_size) & (fresh > 0) & (fresh <= room)
        mask |= block & fits[:, None, None]
    return mask


def _span(length: Tensor, grid_size: int, draw: Tensor) -> Tensor:
    """Return (batch, grid_size), true over length (batch,) cells from a uniform start."""
    start = (draw * (grid_size - length + 1)).floor()[:, None]
    cell = torch.arange(grid_size, device=length.device)
    return (cell >= start) & (cell < start + length[:, None])


def focal_token_mask(
    batch: int, grid_size: int, num_prefix_tokens: int, side: int, generator: torch.Generator
) -> Tensor:
    """Return the indices of the tokens kept: one square of patches an image, all else is masked.

    Source: MSN, arXiv 2204.07141, section 3 ("focal mask").

    Args:
        batch: number of images.
        grid_size: patches along a side of the image.
        num_prefix_tokens: tokens before the patches, which are kept and come first.
        side: patches along a side of the square.
        generator: the stream to draw from; the result lies on its device.

    Returns:
        Token indices (batch, num_prefix_tokens + side^2).
    """
    device = generator.device
    corner = torch.randint(grid_size - side + 1, (batch, 2, 1), generator=generator, device=device)
    rows, columns = (corner + torch.arange(side, device=device)).unbind(dim=1)
    patches = (rows[:, :, None] * grid_size + columns[:, None, :]).flatten(1)
    prefix = torch.arange(num_prefix_tokens, device=device).expand(batch, -1)
    return torch.cat([prefix, patches + num_prefix_tokens], dim=1)
