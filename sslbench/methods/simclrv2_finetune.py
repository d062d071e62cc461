"""SimCLR v2, second of three: few labels tune backbone, first head layer and a new classifier.

Paper    Chen et al. 2020, https://arxiv.org/abs/2006.10029, section 2, fine-tuning
Code     https://github.com/google-research/simclr/blob/244e7128004c5fd3c7805cf3135c79baa6c3bb96/model.py
Family   semi-supervised          Views  one, cropped and flipped
Differs  as many steps as every method here has, at a low rate (paper: 30 or 60 epochs of the
         labelled images); batch norms train, as in the code; the classifier starts at random
         (code: at zero); the common recipe has a warm-up (paper: none)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import (
    DataInfo,
    LabelSubset,
    Method,
    Needs,
    Progress,
    StepOutput,
    ViewBatch,
)
from sslbench.methods.parts.class_head import ClassHead
from sslbench.methods.parts.predecessor import load_part
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SimCLR v2's fine-tuning.

    Attributes:
        views: one view.
        labels: which labels are granted.
        hidden_dim: width of the kept head layer, simclrv2's own.
    """

    views: tuple[View, ...]
    labels: LabelSubset
    hidden_dim: int


class SimCLRv2Finetune(Method):
    """Cross entropy of the granted labels."""

    needs = Needs(labels="some")
    continues = True

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.label_subset = params.labels
        self.head = ClassHead(backbone.feature_dim, params.hidden_dim, data.num_classes)
        self.criterion = nn.CrossEntropyLoss()

    def continue_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Take backbone and first head layer of simclrv2; the classifier stays as drawn."""
        load_part(self.backbone, tensors, "backbone")
        load_part(self.head.first_layer, tensors, "projection_head.layers")

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the cross entropy of the classes, and the share of right answers."""
        assert batch.labels is not None  # granted by `needs`
        logits = self.head(self.backbone(batch.views[0]))  # (batch, num_classes)
        loss = in_float32(self.criterion, logits, batch.labels)
        accuracy = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})


METHOD = SimCLRv2Finetune
