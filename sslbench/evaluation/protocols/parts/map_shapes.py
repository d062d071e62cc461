"""How wide and how fine a backbone's maps are, and the sides of images that fit them."""

from __future__ import annotations

from math import lcm

import torch

from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo

_STRIDE_PX = 32  # of every stage of a residual network, those before the last included


def side_step(info: ModelInfo) -> int:
    """Return what an image's sides must be multiples of: whole strides, and whole patches."""
    return lcm(_STRIDE_PX, int(info.backbone.get("patch_size", 1)))


@torch.no_grad()
def map_shapes(backbone: Backbone, size: int) -> dict[str, tuple[int, int]]:
    """Return each map's channels and side, found by a look at one blank image of `size` px."""
    was_training = backbone.training
    device = next(backbone.parameters()).device
    found = backbone.eval().maps(torch.zeros(1, 3, size, size, device=device))
    backbone.train(was_training)
    return {name: (each.shape[1], each.shape[2]) for name, each in found.items()}
