"""Networks that no longer learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """Modules applied one after another, always in eval mode and without gradient.

    Attributes:
        network: the modules.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.network = nn.Sequential(*modules)
        self.network.requires_grad_(False)
        self.train(False)

    def __getitem__(self, position: int) -> nn.Module:
        """Return one of the modules, by its position."""
        return self.network[position]

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last module's output, without gradient."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def train(self, mode: bool = True) -> Frozen:
        """Stay in eval mode, whatever the method's mode."""
        del mode
        super().train(False)
        return self
