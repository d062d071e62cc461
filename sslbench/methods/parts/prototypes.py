"""Prototypes: unit vectors that unit projections are compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.methods.base import Progress
from sslbench.objectives.precision import in_float32


class Prototypes(nn.Module):
    """Learned unit rows without bias; lightly's own carry a bias that the paper does not have.

    The method calls `normalise` before each step and `freeze` after each backward pass.

    Attributes:
        weight: (num_prototypes, dim).
        frozen_epochs: epochs at the start during which the prototypes stay as they were drawn.
    """

    def __init__(self, num_prototypes: int, dim: int, *, frozen_epochs: int = 0) -> None:
        super().__init__()
        self.frozen_epochs = frozen_epochs
        self.weight = nn.Linear(dim, num_prototypes, bias=False).weight
        self.normalise()

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring every prototype back to unit length."""
        self.weight.copy_(functional.normalize(self.weight, dim=1))

    def freeze(self, progress: Progress) -> None:
        """Drop the gradient while the prototypes are frozen."""
        if progress.epoch < self.frozen_epochs:
            self.weight.grad = None

    def forward(self, projections: Tensor) -> Tensor:
        """Return cosines (rows, num_prototypes) of unit projections (rows, dim), in float32."""
        return in_float32(functional.linear, projections, self.weight)
