"""Noise-contrastive estimation against a bank: is this row the image's own, or another's?"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class BankNCE(nn.Module):
    """NCE of projections against rows of a bank, with the partition function as a constant.

    P(i | v) = exp(u_i . v / temperature) / Z, noise is uniform over the bank, and the loss is
    -log h(own) - sum over negatives of log(1 - h), h = P / (P + K / N) with K negatives of N rows.

    Source: Wu et al. 2018, https://arxiv.org/abs/1805.01978, eq. 4 to 8.

    Attributes:
        normaliser: Z, estimated from the first batch after `forget` (eq. 8); 0 until then. A
            buffer, or a resumed run would count with another one.
    """

    normaliser: Tensor

    def __init__(self, num_samples: int, temperature: float) -> None:
        super().__init__()
        self.num_samples = num_samples
        self.temperature = temperature
        self.register_buffer("normaliser", torch.zeros(()))

    def forget(self) -> None:
        """Let the next batch estimate Z anew."""
        self.normaliser.zero_()

    def forward(self, similarities: Tensor) -> Tensor:
        """Return the loss of cosines (batch, 1 + num_negatives), the image's own row first."""
        logits = similarities / self.temperature
        self._estimate(logits[:, 1:].detach())
        return nce_loss(logits, self.normaliser, self.num_samples)

    def _estimate(self, logits: Tensor) -> None:
        """Set Z from negatives, (batch, num_negatives), if it is unknown; without a wait."""
        estimate = logits.exp().mean() * self.num_samples
        self.normaliser.copy_(torch.where(self.normaliser > 0, self.normaliser, estimate))


def nce_loss(logits: Tensor, normaliser: Tensor, num_samples: int) -> Tensor:
    """Return the mean over the batch of -log h(own) - sum of log(1 - h(other)).

    h = P / (P + K / N) is a sigmoid of log P - log(K / N), which exponentials cannot overflow.

    Args:
        logits: (batch, 1 + num_negatives) cosines over the temperature, the own row's first.
        normaliser: () Z.
        num_samples: N, rows of the bank.
    """
    num_negatives = logits.shape[1] - 1
    odds = logits - normaliser.log() - math.log(num_negatives / num_samples)
    own, others = functional.softplus(-odds[:, 0]), functional.softplus(odds[:, 1:])
    return (own + others.sum(dim=1)).mean()


def own_and_others(
    index: Tensor, num_samples: int, num_negatives: int, generator: torch.Generator
) -> Tensor:
    """Return (batch, 1 + num_negatives) positions in the bank: each image's own, then others'.

    The others are drawn uniformly, with replacement, and never are the image itself: in a small
    bank it would often be its own negative.
    """
    shape = (len(index), num_negatives)
    others = torch.randint(num_samples - 1, shape, generator=generator, device=index.device)
    others += others >= index[:, None]
    return torch.cat([index[:, None], others], dim=1)


def compare(projections: Tensor, rows: Tensor) -> Tensor:
    """Return dot products (batch, num_rows) of projections (batch, dim) with each one's own rows.

    Args:
        projections: (batch, dim).
        rows: (batch, num_rows, dim).
    """
    return torch.bmm(rows, projections[:, :, None])[:, :, 0]


def own_row_wins(similarities: Tensor) -> Tensor:
    """Return the share of images that are nearest to their own row, the first of the columns."""
    return (similarities.detach().argmax(dim=1) == 0).float().mean()
