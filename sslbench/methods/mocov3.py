"""MoCo v3: predict a slow teacher's key of the other view among the keys of the batch; no queue.

A transformer's patch projection stays as it was drawn, which keeps training stable.

Paper    Chen et al. 2021, https://arxiv.org/abs/2104.02057, algorithm 1 and section 4
Code     https://github.com/facebookresearch/moco-v3
Family   contrastive          Views  two, asymmetric (BYOL's)
Differs  batch norms at the heads' ends have scale and shift (lightly's heads), and the prediction
         head ends in one for every backbone; batch and optimiser follow the common recipe
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.models.modules import MoCoProjectionHead
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.teacher import Teacher
from sslbench.objectives.info_nce import accuracy, batch_cosines, info_nce
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of MoCo v3.

    Attributes:
        views: two copies in all.
        projection_layers: layers of the projection head, at least 2; the authors' code has 2 for
            residual networks and 3 for transformers.
        hidden_dim: width of both heads' hidden layers.
        output_dim: width of keys and predictions.
        temperature: divides the cosines.
        teacher_momentum: at step 0; it rises to 1 along a half cosine.
    """

    views: tuple[View, ...]
    projection_layers: int
    hidden_dim: int
    output_dim: int
    temperature: float
    teacher_momentum: float

    def __post_init__(self) -> None:
        """Refuse a head without hidden layer."""
        if self.projection_layers < 2:
            raise ValueError(f"projection_layers must be 2 or more, not {self.projection_layers}")


class MoCoV3(Method):
    """InfoNCE of predictions and the teacher's keys of the batch, both ways."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        freeze_patch_projection(backbone)
        hidden, width = params.hidden_dim, params.output_dim
        self.projection_head = MoCoProjectionHead(
            backbone.feature_dim, hidden, width, params.projection_layers, batch_norm=True
        )
        self.prediction_head = MoCoProjectionHead(width, hidden, width, batch_norm=True)
        self.teacher = Teacher(backbone, self.projection_head, momentum=params.teacher_momentum)
        self.temperature = params.temperature

    def before_step(self, progress: Progress) -> None:
        """Move the teacher."""
        self.teacher.update(progress)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return 2 * temperature times the sum of both directions, and the share of right answers.

        The factor makes the gradient's size independent of the temperature (the authors' code).
        """
        first, second = batch.views
        forth = in_float32(batch_cosines, self._predict(first), self.teacher(second))
        back = in_float32(batch_cosines, self._predict(second), self.teacher(first))
        own = torch.arange(len(forth), device=forth.device)
        loss = info_nce(forth, own, self.temperature) + info_nce(back, own, self.temperature)
        return StepOutput(2 * self.temperature * loss, {"accuracy": accuracy(forth, own)})

    def _predict(self, view: Tensor) -> Tensor:
        """Return predictions (batch, output_dim) of one view."""
        predictions: Tensor = self.prediction_head(self.projection_head(self.backbone(view)))
        return predictions


def freeze_patch_projection(backbone: Backbone) -> None:
    """Draw a transformer's patch projection as the authors do and train it no more (section 4.2).

    Any other backbone is left alone.
    """
    vit = getattr(backbone, "vit", None)
    if vit is None:
        return
    projection = vit.patch_embed.proj
    nn.init.xavier_uniform_(projection.weight.data.flatten(1))  # a view: as if it were linear
    nn.init.zeros_(projection.bias)
    projection.requires_grad_(False)


METHOD = MoCoV3
