"""Frozen features of one split, every layer pooled to a bounded width; images are streamed."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core.feature_file import id_hashes, keyed
from sslbench.data.store import Split
from sslbench.evaluation.features.model import plain_view

Precision = Literal["fp32", "bf16"]


def pool_layer(layer: Tensor, max_dim: int) -> Tensor:
    """Return a layer as vectors (batch, dim).

    A map (batch, channel, height, width) is averaged adaptively to side x side, where side is
    the largest integer with channel * side**2 <= max_dim, but at least 1 and never above the
    map's own height and width (pooling "up" would only repeat values). Vectors pass unchanged.
    As Zhang et al. 2017 (split-brain), https://arxiv.org/abs/1611.09842, who keep about 9,000.
    """
    if layer.ndim == 2:
        return layer
    channels, height, width = layer.shape[1:]
    side = max(1, min(math.isqrt(max_dim // channels), height, width))
    return functional.adaptive_avg_pool2d(layer, side).flatten(1)


@torch.no_grad()
def extract_features(
    backbone: Backbone,
    split: Split,
    info: ModelInfo,
    *,
    max_dim: int,
    batch_size: int,
    device: str,
    precision: Precision,
) -> dict[str, np.ndarray]:
    """Return a split's arrays as `feature_file.keyed` names them; layers are float32.

    The backbone is in eval mode and sees the plain view at its own input size, a batch at a
    time; only the features of all images are held.

    Args:
        backbone: moved to the device, and left there in eval mode.
        split: images of any size; resized to the backbone's input size.
        info: the backbone's description.
        max_dim: bound on the width of a pooled map.
        batch_size: images per forward pass.
        device: such as `cpu` or `cuda:0`.
        precision: of the forward pass; features are stored as float32 in any case.
    """
    backbone.to(device).eval()
    arrays: dict[str, np.ndarray] = {}
    for start in range(0, len(split), batch_size):
        rows = np.arange(start, min(start + batch_size, len(split)))
        images = plain_view(split.decode(rows, info.size), info, device)
        with torch.autocast(torch.device(device).type, torch.bfloat16, precision == "bf16"):
            layers = backbone.extract(images)
        for name, layer in layers.items():
            pooled = pool_layer(layer.float(), max_dim).cpu().numpy()
            shape = (len(split), pooled.shape[1])
            arrays.setdefault(name, np.empty(shape, np.float32))[rows] = pooled
    targets = split.column("targets") if "targets" in split.columns else None
    return keyed(split.labels, arrays, id_hashes(split.ids), targets)
