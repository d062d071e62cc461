"""The two sides of a generative adversarial game, on logits, the non-saturating form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return -mean log D(real) - mean log(1 - D(fake)); 2 log 2 where D answers one half.

    Source: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, eq. 1.
    """
    real = functional.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
    fake = functional.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
    return real + fake


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Return -mean log D(fake), the non-saturating generator loss (same paper, section 3)."""
    return functional.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))
