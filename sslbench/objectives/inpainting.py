"""Pixel error of a predicted block, heavier on the ring that overlaps the visible context."""

from __future__ import annotations

import torch
from torch import Tensor


def ring_weights(side: int, overlap: int, weight: float) -> Tensor:
    """Return (side, side) weights: `weight` on the outer ring `overlap` pixels wide, 1 inside."""
    weights = torch.full((side, side), weight)
    weights[overlap : side - overlap, overlap : side - overlap] = 1.0
    return weights


def weighted_squared_error(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over pixels of weights * (predicted - target)^2.

    Source: context encoders, https://arxiv.org/abs/1604.07379, eq. 1 and section 3.1 ("higher
    weight (10x) for the reconstruction loss in this overlapping region").

    Args:
        predicted: (batch, channel, side, side).
        target: the same shape.
        weights: (side, side).
    """
    return (weights * (predicted - target).square()).mean()
