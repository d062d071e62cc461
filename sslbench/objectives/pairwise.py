"""Pairwise margin loss: pairs of one image come together, all others move a margin apart."""

from __future__ import annotations

import torch
from torch import Tensor

# A distance of zero has no gradient; the square root's is cut off here.
_LEAST_SQUARE = 1e-12


def pairwise_loss(first: Tensor, second: Tensor, margin: float, is_squared: bool) -> Tensor:
    """Return mean d over positive pairs + mean max(0, margin - d) over negative pairs.

    Source: Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", eq. 4
    (there both terms are squared and halved). A collapsed network scores the margin.

    Args:
        first: (batch, dim), unit rows; first[i] and second[i] are views of one image.
        second: (batch, dim), unit rows.
        margin: in units of distance; two orthogonal rows are sqrt(2) apart.
        is_squared: whether both terms are squared.
    """
    rows = torch.cat([first, second])
    # |u - v|^2 of unit rows
    distances = (2 - 2 * rows @ rows.T).clamp_min(_LEAST_SQUARE).sqrt()
    short = (margin - distances).relu()
    attraction = distances.diagonal(len(first))  # each image's pair, once
    if is_squared:
        attraction, short = attraction.square(), short.square()
    image = torch.arange(len(rows), device=rows.device) % len(first)
    is_negative = image[:, None] != image
    return attraction.mean() + (short * is_negative).sum() / is_negative.sum()
