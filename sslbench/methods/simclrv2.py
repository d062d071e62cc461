"""SimCLR v2, first of three: SimCLR with a deeper projection head, whose first layer is kept.

Paper    Chen et al. 2020, https://arxiv.org/abs/2006.10029, eq. 1
Code     https://github.com/google-research/simclr/blob/be265c2266ba20ed5a6eb8fdb80817f591c8625f/tf2/model.py
Family   contrastive          Views  two, drawn alike
Differs  the common backbone (paper: up to ResNet-152, wider, with selective kernels); no memory
         of MoCo's kind; batch norms see both views in one batch of one device
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View

NUM_LAYERS = 3  # of the head; fine-tuning takes the first of three (figure 5)


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SimCLR v2.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's two hidden layers.
        output_dim: width of the projections.
        temperature: divides the cosines.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    temperature: float


class SimCLRv2(Method):
    """NT-Xent between the projections of two views, through three layers."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        sizes = (params.hidden_dim, params.output_dim)
        self.projection_head = SimCLRProjectionHead(
            backbone.feature_dim, *sizes, num_layers=NUM_LAYERS
        )
        self.criterion = NTXentLoss(temperature=params.temperature)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the NT-Xent loss."""
        features = self.backbone(torch.cat(batch.views))  # (2 * batch, feature_dim)
        first, second = self.projection_head(features).chunk(2)
        return StepOutput(in_float32(self.criterion, first, second))


METHOD = SimCLRv2
