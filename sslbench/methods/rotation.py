"""Rotation (RotNet): tell by which quarter turns an image was rotated.

Paper    Gidaris et al. 2018, https://arxiv.org/abs/1803.07728, eq. 2 and 3
Code     https://github.com/gidariss/FeatureLearningRotNet/blob/8539de63f3facff12df7087e7925657503de4cf7/algorithms/ClassificationModel.py
Family   pretext          Views  one; all four rotations of its final square in one batch
Differs  batch, optimiser and length follow the common recipe, as for every method here
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View

NUM_ROTATIONS = 4


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of rotation.

    Attributes:
        views: one view; it must not rotate by itself, or the answer would leak or blur.
    """

    views: tuple[View, ...]

    def __post_init__(self) -> None:
        """Refuse views that rotate."""
        if any(view.rotation for view in self.views):
            raise ValueError("the views of rotation must have rotation 0")


class Rotation(Method):
    """Four-way classification of 0, 90, 180 and 270 degrees."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.classifier = nn.Linear(backbone.feature_dim, NUM_ROTATIONS)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the cross entropy of the turns, and the share of right answers."""
        images, turns = all_rotations(batch.views[0])
        logits = self.classifier(self.backbone(images))  # (4 * batch, 4)
        loss = in_float32(self.criterion, logits, turns)
        accuracy = (logits.detach().argmax(dim=1) == turns).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})


def all_rotations(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the four rotations of square images and their quarter turns.

    Pixels move and are never resampled, so neither corners nor interpolation give the turn away.

    Args:
        images: (batch, channel, side, side).

    Returns:
        Images (4 * batch, channel, side, side), one turn after another, and turns (4 * batch,).
    """
    rotated = [torch.rot90(images, turn, dims=(2, 3)) for turn in range(NUM_ROTATIONS)]
    turns = torch.arange(NUM_ROTATIONS, device=images.device).repeat_interleave(len(images))
    return torch.cat(rotated), turns


METHOD = Rotation
