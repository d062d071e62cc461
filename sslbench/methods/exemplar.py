"""Exemplar: every image is a class of its own, and a classifier tells which one a view came from.

Paper    Dosovitskiy et al. 2014, https://arxiv.org/abs/1406.6909, eq. 1
Code     none that we read
Family   pretext          Views  one or more, cropped, rotated and with changed colours
Differs  whole images instead of patches of high gradient; scale and translation by a random crop;
         contrast and colours by torchvision's jitter; views are drawn anew each epoch, not 150 once
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View

_NO_CLASS = -1


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of exemplar.

    Attributes:
        views: one copy or more.
        num_exemplars: images that get a class, the first of the train split; the others are
            skipped. The classifier grows with this number, and each class is seen less often the
            more there are.
    """

    views: tuple[View, ...]
    num_exemplars: int

    def __post_init__(self) -> None:
        """Refuse a single class."""
        if self.num_exemplars < 2:
            raise ValueError(f"num_exemplars must be at least 2, found {self.num_exemplars}")


class Exemplar(Method):
    """Cross entropy of the image that each view was made from."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.num_exemplars = min(params.num_exemplars, data.num_samples)
        self.classifier = nn.Linear(backbone.feature_dim, self.num_exemplars)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the cross entropy of the exemplars, and the share of right answers."""
        views, exemplars = self._exemplars(batch)
        logits = self.classifier(self.backbone(views))  # (rows, num_exemplars)
        right = logits.detach().argmax(dim=1) == exemplars
        accuracy = right.sum() / _count(exemplars)
        return StepOutput(in_float32(exemplar_loss, logits, exemplars), {"accuracy": accuracy})

    def _exemplars(self, batch: ViewBatch) -> tuple[Tensor, Tensor]:
        """Return the views (rows, channel, height, width) of exemplars and their classes (rows,).

        A batch without any is returned whole and without classes, so that a loss of 0 has a graph.
        """
        views, images = torch.cat(batch.views), batch.index.repeat(len(batch.views))
        is_exemplar = images < self.num_exemplars
        if not is_exemplar.any():
            return views, torch.full_like(images, _NO_CLASS)
        return views[is_exemplar], images[is_exemplar]


def exemplar_loss(logits: Tensor, exemplars: Tensor) -> Tensor:
    """Return the mean cross entropy of rows that have a class; 0 where none has.

    Args:
        logits: (rows, num_exemplars).
        exemplars: (rows,) class of each row, or -1.
    """
    total = functional.cross_entropy(logits, exemplars, ignore_index=_NO_CLASS, reduction="sum")
    return total / _count(exemplars)


def _count(exemplars: Tensor) -> Tensor:
    return (exemplars != _NO_CLASS).sum().clamp_min(1)


METHOD = Exemplar
