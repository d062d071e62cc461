"""Relative patch location: tell on which of its eight sides a tile lies beside the centre tile.

Paper    Doersch et al. 2015, https://arxiv.org/abs/1505.05192, section 3
Code     https://github.com/cdoersch/deepcontext/blob/05b2e88557ed00dabf0a5711568e26424e9fb78e/train.py
Family   pretext          Views  one, cut into a grid of 3 x 3 tiles
Differs  one grid an image with all eight pairs around its centre, as Kolesnikov et al. 2019
         (arXiv 1901.09005); one hidden layer; no tiles shrunk and enlarged again
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View
from sslbench.views.tiles import TileGrid, cut

CENTRE, NEIGHBOURS = 4, (0, 1, 2, 3, 5, 6, 7, 8)  # of nine tiles in reading order


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of relative patch location.

    Attributes:
        views: one view.
        tiles: how it is cut; 3 cells a side.
        hidden_dim: width of the hidden layer that sees both tiles.
    """

    views: tuple[View, ...]
    tiles: TileGrid
    hidden_dim: int

    def __post_init__(self) -> None:
        """Refuse grids without one centre and eight neighbours."""
        if self.tiles.grid_side != 3:
            raise ValueError(f"tiles.grid_side must be 3, found {self.tiles.grid_side}")


class RelativePatch(Method):
    """Eight-way classification of pairs of tiles."""

    reestimates_batch_norms = True

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.tiles = params.tiles
        width = params.hidden_dim
        self.pair_head = ProjectionHead(
            [(2 * backbone.feature_dim, width, nn.BatchNorm1d(width), nn.ReLU())]
        )
        self.classifier = nn.Linear(width, len(NEIGHBOURS))
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the cross entropy of the sides, and the share of right answers."""
        tiles = cut(batch.views[0], self.tiles, batch.generator)
        features = self.backbone(tiles.flatten(0, 1)).unflatten(0, tiles.shape[:2])
        pairs, sides = pairs_around_centre(features)
        logits = self.classifier(self.pair_head(pairs))  # (8 * batch, 8)
        loss = in_float32(self.criterion, logits, sides)
        accuracy = (logits.detach().argmax(dim=1) == sides).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})


def pairs_around_centre(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of centre and neighbour, and on which side each neighbour lies.

    Args:
        features: (batch, 9, dim) of tiles in reading order.

    Returns:
        Pairs (8 * batch, 2 * dim), the centre first, and sides (8 * batch,) in reading order
        without the centre.
    """
    neighbours = features[:, NEIGHBOURS]
    centres = features[:, CENTRE, None].expand_as(neighbours)
    sides = torch.arange(len(NEIGHBOURS), device=features.device).repeat(len(features))
    return torch.cat([centres, neighbours], dim=2).flatten(0, 1), sides


METHOD = RelativePatch
