"""MSN: a view with most patches gone must meet the same prototypes as a whole view of the image.

Paper    Assran et al. 2022, https://arxiv.org/abs/2204.07141, eq. 1 and section 3
Code     https://github.com/facebookresearch/msn/blob/81cb855006f41cd993fbaad4b6a6efbb486488e6/src/losses.py
Family   self-distillation          Views  a whole target, anchors with random and focal masks
Differs  a focal mask keeps a square of patches of a view (the paper's text; authors' code: a small
         crop); random masks differ between images (authors: one a batch); the teacher's momentum
         rises along a half cosine (authors: a line); weight decay is constant (authors: .04 to .4)
         and prototypes count in the clipped norm; batch, optimiser and length follow the common
         recipe
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.models.modules.heads import MSNProjectionHead
from torch import nn

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
from sslbench.methods.parts.masked_anchors import AnchorParams, MaskedAnchors
from sslbench.methods.parts.masked_encoder import MaskedEncoder
from sslbench.methods.parts.prototype_matching import MatchingParams, PrototypeMatching
from sslbench.methods.parts.teacher import Teacher
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of MSN.

    Attributes:
        views: the target's copy, then those of the anchors.
        anchors: their masks.
        matching: prototypes and what weighs their use.
        hidden_dim: width of the projection head's two hidden layers.
        output_dim: width of projections and prototypes.
        teacher_momentum: at step 0; it rises to 1 along a half cosine.
    """

    views: tuple[View, ...]
    anchors: AnchorParams
    matching: MatchingParams
    hidden_dim: int
    output_dim: int
    teacher_momentum: float

    def __post_init__(self) -> None:
        """Refuse views without anchors."""
        num_anchors = sum(view.copies for view in self.views) - 1
        if num_anchors < 1 or not 0 <= self.anchors.num_random <= num_anchors:
            found = f"{num_anchors}, {self.anchors.num_random} of them random"
            raise ValueError(f"views must hold a target and the anchors, found anchors: {found}")


class MSN(Method):
    """Cross entropy of the anchors' prototypes to the target's, and me-max over the batch."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.anchors = MaskedAnchors(MaskedEncoder(backbone, "msn"), params.anchors)
        self.projection_head = MSNProjectionHead(
            backbone.feature_dim, params.hidden_dim, params.output_dim
        )
        self.matching = PrototypeMatching(params.output_dim, params.matching)
        self.teacher = Teacher(backbone, self.projection_head, momentum=params.teacher_momentum)

    @property
    def evaluation_backbone(self) -> Backbone:
        """The teacher's backbone (the paper's target encoder)."""
        return cast("Backbone", self.teacher[0])

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the usual groups, and the prototypes without weight decay, as the authors do."""
        networks = nn.ModuleList([self.backbone, self.projection_head])
        return [*split_weight_decay(networks), ParameterGroup([self.matching.prototypes], False)]

    def before_step(self, progress: Progress) -> None:
        """Move the teacher."""
        self.teacher.update(progress)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return cross entropy plus me-max, and entropies."""
        targets = self.teacher(batch.views[0])  # (batch, output_dim)
        tokens = self.anchors.class_tokens(batch.views[1:], batch.generator)
        anchors = torch.cat([self.projection_head(kind) for kind in tokens])
        return StepOutput(*self.matching(anchors, targets))


METHOD = MSN
