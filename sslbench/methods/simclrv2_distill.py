"""SimCLR v2, last of three: the fine-tuned network teaches a new one on all images, unlabelled.

Paper    Chen et al. 2020, https://arxiv.org/abs/2006.10029, eq. 2
Code     https://github.com/google-research/simclr/blob/81e63a27be8b400a268cd4e1710af7590d172a36/colabs/distillation_self_training.ipynb
Family   semi-supervised          Views  one, cropped and flipped; teacher and student see the same
Differs  self-distillation only: the student is as large as the teacher; without the labelled
         term (eq. 3); the loss is eq. 2 as it stands (code: times the squared temperature)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.class_head import ClassHead
from sslbench.methods.parts.frozen import Frozen
from sslbench.methods.parts.predecessor import load_part
from sslbench.methods.parts.teacher import twin
from sslbench.objectives.distillation import distillation
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SimCLR v2's distillation.

    Attributes:
        views: one view.
        hidden_dim: width of the kept head layer, simclrv2_finetune's own.
        temperature: divides the logits of both.
        student: how it starts: `random` as the notebook's small student, or `teacher` with
            the teacher's backbone and first head layer and a new classifier (ours; we do not
            know how the paper starts the student of its self-distillation).
    """

    views: tuple[View, ...]
    hidden_dim: int
    temperature: float
    student: Literal["random", "teacher"]

    def __post_init__(self) -> None:
        """Refuse a temperature that divides by nothing."""
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, found {self.temperature}")


class SimCLRv2Distill(Method):
    """Cross entropy between a frozen teacher's classes and the student's."""

    continues = True

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.temperature = params.temperature
        self.starts_as_teacher = params.student == "teacher"
        self.criterion = partial(distillation, temperature=params.temperature)
        self.head = ClassHead(backbone.feature_dim, params.hidden_dim, data.num_classes)
        self.teacher = Frozen(twin(backbone), twin(self.head))

    def continue_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the teacher, and if asked the student's start, from simclrv2_finetune."""
        load_part(self.teacher[0], tensors, "backbone")
        load_part(self.teacher[1], tensors, "head")
        if self.starts_as_teacher:
            load_part(self.backbone, tensors, "backbone")
            load_part(self.head.first_layer, tensors, "head.first_layer")

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the distillation loss, its KL divergence and how often both name one class."""
        view = batch.views[0]
        student, teacher = self.head(self.backbone(view)), self.teacher(view)
        loss = in_float32(self.criterion, student, teacher)
        soft = (teacher.float() / self.temperature).softmax(dim=1)
        least = torch.special.entr(soft).sum(dim=1).mean()  # where the loss has its minimum
        agreement = (student.detach().argmax(dim=1) == teacher.argmax(dim=1)).float().mean()
        return StepOutput(loss, {"kl": loss.detach() - least, "agreement": agreement})


METHOD = SimCLRv2Distill
