"""SimCLR: two views of an image attract, all other images in the batch repel.

Paper    Chen et al. 2020, https://arxiv.org/abs/2002.05709, eq. 1 and algorithm 1
Code     https://github.com/google-research/simclr/blob/67b562524223e65c0414a15c3bd7ac007d28f629/tf2/objective.py
Family   contrastive          Views  two, drawn alike
Differs  batch norms see both views in one batch of one device; no blur on small images
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


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SimCLR.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's hidden layer.
        output_dim: width of the projections.
        temperature: divides the cosines.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    temperature: float


class SimCLR(Method):
    """NT-Xent between the projections of two views."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.projection_head = SimCLRProjectionHead(
            backbone.feature_dim, params.hidden_dim, params.output_dim
        )
        self.criterion = NTXentLoss(temperature=params.temperature)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the NT-Xent loss."""
        features = self.backbone(torch.cat(batch.views))  # (2 * batch, feature_dim)
        first, second = self.projection_head(features).chunk(2)
        return StepOutput(in_float32(self.criterion, first, second))


METHOD = SimCLR
