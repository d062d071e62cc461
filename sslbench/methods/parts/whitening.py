"""PCA-whitening: rows in the axes of largest variance, every axis brought to variance 1."""

from __future__ import annotations

import torch
from torch import Tensor

# Axes whose variance is below this share of the largest hold rounding only: they become 0.
SMALLEST_SHARE = 1e-8


@torch.no_grad()
def pca_whiten(rows: Tensor, dim: int) -> Tensor:
    """Return rows (num_rows, dim), float32, uncorrelated and of mean 0 and variance 1.

    Args:
        rows: (num_rows, wider), in any precision; computed in float64.
        dim: how many axes are kept, at most the rows' width.
    """
    centred = rows.double() - rows.double().mean(dim=0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(rows))  # rising
    variances, axes = variances[-dim:], axes[:, -dim:]
    there = variances > SMALLEST_SHARE * variances[-1]
    scale = torch.where(there, variances.clamp_min(1e-300).rsqrt(), 0.0)
    white: Tensor = (centred @ axes * scale).float()
    return white
