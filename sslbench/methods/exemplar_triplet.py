"""Exemplar with triplets: several views of an image lie nearer to one another than to any other.

Paper    Kolesnikov et al. 2019, https://arxiv.org/abs/1901.09005, section 3.1 ("Exemplar")
Code     https://github.com/google/revisiting-self-supervised/blob/c350d4a4928b2fabaf417bc745973e4590e8f15c/self_supervision/exemplar.py
Family   pretext          Views  several crops, often grey (authors: eight, grey in two of three)
Differs  embeddings have unit length each (the authors' code normalises over the batch's axis,
         surely unintended); fewer views on small images
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.objectives.triplet import triplet_loss
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of the exemplar triplets.

    Attributes:
        views: two copies or more in all.
        output_dim: width of the embedding.
        margin: by which another image's squared distance must exceed that of a view, in (0, 4).
    """

    views: tuple[View, ...]
    output_dim: int
    margin: float

    def __post_init__(self) -> None:
        """Refuse an image without a positive, and a margin that cannot matter."""
        if sum(view.copies for view in self.views) < 2:
            raise ValueError("exemplar_triplet needs two views of each image or more")
        if not 0 < self.margin < 4:
            raise ValueError(f"margin must lie in (0, 4), found {self.margin}")


class ExemplarTriplet(Method):
    """Semi-hard triplets of squared distances between unit embeddings."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.projection_head = nn.Linear(backbone.feature_dim, params.output_dim)
        self.margin = params.margin

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean over all positive pairs, each with its semi-hard negative."""
        embeddings = self.projection_head(self.backbone(torch.cat(batch.views)))
        unit = functional.normalize(embeddings.float(), dim=1)  # (num_views * batch, output_dim)
        first, second = unit.detach().chunk(len(batch.views))[:2]
        parts = {"positive_cosine": (first * second).sum(dim=1).mean()}
        images = batch.index.repeat(len(batch.views))
        return StepOutput(in_float32(self._loss, unit, images), parts)

    def _loss(self, unit: Tensor, images: Tensor) -> Tensor:
        """Return the loss of unit embeddings (rows, output_dim) of images (rows,)."""
        distances = 2 - 2 * unit @ unit.T  # squared, of unit rows
        return triplet_loss(-distances, images, self.margin, "semi_hard")


METHOD = ExemplarTriplet
