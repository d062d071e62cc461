"""DINO: tell from any crop which prototypes a slow teacher sees in the others; no pairs repel.

Paper    Caron et al. 2021, https://arxiv.org/abs/2104.14294, eq. 3 and algorithm 1
Code     https://github.com/facebookresearch/dino
Family   self-distillation          Views  two global and several small local ones
Differs  weight decay is constant (paper: .04 to .4 along a cosine); the teacher's temperature rises
         by step, not by epoch; gradients are clipped by their joint norm (authors: tensor by
         tensor); no drop path; batch, optimiser and length follow the common recipe
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.multi_crop import forward_by_size, refuse_crops
from sslbench.methods.parts.self_distillation import (
    CrossViewLoss,
    DistillationParams,
    projection_head,
)
from sslbench.methods.parts.teacher import Teacher
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of DINO.

    Attributes:
        views: global views first, then local ones.
        distillation: heads, temperatures, centre and teacher.
    """

    views: tuple[View, ...]
    distillation: DistillationParams

    def __post_init__(self) -> None:
        """Refuse views that leave nothing to compare."""
        refuse_crops(self.views, self.distillation.num_global_views)


class DINO(Method):
    """Cross entropy between the teacher's centred, sharpened output and the student's."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        numbers = params.distillation
        self.num_global_views = numbers.num_global_views
        self.projection_head = projection_head(backbone.feature_dim, numbers)
        self.teacher = Teacher(backbone, self.projection_head, momentum=numbers.teacher_momentum)
        self.cross_view_loss = CrossViewLoss(numbers)

    @property
    def evaluation_backbone(self) -> Backbone:
        """The teacher's backbone, which the paper finds ahead of the student all along."""
        return cast("Backbone", self.teacher[0])

    def before_step(self, progress: Progress) -> None:
        """Move the teacher."""
        self.teacher.update(progress)

    def after_backward(self, progress: Progress, phase: str) -> None:
        """Hold the prototypes still in the first epochs."""
        self.projection_head.cancel_last_layer_gradients(progress.epoch)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean cross entropy over pairs of different views, and entropies."""
        targets = self.teacher(torch.cat(batch.views[: self.num_global_views]))
        logits = self.projection_head(forward_by_size(self.backbone, batch.views))
        return StepOutput(*self.cross_view_loss(targets, logits, progress))


METHOD = DINO
