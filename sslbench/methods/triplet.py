"""Margin triplet: SimCLR with its loss exchanged; the other view must be nearer than other images.

Paper    Chen et al. 2020, https://arxiv.org/abs/2002.05709, section 5.1 and tables 2 and 4
Code     https://github.com/google-research/simclr, without the losses that it ablates
Family   contrastive          Views  two, drawn alike
Differs  batch norms see both views in one batch of one device; no blur on small images
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.objectives.triplet import Mining, triplet_loss
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of the margin triplet.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's hidden layer.
        output_dim: width of the projections.
        margin: by which the other view's cosine must exceed another image's, in (0, 2).
        mining: `all` negatives, or the `semi_hard` one of each pair.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    margin: float
    mining: Mining

    def __post_init__(self) -> None:
        """Refuse a margin that every network meets, or none can."""
        if not 0 < self.margin < 2:
            raise ValueError(f"margin must lie in (0, 2), found {self.margin}")


class Triplet(Method):
    """Triplets of cosines between the projections of two views."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.projection_head = SimCLRProjectionHead(
            backbone.feature_dim, params.hidden_dim, params.output_dim
        )
        self.margin = params.margin
        self.mining: Mining = params.mining

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean over triplets."""
        projections = self.projection_head(self.backbone(torch.cat(batch.views)))
        unit = functional.normalize(projections.float(), dim=1)  # (2 * batch, output_dim)
        first, second = unit.detach().chunk(2)
        parts = {"positive_cosine": (first * second).sum(dim=1).mean()}
        return StepOutput(in_float32(self._loss, unit, batch.index.repeat(2)), parts)

    def _loss(self, unit: Tensor, images: Tensor) -> Tensor:
        """Return the loss of unit projections (rows, output_dim) of images (rows,)."""
        return triplet_loss(unit @ unit.T, images, self.margin, self.mining)


METHOD = Triplet
