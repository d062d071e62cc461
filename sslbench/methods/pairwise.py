"""Pairwise margin: SimCLR with its loss exchanged; two views meet, two images keep a distance.

Paper    Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", eq. 4
Code     none
Family   contrastive          Views  two, drawn alike, as SimCLR's
Differs  network, head and views are SimCLR's; projections are unit rows; attraction and repulsion
         are averaged apart, or one positive would drown in 2 * batch - 2 negatives
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.pairwise import pairwise_loss
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of the pairwise margin.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's hidden layer.
        output_dim: width of the projections.
        margin: least wanted distance of two images' unit projections, in (0, 2).
        is_squared: whether distance and shortfall are squared, as in the paper.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    margin: float
    is_squared: bool

    def __post_init__(self) -> None:
        """Refuse a margin that unit rows always or never keep."""
        if not 0 < self.margin < 2:
            raise ValueError(f"margin must lie in (0, 2), found {self.margin}")


class Pairwise(Method):
    """Distances of unit projections: zero within an image, a margin between images."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.projection_head = SimCLRProjectionHead(
            backbone.feature_dim, params.hidden_dim, params.output_dim
        )
        self.margin = params.margin
        self.is_squared = params.is_squared

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return attraction within images plus repulsion between them."""
        projections = self.projection_head(self.backbone(torch.cat(batch.views)))
        first, second = functional.normalize(projections.float(), dim=1).chunk(2)
        parts = {"positive_cosine": (first * second).detach().sum(dim=1).mean()}
        return StepOutput(in_float32(self._loss, first, second), parts)

    def _loss(self, first: Tensor, second: Tensor) -> Tensor:
        return pairwise_loss(first, second, self.margin, self.is_squared)


METHOD = Pairwise
