"""Masks over pixels; masks over patches are lightly's (`lightly.models.utils`)."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.core.errors import UserError


def block_mask(
    batch: int, size: int, hole: int, generator: torch.Generator, centred: bool
) -> Tensor:
    """Return masks (batch, 1, size, size), true in one square hole of each image.

    Args:
        batch: number of masks.
        size: side of the images in pixels.
        hole: side of the hole in pixels.
        generator: the stream that places the holes, and their device; untouched when centred.
        centred: whether every hole is in the middle (context encoders, arXiv 1604.07379,
            figure 3a) rather than anywhere inside the image.

    Raises:
        UserError: a hole that is empty or larger than the image.
    """
    if not 1 <= hole <= size:
        raise UserError(f"hole must be 1 to {size} px, found {hole}", where="block mask")
    device, room = generator.device, size - hole
    if centred:
        corner = torch.full((batch, 2), room // 2, device=device)
    else:
        corner = torch.randint(room + 1, (batch, 2), generator=generator, device=device)
    offset = torch.arange(size, device=device) - corner[:, :, None]
    inside = (offset >= 0) & (offset < hole)
    return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
