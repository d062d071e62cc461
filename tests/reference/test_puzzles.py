"""Relative patches and jigsaw: labels, chance on noise, and success where places are painted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.methods.base import Method, Progress, ViewBatch
from sslbench.methods.jigsaw import shuffle
from sslbench.methods.parts.permutations import hamming_permutations
from sslbench.methods.relative_patch import NEIGHBOURS, pairs_around_centre
from sslbench.views.tiles import TileGrid
from tests.contract import harness
from tests.reference.test_objectives import draw, first_loss, zero

PLACES = [(row, column) for row in range(3) for column in range(3)]


def test_relative_patch_starts_at_log_eight() -> None:
    method = harness.build_method("relative_patch")
    zero(method.classifier)
    assert first_loss(method) == pytest.approx(math.log(8), abs=1e-6)


def test_jigsaw_starts_at_log_of_the_permutations() -> None:
    method = harness.build_method("jigsaw")
    zero(method.classifier)
    assert first_loss(method) == pytest.approx(math.log(len(method.permutations)), abs=1e-6)


def test_pairs_are_the_centre_and_each_neighbour_with_its_side() -> None:
    features = torch.tensor(PLACES).float()[None] + 10 * torch.arange(2)[:, None, None]
    pairs, sides = pairs_around_centre(features)
    expected = [place for place in PLACES if place != (1, 1)]
    for image in range(2):
        for position, (row, column) in enumerate(expected):
            pair = pairs[8 * image + position] - 10 * image
            assert pair.tolist() == [1.0, 1.0, row, column]
            assert int(sides[8 * image + position]) == position


def test_swapping_the_tiles_of_a_pair_turns_side_j_into_seven_minus_j() -> None:
    step_of = [(PLACES[tile][0] - 1, PLACES[tile][1] - 1) for tile in NEIGHBOURS]
    for side, (down, across) in enumerate(step_of):
        assert step_of[7 - side] == (-down, -across)


def test_shuffle_restated_and_undone_by_the_inverse() -> None:
    tiles, orders = draw(2, 4, 3), hamming_permutations(4, 6)
    made = shuffle(tiles, orders)
    for puzzle, order in enumerate(orders.tolist()):
        for place, tile in enumerate(order):
            assert torch.equal(made[puzzle, place], tiles[puzzle // 3, tile])
    back = shuffle(made, orders.argsort(dim=1))
    assert torch.equal(back, tiles.repeat_interleave(3, dim=0))


def test_jigsaw_loss_restated_for_the_permutations_drawn(monkeypatch) -> None:
    from sslbench.methods import jigsaw as module

    tiles = draw(2, 9, 3, 12, 12)
    monkeypatch.setattr(module, "cut", lambda *_: tiles)
    method = harness.build_method("jigsaw", puzzles_per_image=2)
    drawn = torch.tensor([[3, 0], [7, 3]])
    monkeypatch.setattr(method, "_draw", lambda _: drawn)
    batch = harness.make_batch(method, torch.arange(2))
    loss = float(method(batch, Progress(0, 10, 2), "main").loss.detach())
    features = method.tile_head(method.backbone(tiles.flatten(0, 1))).view(2, 9, -1).detach()
    total = 0.0
    for image, puzzles in enumerate(drawn.tolist()):
        for answer in puzzles:
            order = method.permutations[answer].tolist()
            row = torch.cat([features[image, tile] for tile in order])
            logits = method.classifier(row).detach().double()
            total += float(logits.exp().sum().log() - logits[answer])
    assert loss == pytest.approx(total / 4, rel=1e-4)


def test_jigsaw_draws_puzzles_evenly_and_from_the_batch() -> None:
    method = harness.build_method("jigsaw", puzzles_per_image=8)
    stream = seeding.generator(0, "puzzles")
    drawn = method._draw(ViewBatch([], torch.arange(400), stream))
    assert drawn.shape == (400, 8)
    assert torch.bincount(drawn.flatten()).tolist() == pytest.approx([320] * 10, rel=0.25)
    assert not torch.equal(drawn[0], drawn[1])


# What can be learned from images of which we know all. Every step sees fresh ones, so nothing is
# learned by heart; the accuracy is that of the last quarter of the steps.
BATCH = 16


def learned(method: Method, images_of: Callable[[torch.Generator], Tensor], steps: int) -> float:
    optimizer = torch.optim.Adam(method.parameters(), lr=5e-3)
    found = []
    for step in range(steps):
        stream = seeding.generator(step, "puzzles")
        batch = ViewBatch([images_of(stream)], torch.arange(BATCH), stream)
        output = method(batch, Progress(step, steps, steps), "main")
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        found.append(float(output.parts["accuracy"]))
    return sum(found[-steps // 4 :]) / (steps // 4)


def noise(stream: torch.Generator) -> Tensor:
    return torch.randn(BATCH, 3, 32, 32, generator=stream)


def painted(stream: torch.Generator) -> Tensor:
    """One and the same texture under some noise: what a tile shows tells where it was."""
    texture = torch.randn(1, 3, 32, 32, generator=seeding.generator(0, "texture"))
    return texture + 0.3 * noise(stream)


def fringed(stream: torch.Generator) -> Tensor:
    """Noise seen through a lens whose green lies a pixel farther out than its red and blue."""
    grey = torch.randn(BATCH, 1, 32, 32, generator=stream)
    centre = torch.arange(32.0) - 15.5
    source = (torch.arange(32) - centre.sign().long() * (centre.abs() > 5)).clamp(0, 31)
    return torch.cat([grey, grey[:, :, source][:, :, :, source], grey], dim=1)


def puzzle(name: str, **grid: float) -> Method:
    """The method with few answers, on its own grid but for some numbers."""
    torch.manual_seed(0)
    method = harness.build_method(name)
    method.tiles = replace(method.tiles, **grid)
    return method


CHANCE = {"relative_patch": 1 / 8, "jigsaw": 1 / 10}
each = pytest.mark.parametrize("name", CHANCE)


@each
def test_painted_places_are_read(name: str) -> None:
    assert learned(puzzle(name), painted, 60) > 0.9


@each
def test_noise_gives_nothing_away(name: str) -> None:
    assert learned(puzzle(name), noise, 150) < CHANCE[name] + 0.03


@each
def test_noise_would_without_gap_and_jitter(name: str) -> None:
    assert learned(puzzle(name, tile_px=16, gap_px=0), noise, 150) > CHANCE[name] + 0.1


def test_colour_fringes_are_read_unless_channels_are_dropped() -> None:
    assert learned(puzzle("relative_patch"), fringed, 100) > 0.4
    hidden = puzzle("relative_patch", channel_drop=1.0)
    assert learned(hidden, fringed, 100) < CHANCE["relative_patch"] + 0.03


def shaded(stream: torch.Generator) -> Tensor:
    """Noise that is brighter to the right and of more contrast to the bottom."""
    ramp = torch.linspace(0, 1, 32)
    return noise(stream) * (1 + 2 * ramp[:, None]) + 2 * ramp


def test_shading_is_read_unless_tiles_are_normalised(monkeypatch) -> None:
    from sslbench.views import tiles as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "standardise", lambda tiles: tiles)
        assert learned(puzzle("relative_patch"), shaded, 60) > 0.4
    assert learned(puzzle("relative_patch"), shaded, 60) < CHANCE["relative_patch"] + 0.1


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("relative_patch", {"grid_side": 2}, "tiles.grid_side must be 3"),
        ("jigsaw", {"grid_side": 4}, "tiles.grid_side must be 2 or 3"),
    ],
)
def test_grids_that_do_not_fit_are_refused(name: str, change: dict[str, int], says: str) -> None:
    from sslbench.core.errors import UserError

    tiles = harness.SMALL["methods"][name]["tiles"] | change
    with pytest.raises(UserError, match=says):
        harness.build_params(name, tiles=tiles)


def test_more_permutations_than_there_are_are_refused() -> None:
    from sslbench.core.errors import UserError

    tiles = harness.SMALL["methods"]["jigsaw"]["tiles"] | {"grid_side": 2}
    with pytest.raises(UserError, match="num_permutations must lie in \\[2, 24\\]"):
        harness.build_params("jigsaw", tiles=tiles, num_permutations=25)


def test_a_grid_is_a_record_of_values() -> None:
    values = harness.SMALL["methods"]["jigsaw"]["tiles"]
    assert harness.build_params("jigsaw").tiles == TileGrid(**values)
