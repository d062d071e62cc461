"""Tiles: where they lie, what they hide, and that each of the hiding places is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sslbench.core import seeding
from sslbench.views.tiles import (
    FAINT,
    TileGrid,
    crop,
    cut,
    draw_corners,
    drop_channels,
    standardise,
)

# 32 px enlarged to 48: a tile of 12 px, a gap of 2 and 2 px of jitter in each cell.
GRID = TileGrid(grid_side=3, cell_px=16, tile_px=12, gap_px=2, channel_drop=0.0)
TOUCHING = TileGrid(grid_side=3, cell_px=16, tile_px=16, gap_px=0, channel_drop=0.0)


def stream(seed: int = 0) -> torch.Generator:
    return seeding.generator(seed, "tiles")


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=stream(seed))


def test_touching_tiles_put_together_are_the_image() -> None:
    images = draw(2, 3, 48, 48)
    tiles = crop(images, TOUCHING, draw_corners(2, TOUCHING, stream()))
    rows = [torch.cat(list(row.unbind(1)), dim=3) for row in tiles.split(3, dim=1)]
    assert torch.equal(torch.cat(rows, dim=2), images)


def test_each_tile_is_what_lies_at_its_corner_of_the_enlarged_image() -> None:
    images, corners = draw(2, 3, 32, 32), draw_corners(2, GRID, stream())
    canvas = torch.nn.functional.interpolate(images, size=(48, 48), mode="bilinear")
    tiles = crop(images, GRID, corners)
    assert tiles.shape == (2, 9, 3, 12, 12)
    for image in range(2):
        for tile in range(9):
            top, left = corners[image, tile].tolist()
            there = canvas[image, :, top : top + 12, left : left + 12]
            assert torch.allclose(tiles[image, tile], there, atol=1e-5)


def test_corners_lie_in_their_cells_and_keep_the_gap() -> None:
    corners = draw_corners(500, GRID, stream())
    cells = corners.div(16, rounding_mode="floor")
    assert cells[0].tolist() == [[row, column] for row in range(3) for column in range(3)]
    assert (cells == cells[0]).all()
    square = corners.view(500, 3, 3, 2)
    down = square[:, 1:, :, 0] - square[:, :-1, :, 0] - GRID.tile_px
    across = square[:, :, 1:, 1] - square[:, :, :-1, 1] - GRID.tile_px
    assert int(down.min()) == int(across.min()) == GRID.gap_px


def test_jitter_is_uniform_and_drawn_for_each_tile_and_direction() -> None:
    corners = draw_corners(3000, GRID, stream()) % 16 - GRID.gap_px // 2
    shares = torch.nn.functional.one_hot(corners, 3).float().mean(dim=0)  # (tile, direction, 3)
    assert torch.allclose(shares, torch.full_like(shares, 1 / 3), atol=0.04)
    flat = corners.flatten(1).float()  # 18 draws an image
    together = torch.corrcoef(flat.T) - torch.eye(18)
    assert float(together.abs().max()) < 0.08


def seen_by(grid: TileGrid) -> torch.Tensor:
    """How many tiles see each pixel of a 32 px image, for many draws of the corners."""
    images = torch.eye(32 * 32).view(-1, 1, 32, 32).repeat(4, 1, 1, 1)
    tiles = crop(images, grid, draw_corners(len(images), grid, stream()))
    return (tiles.abs() > 1e-6).flatten(2).any(dim=2).sum(dim=1)


def test_no_pixel_of_the_image_is_seen_by_two_tiles() -> None:
    for grid in (GRID, replace(GRID, tile_px=14)):  # the latter has no jitter to help it
        assert int(seen_by(grid).max()) == 1


@pytest.mark.parametrize("gap", [0, 1])
def test_a_smaller_gap_would_show_two_tiles_the_same_pixel(gap: int) -> None:
    assert int(seen_by(replace(GRID, tile_px=16 - gap, gap_px=gap)).max()) > 1


def places_in_the_pattern(grid: TileGrid) -> torch.Tensor:
    """Shares of a column's tiles at each place of the pattern of an enlargement by 3 : 2."""
    left = draw_corners(3000, grid, stream())[:, :3, 1] % 3
    return torch.nn.functional.one_hot(left, 3).float().mean(dim=0)


def test_the_pattern_of_enlarged_pixels_does_not_tell_the_column() -> None:
    shares = places_in_the_pattern(GRID)
    assert torch.allclose(shares, torch.full_like(shares, 1 / 3), atol=0.04)


def test_without_jitter_it_would() -> None:
    shares = places_in_the_pattern(replace(GRID, tile_px=14))
    assert shares.max(dim=1).values.tolist() == [1.0, 1.0, 1.0]
    assert len(set(shares.argmax(dim=1).tolist())) == 3


def test_brightness_and_contrast_leave_no_trace() -> None:
    tiles = draw(5, 3, 12, 12)
    scale, shift = draw(5, 3, 1, 1, seed=1).exp(), draw(5, 3, 1, 1, seed=2)
    assert torch.allclose(standardise(scale * tiles + shift), standardise(tiles), atol=1e-5)
    made = standardise(tiles)
    assert torch.allclose(made.mean(dim=(2, 3)), torch.zeros(5, 3), atol=1e-6)
    assert torch.allclose(made.var(dim=(2, 3), correction=0), torch.ones(5, 3), atol=1e-5)


def test_a_flat_tile_is_zero() -> None:
    assert standardise(torch.full((1, 3, 4, 4), 0.3)).abs().max() < 1e-3


def test_cut_normalises_every_tile_of_an_image_on_its_own() -> None:
    ramp = torch.arange(32.0) / 8
    images = draw(4, 3, 32, 32) + ramp  # brighter to the right
    plain, ramped = (cut(x, GRID, stream()) for x in (images - ramp, images))
    assert torch.allclose(ramped.mean(dim=(3, 4)), torch.zeros(4, 9, 3), atol=1e-5)
    assert torch.allclose(ramped.std(dim=(3, 4)), plain.std(dim=(3, 4)), atol=1e-5)


def test_dropped_channels_are_faint_noise_and_one_channel_is_kept() -> None:
    tiles = standardise(draw(300, 3, 12, 12))
    made = drop_channels(tiles, 1.0, stream(1))
    kept = (made == tiles).flatten(2).all(dim=2)
    assert (kept.sum(dim=1) == 1).all()
    assert kept.float().mean(dim=0).tolist() == pytest.approx([1 / 3] * 3, abs=0.1)
    assert float(made[~kept].std()) == pytest.approx(FAINT, rel=0.05)


def test_channels_are_dropped_from_a_share_of_the_tiles() -> None:
    tiles = standardise(draw(1000, 3, 2, 2))
    whole = (drop_channels(tiles, 0.3, stream(1)) == tiles).flatten(1).all(dim=1)
    assert float(whole.float().mean()) == pytest.approx(0.7, abs=0.05)
    assert torch.equal(drop_channels(tiles, 0.0, stream(1)), tiles)


def test_cut_follows_its_generator_and_no_other() -> None:
    images, grid = draw(2, 3, 32, 32), replace(GRID, channel_drop=0.5)
    before = torch.get_rng_state()
    first, again, other = (cut(images, grid, stream(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gap_px": 5}, "tile_px \\+ gap_px must be at most cell_px"),
        ({"grid_side": 1}, "a grid needs 2 cells"),
        ({"channel_drop": 1.5}, "channel_drop must lie in"),
    ],
)
def test_a_grid_without_room_is_refused(change: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(GRID, **change)
