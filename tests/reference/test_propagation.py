"""Propagation against DINO's dense form, restated; and videos whose answer is known."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sslbench.evaluation.protocols.keypoints import Points
from sslbench.evaluation.protocols.parts.propagation import Propagation, Propagator
from sslbench.evaluation.protocols.tracking import Masks

SETTINGS = {
    "scale": (1.0,), "max_cells": 999, "context": 7, "radius": 12, "top_k": 5, "temperature": 0.1,
}  # fmt: skip


def settings(**changes):
    return Propagation(**(SETTINGS | changes))


def dense(frames, labels, chosen):
    """Return each later frame's labels: all cells against all, the window a mask of 0 and 1."""
    height, width = labels.shape[1:]
    place = np.indices((height, width)).reshape(2, -1)
    near = (np.abs(place[:, :, None] - place[:, None]) <= chosen.radius).all(0)
    units = [functional.normalize(f.flatten(1).double(), dim=0) for f in frames]
    made = [labels.flatten(1).double()]
    for t in range(1, len(frames)):
        context = [0, *range(max(1, t - chosen.context), t)]
        likeness = [(units[c].T @ units[t] / chosen.temperature).exp() for c in context]
        weights = torch.cat([one * torch.from_numpy(near) for one in likeness])
        least = weights.topk(min(chosen.top_k, len(weights)), dim=0).values[-1]
        weights[weights < least] = 0
        made.append(torch.cat([made[c] for c in context], 1) @ (weights / weights.sum(0)))
    return torch.stack(made[1:]).reshape(len(frames) - 1, *labels.shape)


@pytest.mark.parametrize(
    "changes",
    [{}, {"radius": 2}, {"radius": 1, "context": 0}, {"top_k": 1, "context": 2}, {"top_k": 9999}],
    ids=str,
)
@pytest.mark.parametrize("grid", [(4, 4), (19, 10), (8, 17)], ids=str)
def test_it_is_the_dense_form(grid, changes):
    rng = torch.Generator().manual_seed(0)
    frames = [torch.randn(6, *grid, generator=rng) for _ in range(11 if grid == (4, 4) else 5)]
    labels = torch.rand(3, *grid, generator=rng)
    chosen = settings(**changes)
    follower = Propagator(chosen, frames[0], labels)
    found = torch.stack([follower.step(frame) for frame in frames[1:]])
    torch.testing.assert_close(found, dense(frames, labels, chosen).float(), atol=1e-5, rtol=1e-4)


def test_cells_that_are_equally_like_share():
    frames = [torch.randn(4, 1, 1).expand(4, 6, 6).clone(), torch.ones(4, 6, 6)]
    labels = torch.rand(2, 6, 6)
    follower = Propagator(settings(radius=1), frames[0], labels)
    found = follower.step(frames[1])
    torch.testing.assert_close(found[:, 0, 0], labels[:, :2, :2].mean((1, 2)))
    torch.testing.assert_close(found[:, 3, 3], labels[:, 2:5, 2:5].mean((1, 2)))
    empty = Propagator(settings(radius=1), torch.zeros(4, 6, 6), labels).step(torch.zeros(4, 6, 6))
    assert torch.isfinite(empty).all()


def distinct(*grid):
    """Features of which no two cells are alike."""
    cells = int(np.prod(grid))
    return torch.eye(cells).reshape(cells, *grid)


def square(shape, top, left, side):
    made = np.zeros(shape, np.uint8)
    made[top : top + side, left : left + side] = 3
    return made


def test_an_identity_video_keeps_the_mask_exactly():
    truth = square((9, 11), 2, 3, 4) + square((9, 11), 7, 8, 2) * 2
    task, features = Masks(), distinct(9, 11)
    chosen = settings(temperature=0.05)
    follower = Propagator(chosen, features, task.encode(truth, (9, 11), (9, 11)))
    for _ in range(12):
        labels = follower.step(features)
        np.testing.assert_array_equal(task.decode(labels, truth, (9, 11)), truth)


def test_an_identity_video_keeps_a_mask_of_whole_cells_at_stride_4():
    truth = np.zeros((32, 40), np.uint8)
    truth[:, 12:24], truth[:, 24:] = 1, 7  # straight edges between cells
    task, features = Masks(), distinct(8, 10)
    follower = Propagator(settings(), features, task.encode(truth, (32, 40), (8, 10)))
    for _ in range(12):
        labels = follower.step(features)
        np.testing.assert_array_equal(task.decode(labels, truth, (32, 40)), truth)


@pytest.mark.parametrize("shift", [(0, 1), (2, 0), (-1, 2)], ids=str)
def test_a_video_shifted_by_whole_cells_is_followed(shift):
    grid = (16, 16)
    truth = square(grid, 6, 5, 4)
    task, features = Masks(), distinct(*grid)
    follower = Propagator(settings(top_k=1), features, task.encode(truth, grid, grid))
    for _ in range(3):
        features, truth = torch.roll(features, shift, (1, 2)), np.roll(truth, shift, (0, 1))
        np.testing.assert_array_equal(task.decode(follower.step(features), truth, grid), truth)


def test_what_moves_further_than_the_radius_is_lost():
    grid = (16, 16)
    truth = square(grid, 6, 2, 3)
    task, features = Masks(), distinct(*grid)
    follower = Propagator(settings(radius=3), features, task.encode(truth, grid, grid))
    moved = torch.roll(features, 8, 2)
    found = task.decode(follower.step(moved), truth, grid)
    assert not (found == np.roll(truth, 8, 1)).all()


def test_keypoints_stay_between_cells_and_move_by_whole_ones():
    task, grid, frame = Points(5), (8, 10), (32, 40)
    truth = np.array([[13.3, 9.1, 1], [22.0, 18.0, 1], [30.5, 12.25, 1], [8.0, 8.0, 0]], np.float32)
    features = distinct(*grid)
    labels = task.encode(truth, frame, grid)
    torch.testing.assert_close(labels.sum((1, 2)), torch.tensor([1.0, 1, 1, 0]))
    follower = Propagator(settings(top_k=1), features, labels)
    for step in range(1, 4):
        found = task.decode(follower.step(torch.roll(features, step, 1)), truth, frame)
        np.testing.assert_allclose(found[:3], truth[:3, :2] + [0, 4 * step], atol=1e-3)
        assert np.isnan(found[3]).all()


def test_a_keypoint_at_the_border_stays_in_its_cell():
    task = Points(5)
    truth = np.array([[0.1, 31.9, 1]], np.float32)
    found = task.decode(task.encode(truth, (32, 40), (8, 10)), truth, (32, 40))
    np.testing.assert_allclose(found, [[2, 30]])


def test_settings_under_which_nothing_travels_are_refused():
    for change in ({"scale": ()}, {"temperature": 0.0}, {"radius": 0}, {"context": -1}):
        with pytest.raises(ValueError, match=next(iter(change))):
            settings(**change)
