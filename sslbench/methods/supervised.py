"""Supervised training: predict the class; the ceiling that labels buy under the same budget.

Paper    He et al. 2015, https://arxiv.org/abs/1512.03385, section 3.4
Code     https://github.com/pytorch/vision/blob/v0.15.0/references/classification/train.py
Family   baseline          Views  one, cropped and flipped
Differs  batch, optimiser and length follow the common recipe, as for every method here
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo, Method, Needs, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of supervised training.

    Attributes:
        views: one view.
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """

    views: tuple[View, ...]
    label_smoothing: float


class Supervised(Method):
    """Cross entropy of a linear classifier on the pooled feature."""

    needs = Needs(labels="all")

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        if data.num_classes < 2:
            mend = "choose a labelled dataset as grid.source or drop this method"
            raise UserError("needs labels, and the data has none", where="supervised", mend=mend)
        self.classifier = nn.Linear(backbone.feature_dim, data.num_classes)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=params.label_smoothing)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the cross entropy of the classes, and the share of right answers."""
        assert batch.labels is not None  # granted by `needs`
        logits = self.classifier(self.backbone(batch.views[0]))  # (batch, num_classes)
        loss = in_float32(self.criterion, logits, batch.labels)
        accuracy = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})


METHOD = Supervised
