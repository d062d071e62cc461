"""Jigsaw: tell by which permutation of a fixed set the tiles of an image were shuffled.

Paper    Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246, section 3 and algorithm 1
Code     https://github.com/MehdiNoroozi/JigsawPuzzleSolver/blob/8041c585d10cfc21e67b83a0ce708485f055339a/train_val_cfn_jps.prototxt
Family   pretext          Views  one, cut into a grid of tiles
Differs  several permutations of one image a step, as Kolesnikov et al. 2019 (arXiv 1901.09005);
         one layer for each tile and a linear classifier, as VISSL; the set of permutations
         also keeps its nearest two apart
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from lightly.models.modules.heads import ProjectionHead
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.permutations import MOST_TILES, hamming_permutations
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View
from sslbench.views.tiles import TileGrid, cut


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of jigsaw.

    Attributes:
        views: one view.
        tiles: how it is cut; 2 or 3 cells a side.
        tile_dim: width of each tile's own layer.
        num_permutations: size of the set.
        puzzles_per_image: permutations of the set, drawn anew for each image and step.
    """

    views: tuple[View, ...]
    tiles: TileGrid
    tile_dim: int
    num_permutations: int
    puzzles_per_image: int

    def __post_init__(self) -> None:
        """Refuse more permutations than there are, or than can be searched."""
        if self.tiles.num_tiles > MOST_TILES:
            raise ValueError(f"tiles.grid_side must be 2 or 3, found {self.tiles.grid_side}")
        most = math.factorial(self.tiles.num_tiles)
        if not 2 <= self.num_permutations <= most:
            raise ValueError(f"num_permutations must lie in [2, {most}]")
        if self.puzzles_per_image < 1:
            raise ValueError("puzzles_per_image must be at least 1")


class Jigsaw(Method):
    """Classification of permutations from the features of shuffled tiles."""

    permutations: Tensor
    reestimates_batch_norms = True

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        self.tiles = params.tiles
        self.puzzles_per_image = params.puzzles_per_image
        num_tiles, width = params.tiles.num_tiles, params.tile_dim
        permutations = hamming_permutations(num_tiles, params.num_permutations)
        self.register_buffer("permutations", permutations.clone())
        self.tile_head = ProjectionHead(
            [(backbone.feature_dim, width, nn.BatchNorm1d(width), nn.ReLU())]
        )
        self.classifier = nn.Linear(num_tiles * width, params.num_permutations)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the cross entropy of the permutations, and the share of right answers."""
        tiles = cut(batch.views[0], self.tiles, batch.generator)
        features = self.tile_head(self.backbone(tiles.flatten(0, 1)))
        drawn = self._draw(batch).flatten()  # (puzzles_per_image * batch,)
        puzzles = shuffle(features.unflatten(0, tiles.shape[:2]), self.permutations[drawn])
        logits = self.classifier(puzzles.flatten(1))
        loss = in_float32(self.criterion, logits, drawn)
        accuracy = (logits.detach().argmax(dim=1) == drawn).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})

    def _draw(self, batch: ViewBatch) -> Tensor:
        """Return which permutations of the set each image meets (batch, puzzles_per_image)."""
        return torch.randint(
            len(self.permutations),
            (len(batch.index), self.puzzles_per_image),
            generator=batch.generator,
            device=batch.index.device,
        )


def shuffle(tiles: Tensor, orders: Tensor) -> Tensor:
    """Return tiles in given orders: place p of puzzle k shows tile orders[k, p].

    Args:
        tiles: (batch, num_tiles, ...), or features of them, which shuffle alike.
        orders: (num_puzzles * batch, num_tiles), the puzzles of one image after another.

    Returns:
        (num_puzzles * batch, num_tiles, ...).
    """
    num_puzzles = len(orders) // len(tiles)
    image = torch.arange(len(tiles), device=tiles.device).repeat_interleave(num_puzzles)
    return tiles[image[:, None], orders]


METHOD = Jigsaw
