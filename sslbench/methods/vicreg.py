"""VICReg: equal projections of two views, held apart by variance, and by covariance decorrelated.

Paper    Bardes et al. 2021, https://arxiv.org/abs/2105.04906, eq. 1 to 6
Code     https://github.com/facebookresearch/vicreg
Family   redundancy reduction          Views  two, drawn alike (paper: with solarisation)
Differs  where eq. 6 and the authors' code part, the code is followed: the squared distance is a
         mean over dimensions and the variance term a mean over the views
"""

from __future__ import annotations

from dataclasses import dataclass

from lightly.loss import VICRegLoss

from sslbench.backbones.base import Backbone
from sslbench.heads.expander import expander
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.objectives.spread import unit_spread
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of VICReg.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's hidden layers.
        output_dim: width of the projections; wide is better.
        invariance_weight: of the squared distance of the views, the paper's lambda.
        variance_weight: of the hinge on each dimension's standard deviation, the paper's mu.
        covariance_weight: of the squared covariances, the paper's nu.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    invariance_weight: float
    variance_weight: float
    covariance_weight: float


class VICReg(Method):
    """Invariance, variance and covariance terms."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.projection_head = expander(backbone.feature_dim, params.hidden_dim, params.output_dim)
        self.criterion = VICRegLoss(
            lambda_param=params.invariance_weight,
            mu_param=params.variance_weight,
            nu_param=params.covariance_weight,
        )

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the loss, and a dimension's mean standard deviation, whose hinge stands at 1."""
        first, second = (self.projection_head(self.backbone(view)) for view in batch.views)
        parts = {
            "projection_std": first.detach().float().std(dim=0).mean(),
            "projection_spread": unit_spread(first),
        }
        return StepOutput(in_float32(self.criterion, first, second), parts)


METHOD = VICReg
