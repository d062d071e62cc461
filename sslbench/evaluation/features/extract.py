"""Frozen features of one split, every layer pooled to a bounded width; images are streamed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core.feature_file import (
    feature_writer,
    features_path,
    id_hashes,
    keyed,
    write_features,
)
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
    out: Path,
    *,
    max_dim: int,
    batch_size: int,
    device: str,
    precision: Precision,
) -> Path:
    """Write a split's file of features (`core.feature_file`), layers in float32, and return it.

    The backbone is in eval mode and sees the plain view at its own input size. Images and
    features are held a batch at a time.

    Args:
        backbone: moved to the device, and left there in eval mode.
        split: images of any size; resized to the backbone's input size.
        info: the backbone's description.
        out: folder for the file, which has the split's name.
        max_dim: bound on the width of a pooled map.
        batch_size: images per forward pass.
        device: such as `cpu` or `cuda:0`.
        precision: of the forward pass; features are stored as float32 in any case.
    """
    batches = layer_batches(
        backbone, split, info, batch_size=batch_size, device=device, precision=precision
    )
    made = (
        _keyed_rows(split, rows, {name: pool_layer(layer, max_dim) for name, layer in maps.items()})
        for rows, maps in batches
    )
    name = split.path.stem
    first = next(made, None)
    if first is None:
        return write_features(out, name, _keyed_rows(split, np.arange(0), {}))
    with feature_writer(out, name, len(split), first) as writer:
        for arrays in chain([first], made):
            writer.append(arrays)
    return features_path(out, name)


def _keyed_rows(
    split: Split, rows: np.ndarray, layers: Mapping[str, Tensor]
) -> dict[str, np.ndarray]:
    """Return what the file holds of adjacent rows, as `feature_file.keyed` names it."""
    part = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
    targets = None if split.targets is None else split.targets[part]
    values = {name: layer.cpu().numpy() for name, layer in layers.items()}
    return keyed(split.labels[part], values, id_hashes(split.names(part)), targets)
