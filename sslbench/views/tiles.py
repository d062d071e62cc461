"""Tiles: one square crop from each cell of a grid, cut from batches of images on their device.

What could tell a tile's place without looking at what is in it is taken away here: edges that
continue in the neighbour and interpolation that mixes pixels of both (the gap), the place in the
pixel grid (the jitter), brightness and contrast that drift over the image (each tile is
normalised) and colour fringes of lenses (channels are dropped).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Spread of the noise in dropped channels, of a kept one's; Doersch et al. 2015, section 3.1.
FAINT = 0.01
# Divisor of flat tiles, in units of the images' own spread.
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """How an image is cut into tiles.

    What a cell has left beside tile and gap is the jitter: a tile's corner is drawn uniformly
    from `jitter_px + 1` places down and as many across.

    Attributes:
        grid_side: cells along a side of the image.
        cell_px: side of a cell; images are resized to grid_side * cell_px if they differ.
        tile_px: side of a tile.
        gap_px: least distance between neighbouring tiles. Where images were enlarged s times,
            2 * s - 1 or more, or neighbours see the same pixel.
        channel_drop: probability that a tile keeps only one of its channels.
    """

    grid_side: int
    cell_px: int
    tile_px: int
    gap_px: int
    channel_drop: float

    def __post_init__(self) -> None:
        """Refuse grids without room for their tiles."""
        if self.grid_side < 2 or self.tile_px < 1 or self.gap_px < 0:
            raise ValueError("a grid needs 2 cells a side, tiles of 1 px and a gap of 0 px or more")
        if self.jitter_px < 0:
            raise ValueError(
                f"tile_px + gap_px must be at most cell_px, "
                f"found {self.tile_px} + {self.gap_px} > {self.cell_px}"
            )
        if not 0 <= self.channel_drop <= 1:
            raise ValueError(f"channel_drop must lie in [0, 1], found {self.channel_drop}")

    @property
    def num_tiles(self) -> int:
        """Tiles of an image."""
        return self.grid_side**2

    @property
    def canvas_px(self) -> int:
        """Side of the image that is cut."""
        return self.grid_side * self.cell_px

    @property
    def jitter_px(self) -> int:
        """Farthest that a tile is moved from its first place, down and across."""
        return self.cell_px - self.tile_px - self.gap_px


@torch.no_grad()
def cut(images: Tensor, grid: TileGrid, generator: torch.Generator) -> Tensor:
    """Return each image's tiles in reading order, normalised, with channels dropped.

    Args:
        images: (batch, channel, side, side).
        grid: how to cut.
        generator: the stream of chance, on the images' device.

    Returns:
        (batch, num_tiles, channel, tile_px, tile_px).
    """
    tiles = crop(images, grid, draw_corners(len(images), grid, generator)).flatten(0, 1)
    tiles = drop_channels(standardise(tiles), grid.channel_drop, generator)
    return tiles.reshape(len(images), grid.num_tiles, *tiles.shape[1:])


def draw_corners(batch: int, grid: TileGrid, generator: torch.Generator) -> Tensor:
    """Return the top left corners (batch, num_tiles, 2) of tiles in pixels of the canvas."""
    shape, device = (batch, grid.num_tiles, 2), generator.device
    jitter = torch.randint(grid.jitter_px + 1, shape, generator=generator, device=device)
    cells = torch.arange(grid.grid_side, device=device)
    return jitter + grid.gap_px // 2 + grid.cell_px * torch.cartesian_prod(cells, cells)


def crop(images: Tensor, grid: TileGrid, corners: Tensor) -> Tensor:
    """Return tiles (batch, num_tiles, channel, tile_px, tile_px) of images, resized to the canvas.

    Args:
        images: (batch, channel, side, side).
        grid: how to cut.
        corners: (batch, num_tiles, 2) top and left of each tile.
    """
    size = (grid.canvas_px, grid.canvas_px)
    if images.shape[2:] != size:
        images = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
    span = torch.arange(grid.tile_px, device=images.device)
    rows, columns = (corners[..., None] + span).unbind(dim=2)  # (batch, num_tiles, tile_px) each
    image = torch.arange(len(images), device=images.device)[:, None, None, None]
    tiles = images.permute(0, 2, 3, 1)[image, rows[..., :, None], columns[..., None, :]]
    return tiles.permute(0, 1, 4, 2, 3)


def standardise(tiles: Tensor) -> Tensor:
    """Return tiles (..., height, width) with mean 0 and spread 1 in each channel; flat ones 0."""
    centred = tiles - tiles.mean(dim=(-2, -1), keepdim=True)
    spread = centred.square().mean(dim=(-2, -1), keepdim=True).sqrt()
    return centred / spread.clamp_min(_LEAST_SPREAD)


def drop_channels(tiles: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Return tiles (num, channel, height, width), some with faint noise in all channels but one."""
    if not probability:
        return tiles
    count, channels = tiles.shape[:2]
    device = generator.device
    kept = torch.randint(channels, (count, 1), generator=generator, device=device)
    chosen = torch.rand(count, 1, generator=generator, device=device) < probability
    dropped = chosen & (torch.arange(channels, device=device) != kept)
    noise = FAINT * torch.randn(tiles.shape, generator=generator, device=device)
    return torch.where(dropped[..., None, None], noise, tiles)
