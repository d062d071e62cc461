"""Barlow Twins: the cross-correlation of two views' projections is to be the identity.

Paper    Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, eq. 1 and algorithm 1
Code     https://github.com/facebookresearch/barlowtwins
Family   redundancy reduction          Views  two (paper: asymmetric, from BYOL)
Differs  biases and norms learn at the rate of the weights (the authors: at a fortieth of it); batch
         and optimiser follow the common recipe
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.heads.expander import expander
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.objectives.spread import unit_spread
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of Barlow Twins.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's hidden layers.
        output_dim: width of the projections; wide is better.
        redundancy_weight: of the off-diagonal terms, the paper's lambda.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    redundancy_weight: float


class BarlowTwins(Method):
    """Squared distance of the cross-correlation matrix and the identity."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.projection_head = expander(backbone.feature_dim, params.hidden_dim, params.output_dim)
        self.criterion = BarlowTwinsLoss(lambda_param=params.redundancy_weight)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the loss, and how well the views agree."""
        first, second = (self.projection_head(self.backbone(view)) for view in batch.views)
        parts = {
            "correlation": mean_correlation(first, second),
            "projection_spread": unit_spread(first),
        }
        return StepOutput(in_float32(self.criterion, first, second), parts)


@torch.no_grad()
def mean_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean correlation of a dimension in two views (batch, dim), a detached scalar."""
    a, b = (rows.float() - rows.float().mean(dim=0) for rows in (first, second))
    return functional.cosine_similarity(a, b, dim=0).mean()


METHOD = BarlowTwins
