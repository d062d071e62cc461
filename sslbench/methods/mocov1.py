"""MoCo v1: find an image's key, made by a slow encoder, among a queue of past keys.

The queue makes the number of negatives independent of the batch.

Paper    He et al. 2019, https://arxiv.org/abs/1911.05722, eq. 1 and 2, algorithm 1
Code     https://github.com/facebookresearch/moco
Family   contrastive          Views  two, drawn alike; the first is queried, the second keyed
Differs  the devices of "shuffling BN" are groups of one device's batch, as in the authors' CIFAR-10
         demo; running statistics move once a group, the authors' once a device; the rate follows
         the common schedule, a cosine (paper: in steps)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.momentum_contrast import ContrastParams, MomentumContrast
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of MoCo v1.

    Attributes:
        views: two copies in all.
        output_dim: width of queries and keys.
        contrast: queue, temperature, encoder of keys.
    """

    views: tuple[View, ...]
    output_dim: int
    contrast: ContrastParams


class MoCoV1(Method):
    """InfoNCE of linear queries against a queue of keys."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.projection_head = nn.Linear(backbone.feature_dim, params.output_dim)
        self.contrast = MomentumContrast(
            backbone, self.projection_head, output_dim=params.output_dim, params=params.contrast
        )

    def before_step(self, progress: Progress) -> None:
        """Move the encoder of keys."""
        self.contrast.update(progress)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the InfoNCE loss, the share of right answers and the queue's share of noise."""
        queried, keyed = batch.views
        output: StepOutput = self.contrast(queried, keyed, batch.generator)
        return output


METHOD = MoCoV1
