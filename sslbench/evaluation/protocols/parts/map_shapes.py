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


def map_scales(backbone: Backbone, step: int) -> dict[str, float]:
    """Return each map's positions a pixel: how many more it has for more pixels.

    Not its side over the image's: convolutions without padding lose some at the border.

    Args:
        backbone: any.
        step: of sides, from `side_step`.
    """
    near, far = (map_shapes(backbone, times * step) for times in (2, 4))
    return {name: (far[name][1] - near[name][1]) / (2 * step) for name in near}


@torch.no_grad()
def map_shapes(backbone: Backbone, size: int) -> dict[str, tuple[int, int]]:
    """Return each map's channels and side, found by a look at one blank image of `size` px."""
    was_training = backbone.training
    device = next(backbone.parameters()).device
    found = backbone.eval().maps(torch.zeros(1, 3, size, size, device=device))
    backbone.train(was_training)
    return {name: (each.shape[1], each.shape[2]) for name, each in found.items()}
