"""The three-layer head of Barlow Twins and VICReg."""

from __future__ import annotations

from lightly.models.modules.heads import ProjectionHead
from torch import nn


def expander(input_dim: int, hidden_dim: int, output_dim: int) -> nn.Module:
    """Return two layers with batch norm and ReLU, and a last one without bias.

    lightly's heads end in a bias, which neither loss can see: both centre the projections. The
    authors' have none (barlowtwins/main.py, vicreg/main_vicreg.py). VICReg's paper calls it so.
    """
    head: nn.Module = ProjectionHead(
        [
            (input_dim, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()),
            (hidden_dim, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU()),
            (hidden_dim, output_dim, None, None, False),
        ]
    )
    return head
