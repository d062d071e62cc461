"""A linear segmentation head on a backbone's maps, and images as it takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.data.store import Split
from sslbench.evaluation.protocols.parts.segmentation_scores import VOID
from sslbench.evaluation.protocols.parts.semantic import semantic_of


@dataclass(frozen=True)
class Sides:
    """The size that images are brought to.

    Attributes:
        short: pixels of the short side, about.
        step: both sides are multiples of it (`map_shapes.side_step`).
    """

    short: int
    step: int

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width for an image of `height` x `width` pixels."""
        scale = self.short / min(height, width)
        high, wide = (
            max(1, round(side * scale / self.step)) * self.step for side in (height, width)
        )
        return high, wide


class Segmenter(nn.Module):
    """A backbone under a linear layer that sees every named map at once.

    Each map passes batch norm without weights and a 1x1 convolution; the results are enlarged
    (bilinear) to the image and added. That is one linear layer on the enlarged maps laid side by
    side, since a 1x1 convolution and a bilinear enlargement can change places, at a fraction of
    the memory.

    Attributes:
        backbone: frozen (in eval mode, without gradient) or trained with the rest.
        is_frozen: which of the two.
    """

    def __init__(
        self, backbone: Backbone, channels: dict[str, int], num_classes: int, *, is_frozen: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False) if is_frozen else backbone
        self.is_frozen = is_frozen
        self.names = tuple(channels)
        self.heads = nn.ModuleList(_head(width, num_classes) for width in channels.values())

    def train(self, mode: bool = True) -> Segmenter:
        """Set the mode; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, num_classes, height, width) of normalised images."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            maps = self.backbone.maps(images)
        size = images.shape[2:]
        logits = [
            _enlarged(head(maps[name]), size)
            for name, head in zip(self.names, self.heads, strict=True)
        ]
        return torch.stack(logits).sum(dim=0)


def _enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    """Return maps brought to (height, width) `size`; those that have it as they are."""
    if maps.shape[2:] == size:  # the same values as interpolation's, without its two passes
        return maps
    return functional.interpolate(maps, size=size, mode="bilinear")


def _head(width: int, num_classes: int) -> nn.Sequential:
    """Return a linear layer from zero, so that the first step is the same for every backbone."""
    linear = nn.Conv2d(width, num_classes, 1)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(cast("Tensor", linear.bias))
    return nn.Sequential(nn.BatchNorm2d(width, affine=False), linear)


def resized(split: Split, row: int, sides: Sides) -> np.ndarray:
    """Return an image (height, width, 3) uint8 brought to size."""
    image = split.image(row)
    high, wide = sides.of(*image.shape[:2])
    if image.shape[:2] == (high, wide):
        return image
    made = Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC)
    return np.asarray(made, dtype=np.uint8)


def crop_of(
    split: Split, row: int, sides: Sides, draw: torch.Generator, flip: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a random square of an image (side, side, 3) and of its classes (side, side) uint8.

    The image is brought to size first; the square is as wide as its short side.
    """
    image, truth = resized(split, row, sides), semantic_of(split, row)
    height, width = image.shape[:2]
    if truth.shape != (height, width):
        small = Image.fromarray(truth).resize((width, height), Image.Resampling.NEAREST)
        truth = np.asarray(small, dtype=np.uint8)
    side = min(height, width)
    top, left, chance = torch.rand(3, generator=draw).tolist()
    first, start = round(top * (height - side)), round(left * (width - side))
    window = (slice(first, first + side), slice(start, start + side))
    step = -1 if chance < flip else 1
    return image[window][:, ::step], truth[window][:, ::step]


def loss_of(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the mean cross-entropy over pixels of which something is said; 0 where none is.

    Args:
        logits: (batch, num_classes, height, width).
        truth: (batch, height, width) int64, VOID where nothing is said.
    """
    total = functional.cross_entropy(logits, truth, ignore_index=VOID, reduction="sum")
    return total / (truth != VOID).sum().clamp_min(1)
