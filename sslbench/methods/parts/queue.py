"""A memory of the newest rows, whatever images they came from; it survives a resume."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Queue(nn.Module):
    """The newest `size` unit rows, first in, first out, in persistent buffers.

    lightly's bank is not persistent, so a resumed run restarts it from noise, and it drops the
    end of a batch that does not fit before the wrap; here every row is kept, whatever the sizes.

    Until `size` rows have been pushed, the rest are random unit rows drawn at construction, as in
    MoCo's code: easy negatives that are no images. `noise_share` says how many there still are.

    A push replaces the tensor `rows`, so a loss that used it before keeps what it used.

    Attributes:
        rows: (size, dim) unit rows; the oldest stands at `num_pushed` modulo size.
        num_pushed: rows pushed so far, a scalar.
    """

    rows: Tensor
    num_pushed: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", functional.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("num_pushed", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Replace the oldest rows by (batch, dim), brought to unit length.

        Of more rows than the queue holds, the last ones stay.
        """
        size = len(self.rows)
        places = (self.num_pushed + torch.arange(len(rows), device=self.rows.device)) % size
        fresh = functional.normalize(rows.to(self.rows.dtype), dim=1)
        self.rows = self.rows.index_copy(0, places[-size:], fresh[-size:])
        self.num_pushed.add_(len(rows))

    def noise_share(self) -> Tensor:
        """Return the share of rows that are still random, a scalar."""
        return (1.0 - self.num_pushed / len(self.rows)).clamp_min(0.0)
