"""How wide and how fine a backbone's maps are."""

from __future__ import annotations

import torch

from sslbench.backbones.base import Backbone


@torch.no_grad()
def map_shapes(backbone: Backbone, size: int) -> dict[str, tuple[int, int]]:
    """Return each map's channels and side, found by a look at one blank image of `size` px."""
    was_training = backbone.training
    device = next(backbone.parameters()).device
    found = backbone.eval().maps(torch.zeros(1, 3, size, size, device=device))
    backbone.train(was_training)
    return {name: (each.shape[1], each.shape[2]) for name, each in found.items()}
