"""Batch norm as on several devices: each group of a batch has statistics of its own.

A network whose queries and keys are normalised over the same images can tell a positive pair by
the statistics that both carry, without looking at the image. MoCo's "shuffling BN" (He et al. 2019,
https://arxiv.org/abs/1911.05722, section 3.3) normalises an image's query and its key among
different companions: queries in groups, keys in groups of a shuffled batch. The authors' CIFAR-10
demo does the same on one device (moco_cifar10_demo.ipynb, `SplitBatchNorm` and the shuffle).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def in_groups(network: Network, images: Tensor, num_groups: int) -> Tensor:
    """Return network(images) with (batch, ...) images passed in consecutive groups.

    Running statistics move once a group.
    """
    return torch.cat([network(group) for group in images.chunk(num_groups)])


def in_shuffled_groups(
    network: Network, images: Tensor, num_groups: int, generator: torch.Generator
) -> Tensor:
    """Return network(images), in the images' order, with groups drawn at random."""
    drawn = torch.randperm(len(images), generator=generator, device=generator.device)
    order = drawn.to(images.device)
    return in_groups(network, images[order], num_groups)[order.argsort()]
