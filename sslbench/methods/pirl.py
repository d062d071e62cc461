"""PIRL: an image and its shuffled tiles are both near the image's remembered feature.

Paper    Misra and van der Maaten 2019, https://arxiv.org/abs/1912.01991, eq. 5
Code     https://github.com/facebookresearch/vissl/blob/09270ed25a6c2cf71263d955b64cbe076d34ac45/vissl/losses/nce_loss.py
Family   contrastive          Views  two: the image, and one that is cut into tiles
Differs  NCE with an estimated Z, as VISSL, but from the images, from other images' rows only and
         twice; the bank starts with the untrained network's features, not at random; colour
         jitter is drawn for the image, not for each tile, but tiles are normalised one by one
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.bank_nce import BankNCE, compare, own_and_others, own_row_wins
from sslbench.methods.parts.memory import IndexBank
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View
from sslbench.views.tiles import TileGrid, cut


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of PIRL.

    Attributes:
        views: two in all; the second is cut into tiles.
        tiles: how it is cut.
        tile_weight: weight of the tiles' term; the image's has the rest (lambda), in [0, 1].
        output_dim: width of the projections, of each tile's and of the bank.
        temperature: divides the cosines.
        num_negatives: other images' rows that each image is held against.
        bank_momentum: share of the old row kept when an image comes by again, in [0, 1).
    """

    views: tuple[View, ...]
    tiles: TileGrid
    tile_weight: float
    output_dim: int
    temperature: float
    num_negatives: int
    bank_momentum: float

    def __post_init__(self) -> None:
        """Refuse other numbers of views and weights that are no shares."""
        if sum(view.copies for view in self.views) != 2:
            raise ValueError("views must make two copies: the image and the one cut into tiles")
        if not 0 <= self.tile_weight <= 1:
            raise ValueError(f"tile_weight must lie in [0, 1], found {self.tile_weight}")
        if not 0 <= self.bank_momentum < 1:
            raise ValueError(f"bank_momentum must lie in [0, 1), found {self.bank_momentum}")


class PIRL(Method):
    """NCE of images and of their shuffled tiles against a bank that only images write."""

    reestimates_batch_norms = True

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.tiles = params.tiles
        self.tile_weight = params.tile_weight
        self.num_negatives = params.num_negatives
        width = params.output_dim
        self.projection_head = nn.Linear(backbone.feature_dim, width)
        self.tile_head = nn.Linear(backbone.feature_dim, width)
        self.puzzle_head = nn.Linear(params.tiles.num_tiles * width, width)
        self.bank = IndexBank(data.num_samples, width, momentum=params.bank_momentum)
        self.criterion = BankNCE(data.num_samples, params.temperature)

    def on_epoch_start(self, context: EpochContext) -> None:
        """Fill the bank before the first epoch; estimate Z then, and again a pass later."""
        if context.progress.step == 0:
            self.bank.fill(context.extract(lambda views: self._project(views[0])))
        if context.progress.epoch <= 1:
            self.criterion.forget()

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the weighted NCE of tiles and images; remember the images' projections."""
        candidates = own_and_others(
            batch.index, len(self.bank.rows), self.num_negatives, batch.generator
        )
        rows = self.bank.read(candidates)  # (batch, 1 + num_negatives, output_dim)
        image, tiled = batch.views
        projections = self._project(image)
        puzzles = self._project_tiles(tiled, batch.generator)
        from_image = in_float32(compare, projections, rows)
        from_tiles = in_float32(compare, puzzles, rows)
        image_loss = in_float32(self.criterion, from_image)
        tile_loss = in_float32(self.criterion, from_tiles)
        self.bank.write(batch.index, projections.detach())
        loss = self.tile_weight * tile_loss + (1 - self.tile_weight) * image_loss
        parts = {
            "image_accuracy": own_row_wins(from_image),
            "tile_accuracy": own_row_wins(from_tiles),
        }
        return StepOutput(loss, parts)

    def _project(self, images: Tensor) -> Tensor:
        """Return unit projections (batch, output_dim) of whole images."""
        return _unit(self.projection_head(self.backbone(images)))

    def _project_tiles(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return unit projections (batch, output_dim) of tiles in an order of each image's own."""
        tiles = shuffled(cut(images, self.tiles, generator), generator)
        features = self.tile_head(self.backbone(tiles.flatten(0, 1)))
        return _unit(self.puzzle_head(features.unflatten(0, tiles.shape[:2]).flatten(1)))


def shuffled(tiles: Tensor, generator: torch.Generator) -> Tensor:
    """Return tiles (batch, num_tiles, ...) in an order drawn for each image at each call.

    The head is not symmetric in its tiles: with a fixed order it could learn where each one was.
    """
    noise = torch.rand(tiles.shape[:2], generator=generator, device=generator.device)
    image = torch.arange(len(tiles), device=tiles.device)[:, None]
    return tiles[image, noise.argsort(dim=1)]


def _unit(rows: Tensor) -> Tensor:
    return functional.normalize(rows.float(), dim=1)


METHOD = PIRL
