"""Masks over tokens, drawn from an explicit generator."""

from __future__ import annotations

import torch
from torch import Tensor


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
