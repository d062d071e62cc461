"""Frozen features of one split, every layer pooled to a bounded width; images are streamed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
Pooling = Literal["average", "max"]


def pool_layer(layer: Tensor, max_dim: int, pooling: Pooling = "average") -> Tensor:
    """Return a layer as vectors (batch, dim).

    A map (batch, channel, height, width) is pooled adaptively to side x side, where side is
    the largest integer with channel * side**2 <= max_dim, but at least 1 and never above the
    map's own height and width (pooling "up" would only repeat values). Vectors pass unchanged.
    As Zhang et al. 2017 (split-brain), https://arxiv.org/abs/1611.09842, who keep about 9,000.
    """
    if layer.ndim == 2:
        return layer
    side = _side(layer, max_dim)
    if pooling == "max":
        return functional.adaptive_max_pool2d(layer, side).flatten(1)
    return functional.adaptive_avg_pool2d(layer, side).flatten(1)


def is_pooled(layer: Tensor, max_dim: int) -> bool:
    """Return whether `pool_layer` changes a layer's values, so that the kind of pooling matters."""
    return layer.ndim > 2 and _side(layer, max_dim) < max(layer.shape[2:])


def _side(layer: Tensor, max_dim: int) -> int:
    channels, height, width = layer.shape[1:]
    return max(1, min(math.isqrt(max_dim // channels), height, width))


@torch.no_grad()
def layer_batches(
    backbone: Backbone,
    split: Split,
    info: ModelInfo,
    *,
    batch_size: int,
    device: str,
    precision: Precision = "fp32",
    change: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """Yield row numbers (batch,) and every layer of their plain views, as float32 on the device.

    Args:
        backbone: moved to the device, and left there in eval mode.
        split: images of any size; resized to the backbone's input size.
        info: the backbone's description.
        batch_size: images per forward pass.
        device: such as `cpu` or `cuda:0`.
        precision: of the forward pass.
        change: (images, rows) -> images, each (batch, size, size, channel) uint8, done to the
            resized images first.
    """
    backbone.to(device).eval()
    for start in range(0, len(split), batch_size):
        rows = np.arange(start, min(start + batch_size, len(split)))
        images = split.decode(rows, info.size)
        view = plain_view(images if change is None else change(images, rows), info, device)
        with torch.autocast(torch.device(device).type, torch.bfloat16, precision == "bf16"):
            layers = backbone.extract(view)
        yield rows, {name: layer.float() for name, layer in layers.items()}


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
    arrays: dict[str, np.ndarray] = {}
    batches = layer_batches(
        backbone, split, info, batch_size=batch_size, device=device, precision=precision
    )
    for rows, layers in batches:
        for name, layer in layers.items():
            pooled = pool_layer(layer, max_dim).cpu().numpy()
            shape = (len(split), pooled.shape[1])
            arrays.setdefault(name, np.empty(shape, np.float32))[rows] = pooled
    targets = split.column("targets") if "targets" in split.columns else None
    return keyed(split.labels, arrays, id_hashes(split.ids), targets)
