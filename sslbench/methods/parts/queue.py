"""A memory of the last rows, first in, first out, that survives a resume."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """The last `size` rows that were pushed, in persistent buffers.

    lightly's bank is not saved with the method and drops the rest of a batch where it wraps around;
    here it wraps row by row.

    Attributes:
        rows: (size, dim), zero until written; the order means nothing.
        position: where the next row goes.
    """

    rows: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Put (batch, dim) rows in place of the oldest."""
        size = len(self.rows)
        newest = rows[-size:].to(self.rows.dtype)
        places = (self.position + torch.arange(len(newest), device=newest.device)) % size
        self.rows.index_copy_(0, places, newest)
        self.position.add_(len(newest)).remainder_(size)
