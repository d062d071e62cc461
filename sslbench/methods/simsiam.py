"""SimSiam: predict the other view's projection, through which no gradient flows; no teacher.

Paper    Chen and He 2020, https://arxiv.org/abs/2011.10566, eq. 1 to 4
Code     https://github.com/facebookresearch/simsiam
Family   self-distillation          Views  two, drawn alike
Differs  batch and optimiser follow the common recipe, as for every method here
"""

from __future__ import annotations

from dataclasses import dataclass

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from torch import Tensor

from sslbench.backbones.base import Backbone
from sslbench.methods.base import (
    DataInfo,
    Method,
    ParameterGroup,
    Progress,
    StepOutput,
    ViewBatch,
    split_weight_decay,
)
from sslbench.objectives.precision import in_float32
from sslbench.objectives.spread import unit_spread
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SimSiam.

    Attributes:
        views: two copies in all.
        output_dim: width of all layers of the projection head, and of the predictions.
        bottleneck_dim: width of the prediction head's hidden layer.
    """

    views: tuple[View, ...]
    output_dim: int
    bottleneck_dim: int


class SimSiam(Method):
    """Negative cosine of predictions and the other view's projections, both ways."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        width = params.output_dim
        self.projection_head = SimSiamProjectionHead(backbone.feature_dim, width, width)
        self.prediction_head = SimSiamPredictionHead(width, params.bottleneck_dim, width)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean of the two directions' negative cosine, in [-1, 1].

        The spread of the projections is about 1 while all is well and 0 after a collapse, which
        the loss cannot tell from success.
        """
        first, second = (self.projection_head(self.backbone(view)) for view in batch.views)
        loss = (self._direction(first, second) + self._direction(second, first)) / 2
        return StepOutput(loss, {"projection_spread": unit_spread(first)})

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the usual groups; the predictor's rate is constant (appendix A)."""
        return [
            *split_weight_decay(self.backbone),
            *split_weight_decay(self.projection_head),
            *split_weight_decay(self.prediction_head, is_scheduled=False),
        ]

    def _direction(self, projections: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of predicting targets, both (batch, output_dim)."""
        return in_float32(self.criterion, self.prediction_head(projections), targets.detach())


METHOD = SimSiam
