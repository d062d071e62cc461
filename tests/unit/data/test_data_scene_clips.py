"""`scene_clips`: seeded, smooth, with masks and keypoints that follow the object."""

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.data import scene_clips, scene_parameters, scenes
from sslbench.data.prepare import prepare
from sslbench.data.scene_drawing import Scenes
from sslbench.data.store import Dataset, Split, write_split
from sslbench.data.store.clips import clips, keypoints, map_to_bytes, object_map

BLOCK = {
    "kind": "scene_clips", "seed": 0, "image_size": 32, "frames": 4, "train": 2, "val": 3,
    "test": 18,
}  # fmt: skip


def drawn(seed, split, count, frames=4, size=32):
    parts = list(scene_clips.chunks(seed, split, count, frames, size))
    return Scenes.join([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def test_same_seed_same_clips_and_fewer_are_a_prefix():
    (many, points), (few, some) = drawn(3, "val", 20), drawn(3, "val", 5)
    np.testing.assert_array_equal(many.images[:20], few.images)
    np.testing.assert_array_equal(points[:20], some)
    assert many.images.shape == (80, 32, 32, 3)
    assert points.shape == (80, 5, 3)


def test_splits_seeds_and_stills_differ():
    one = drawn(0, "val", 4)[0].images
    for other in (drawn(1, "val", 4), drawn(0, "test", 4)):
        assert (one != other[0].images).any(axis=(1, 2, 3)).all()
    still = next(scenes.chunks(0, "val", 4, 32)).images
    assert (one[::4] != still).any(axis=(1, 2, 3)).all()


def test_clips_move_smoothly_and_keep_their_object():
    made, points = drawn(0, "train", 20)
    np.testing.assert_array_equal(made.labels.reshape(20, 4), np.tile(np.arange(20) % 10, (4, 1)).T)
    centre = points[:, 0, :2].reshape(20, 4, 2)
    step = np.diff(centre, axis=1)
    np.testing.assert_allclose(step[:, 1:], step[:, :-1], atol=1e-4)  # steady motion
    assert np.abs(step).max() < 32 * 0.07
    mask = made.mask.reshape(20, 4, 32, 32)
    overlap = (mask[:, 0] & mask[:, 1]).sum((1, 2)) / (mask[:, 0] | mask[:, 1]).sum((1, 2))
    assert np.median(overlap) > 0.6


def test_keypoints_are_drawn_back_onto_themselves():
    """The drawing's way from a pixel to the object's own frame leads to KEYPOINTS."""
    rng = np.random.default_rng(0)
    p = scene_parameters.draw(rng, np.arange(30) % 10)
    p = scene_parameters.moved(p, scene_parameters.draw_motion(rng, 30), 5)
    x, y, _ = np.moveaxis(scene_clips.keypoints(p, 48), 2, 0)
    p = {name: values[:, None] for name, values in p.items()}
    dx = (x / 48 + p["camera_x"] - p["x"]) / p["half"]
    dy = (1 - y / 48 + p["camera_y"] - p["y"]) / p["half"]
    cos, sin = np.cos(p["rotation"]), np.sin(p["rotation"])
    own_x = (cos * dx + sin * dy) * p["mirror"] / p["aspect"]
    own_y = (cos * dy - sin * dx) * p["aspect"]
    expected = np.broadcast_to(scene_clips.KEYPOINTS, (30, 5, 2))
    np.testing.assert_allclose(np.stack([own_x, own_y], 2), expected, atol=1e-4)


def test_the_centre_of_a_disc_is_the_centre_of_its_mask():
    made, points = drawn(0, "test", 40, size=64)
    where = np.flatnonzero((made.labels == 0) & (made.boxes[:, :2] > 0).all(1))
    where = where[(made.boxes[where, 2:] < 64).all(1)]
    assert len(where) > 3
    for row in where:
        middle = np.argwhere(made.mask[row]).mean(0)[::-1] + 0.5
        np.testing.assert_allclose(points[row, 0, :2], middle, atol=0.5)


def test_a_keypoint_is_visible_inside_the_frame():
    points = drawn(0, "test", 60, frames=12)[1]
    inside = ((points[..., :2] >= 0) & (points[..., :2] < 32)).all(-1)
    np.testing.assert_array_equal(points[..., 2] > 0, inside)
    assert 0.8 < inside.mean() < 1


def test_prepared_clips_hold_what_was_drawn(tmp_path):
    prepare("x", BLOCK, tmp_path)
    split = Dataset.open(tmp_path).split("test")
    made, points = drawn(0, "test", 18)
    found = clips(split, "object_map")
    assert [clip.name for clip in found[:2]] == ["test/00000", "test/00001"]
    assert [len(clip.rows) for clip in found] == [4] * 18
    rows = np.concatenate([clip.rows for clip in found])
    np.testing.assert_array_equal(split.pixels[rows], made.images)
    np.testing.assert_array_equal([object_map(split, row) for row in rows], made.mask)
    np.testing.assert_array_equal([keypoints(split, row) for row in rows], points)
    assert (split.labels == -1).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [({"frames": 2}, "frames"), ({"image_size": 97}, "image_size"), ({"val": 0}, "val")],
)
def test_params_refuse_the_impossible(change, says):
    with pytest.raises(ValueError, match=says):
        scene_clips.Params(**(BLOCK | change))


def test_clips_are_put_in_order_of_time(tmp_path):
    maps = [map_to_bytes(np.full((8, 9), row)) for row in range(5)]
    write_split(
        tmp_path / "x.arrow", np.zeros((5, 8, 8, 3), np.uint8), np.full(5, -1),
        ["b/2", "a/1", "b/0", "a/0", "b/1"], clip=np.array([7, 2, 7, 2, 7]),
        frame=np.array([2, 1, 0, 0, 1]), object_map=maps,
    )  # fmt: skip
    split = Split(tmp_path / "x.arrow")
    first, second = clips(split, "object_map")
    assert (first.name, first.rows.tolist()) == ("a", [3, 1])
    assert (second.name, second.rows.tolist()) == ("b", [2, 4, 0])
    assert (object_map(split, 4) == np.full((8, 9), 4)).all()
    with pytest.raises(UserError, match="its clips have no keypoints"):
        clips(split, "keypoints")


def test_images_are_no_clips(tmp_path):
    write_split(tmp_path / "x.arrow", np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1), ["a"])
    with pytest.raises(UserError, match="holds no clips"):
        clips(Split(tmp_path / "x.arrow"), "object_map")
