"""Batch-norm statistics of whole images, for networks that were trained on parts of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.data.store import Split
from sslbench.views.apply import plain

# Enough for three digits of a channel's mean; beyond it the pass would cost an epoch.
MOST_IMAGES = 10_240
IMAGES_PER_BATCH = 512


@torch.no_grad()
def reestimate(backbone: Backbone, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of every batch norm by means over batches of images.

    Each batch passes with its own statistics, and the running ones become the plain average over
    batches. Weights stay as they are, and so does everything that is no batch norm: dropout and
    drop path stay off, so nothing is drawn.

    Args:
        backbone: left in the mode that it was in.
        batches: normalised images (batch, channel, height, width), of equal number.
    """
    norms = [module for module in backbone.modules() if isinstance(module, _NORMS)]
    if not norms:
        return
    was_training, momenta = backbone.training, [norm.momentum for norm in norms]
    backbone.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the plain average
        norm.train()
    for images in batches:
        backbone(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    backbone.train(was_training)


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def whole_images(split: Split, size: int, mean: Tensor, std: Tensor) -> Iterator[Tensor]:
    """Yield un-augmented images as evaluation sees them, spread evenly over a split.

    Each batch takes every n-th of them, so that all are alike where a split is sorted by class.

    Args:
        split: its images, of any size.
        size: side in pixels that they get.
        mean: (channel,) in [0, 1], on the device where the images go.
        std: (channel,) in [0, 1].
    """
    count = min(len(split), MOST_IMAGES)
    rows = np.arange(count) * len(split) // count
    num_batches = -(-count // IMAGES_PER_BATCH)
    for start in range(num_batches):
        pixels = torch.from_numpy(np.array(split.decode(rows[start::num_batches], size)))
        yield plain(pixels.to(mean.device).permute(0, 3, 1, 2), mean, std)
