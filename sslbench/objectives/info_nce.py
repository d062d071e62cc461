"""InfoNCE: tell each row's own partner from other rows by their cosines.

Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4. lightly's NTXentLoss is
another loss: it adds negatives of the same view, and its queue is lost at a resume.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def batch_cosines(rows: Tensor, partners: Tensor) -> Tensor:
    """Return cosines (batch, batch) of (batch, dim) rows and partners; own on the diagonal."""
    return functional.normalize(rows, dim=1) @ functional.normalize(partners, dim=1).T


def queue_cosines(rows: Tensor, partners: Tensor, negatives: Tensor) -> Tensor:
    """Return cosines (batch, 1 + num_negatives): each row's own partner's first.

    Args:
        rows: (batch, dim).
        partners: (batch, dim).
        negatives: (num_negatives, dim), unit length.
    """
    rows, partners = functional.normalize(rows, dim=1), functional.normalize(partners, dim=1)
    positive = (rows * partners).sum(dim=1, keepdim=True)
    return torch.cat([positive, rows @ negatives.T], dim=1)


def info_nce(cosines: Tensor, own: Tensor, temperature: float) -> Tensor:
    """Return the mean cross entropy of the own partner among all candidates.

    Args:
        cosines: (batch, num_candidates).
        own: (batch,) column of each row's own partner.
        temperature: divides the cosines.
    """
    return functional.cross_entropy(cosines / temperature, own)


def accuracy(cosines: Tensor, own: Tensor) -> Tensor:
    """Return the share of rows whose own partner is the nearest candidate, a detached scalar."""
    return (cosines.detach().argmax(dim=1) == own).float().mean()
