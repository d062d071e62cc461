"""torchvision's Faster R-CNN and Mask R-CNN over any backbone, sized for its images.

Source: Ren et al., arXiv 1506.01497; He et al., arXiv 1703.06870; FPN's assignment of objects to
levels, Lin et al., arXiv 1612.03144, equation 1. What is not a setting is torchvision's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.data.store import Split
from sslbench.evaluation.protocols.parts.map_shapes import side_step

if TYPE_CHECKING:
    from torch import nn
    from torchvision.ops import MultiScaleRoIAlign

_RATIOS = (0.5, 1.0, 2.0)
_BOX_CELLS = 7
_MASK_CELLS = 14


@dataclass(frozen=True, kw_only=True)
class Detector:
    """The sizes of a detector.

    Attributes:
        short_side: pixels that an encoded image's short side is resized to; images kept as raw
            pixels (96 px or fewer) are taken at their own size.
        long_side: pixels that the long side may have at most.
        anchors: the smallest and the largest anchor as fractions of the image's short side; the
            levels' anchors are spaced evenly between them in logarithm, one size a level.
        fpn_dim: channels of the pyramid.
        box_dim: width of the box head.
        num_proposals: of an image, before and after suppression, in training and testing.
        anchors_per_image: anchors that the proposal loss draws.
        rois_per_image: proposals that the box loss draws.
    """

    short_side: int
    long_side: int
    anchors: tuple[float, float]
    fpn_dim: int
    box_dim: int
    num_proposals: int
    anchors_per_image: int
    rois_per_image: int

    def __post_init__(self) -> None:
        """Refuse sizes below 1 and anchors out of order."""
        sizes = (self.short_side, self.fpn_dim, self.box_dim, self.num_proposals)
        if min(*sizes, self.anchors_per_image, self.rois_per_image) < 1:
            raise ValueError("every size and number must be 1 or more")
        if self.long_side < self.short_side:
            raise ValueError("long_side must not be below short_side")
        if not 0 < self.anchors[0] < self.anchors[1]:
            raise ValueError("anchors: give the smaller fraction, then the larger one")

    def sides(self, split: Split) -> tuple[int, int]:
        """Return the short and the long side that images of this split are brought to."""
        if split.is_encoded:
            return self.short_side, self.long_side
        height, width = split.pixels.shape[1:3]
        return min(height, width), max(height, width)


def build(
    backbone: Backbone,
    info: ModelInfo,
    settings: Detector,
    sides: tuple[int, int],
    num_classes: int,
    *,
    mask_dim: int | None,
) -> nn.Module:
    """Return a detector over the backbone, in training mode, on the backbone's device.

    Args:
        backbone: becomes a part of it, all weights trained.
        info: the size, mean and std of the pretraining images.
        settings: the detector's sizes.
        sides: short and long side that images are brought to.
        num_classes: of objects; class 0 of the network is the background.
        mask_dim: channels of Mask R-CNN's mask head; None for Faster R-CNN.
    """
    # Here and not above: torchvision takes 2 s to import, and a reader of Params needs none of it.
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.mask_rcnn import MaskRCNN
    from torchvision.ops import MultiScaleRoIAlign

    from sslbench.evaluation.protocols.parts.pyramid import Pyramid

    device = next(backbone.parameters()).device
    step = side_step(info)
    pyramid = Pyramid(backbone, step, settings.fpn_dim)
    sizes = anchor_sizes(settings, sides[0], len(pyramid.scales))
    heads = _box_head(settings, sizes, num_classes)
    if mask_dim is not None:
        heads |= _mask_head(settings.fpn_dim, len(sizes), mask_dim, num_classes)
    kind = FasterRCNN if mask_dim is None else MaskRCNN
    network: nn.Module = kind(
        pyramid,
        min_size=sides[0],
        max_size=sides[1],
        image_mean=list(info.mean),
        image_std=list(info.std),
        size_divisible=step,
        **_numbers(settings),
        **heads,
    ).to(device)
    pools = [module for module in network.modules() if isinstance(module, MultiScaleRoIAlign)]
    _fix_scales(pools, pyramid.scales)
    return network.train()


def _fix_scales(pools: Sequence[MultiScaleRoIAlign], scales: Sequence[float]) -> None:
    """Give the pooling of regions what it would guess from the first batch."""
    from torchvision.ops.poolers import initLevelMapper

    for pool in pools:
        pool.scales = list(scales)
        first, last = (int(-math.log2(scale)) for scale in (scales[0], scales[-1]))
        pool.map_levels = initLevelMapper(first, last, pool.canonical_scale, pool.canonical_level)


def anchor_sizes(settings: Detector, short_side: int, levels: int) -> list[float]:
    """Return the side in pixels of each level's anchors, finest level first."""
    first, last = settings.anchors
    return [float(side) for side in np.geomspace(first, last, levels) * short_side]


def _numbers(settings: Detector) -> dict[str, int]:
    """Return how many anchors and proposals torchvision's detector draws and keeps."""
    kept = [
        f"rpn_{when}_nms_top_n_{mode}" for when in ("pre", "post") for mode in ("train", "test")
    ]
    return {
        **dict.fromkeys(kept, settings.num_proposals),
        "rpn_batch_size_per_image": settings.anchors_per_image,
        "box_batch_size_per_image": settings.rois_per_image,
    }


def _box_head(settings: Detector, sizes: list[float], num_classes: int) -> dict[str, Any]:
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

    return {
        "rpn_anchor_generator": AnchorGenerator(
            tuple((size,) for size in sizes), (_RATIOS,) * len(sizes)
        ),
        "box_roi_pool": _roi_pool(len(sizes), _BOX_CELLS),
        "box_head": TwoMLPHead(settings.fpn_dim * _BOX_CELLS**2, settings.box_dim),
        "box_predictor": FastRCNNPredictor(settings.box_dim, num_classes + 1),
    }


def _mask_head(channels: int, levels: int, dim: int, num_classes: int) -> dict[str, Any]:
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    return {
        "mask_roi_pool": _roi_pool(levels, _MASK_CELLS),
        "mask_head": MaskRCNNHeads(channels, (dim,) * 4, 1),
        "mask_predictor": MaskRCNNPredictor(dim, dim, num_classes + 1),
    }


def _roi_pool(levels: int, cells: int) -> nn.Module:
    """Return the pooling of regions, each from the level where it is about 14 positions wide."""
    from torchvision.ops import MultiScaleRoIAlign

    names = [str(level) for level in range(levels)]
    pool: nn.Module = MultiScaleRoIAlign(names, cells, sampling_ratio=2)
    return pool
