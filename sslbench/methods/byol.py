"""BYOL: predict a slow teacher's projection of the other view; no negatives.

Paper    Grill et al. 2020, https://arxiv.org/abs/2006.07733, eq. 2
Code     https://github.com/google-deepmind/deepmind-research/blob/4822a45504cb05042841a358f070bba35c6fbc24/byol/byol_experiment.py
Family   self-distillation          Views  two, asymmetric (table 6)
Differs  the loss is the mean of the two directions in [-1, 1] (the paper's is 4 + 4 times it);
         batch and optimiser follow the common recipe, as for every method here
"""

from __future__ import annotations

from dataclasses import dataclass

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.teacher import Teacher
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of BYOL.

    Attributes:
        views: two copies in all.
        hidden_dim: width of both heads' hidden layers.
        output_dim: width of projections and predictions.
        teacher_momentum: at step 0; it rises to 1 along a half cosine.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    teacher_momentum: float


class BYOL(Method):
    """Negative cosine of predictions and the teacher's projections, both ways."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        sizes = (params.hidden_dim, params.output_dim)
        self.projection_head = BYOLProjectionHead(backbone.feature_dim, *sizes)
        self.prediction_head = BYOLPredictionHead(params.output_dim, *sizes)
        self.teacher = Teacher(backbone, self.projection_head, momentum=params.teacher_momentum)
        self.criterion = NegativeCosineSimilarity()

    def before_step(self, progress: Progress) -> None:
        """Move the teacher."""
        self.teacher.update(progress)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean of the two directions' negative cosine, in [-1, 1]."""
        first, second = batch.views
        forth = in_float32(self.criterion, self._predict(first), self.teacher(second))
        back = in_float32(self.criterion, self._predict(second), self.teacher(first))
        return StepOutput((forth + back) / 2)

    def _predict(self, view: Tensor) -> Tensor:
        """Return predictions (batch, output_dim) of one view."""
        predictions: Tensor = self.prediction_head(self.projection_head(self.backbone(view)))
        return predictions


METHOD = BYOL
