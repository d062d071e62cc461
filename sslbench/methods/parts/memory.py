"""Memories that survive a resume: rows addressed by the image's position in the train split."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class IndexBank(nn.Module):
    """One unit row per train image, kept in a persistent buffer.

    lightly's memory banks are queues in non-persistent buffers: they cannot be addressed by image
    and a resumed run restarts them from noise, hence this one.

    Attributes:
        rows: (num_samples, dim), zero until written.
        momentum: share of the old row kept at a write; 0 replaces it.
    """

    rows: Tensor

    def __init__(self, num_samples: int, dim: int, *, momentum: float = 0.0) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("rows", torch.zeros(num_samples, dim))

    @torch.no_grad()
    def fill(self, rows: Tensor) -> None:
        """Replace every row: (num_samples, dim), brought to unit length."""
        self.rows.copy_(functional.normalize(rows.float(), dim=1))

    @torch.no_grad()
    def write(self, index: Tensor, rows: Tensor) -> None:
        """Mix (batch, dim) rows into those at index (batch,), brought to unit length."""
        fresh = functional.normalize(rows.float(), dim=1)
        mixed = self.momentum * self.rows[index] + (1.0 - self.momentum) * fresh
        self.rows[index] = functional.normalize(mixed, dim=1)

    def read(self, index: Tensor) -> Tensor:
        """Return the rows at index (batch,) as (batch, dim)."""
        return self.rows[index]
