"""`scenes`: seeded, balanced, prefix-stable, with true masks and boxes."""

from __future__ import annotations

import numpy as np
import pytest

from sslbench.data import scene_parameters, scenes
from sslbench.data.scene_drawing import Scenes
from sslbench.data.scene_shapes import SHAPES, distance


def drawn(seed, split, count, size=32):
    return Scenes.join(list(scenes.chunks(seed, split, count, size)))


def test_same_seed_same_images_and_fewer_are_a_prefix():
    many, few = drawn(3, "train", 300), drawn(3, "train", 40)
    np.testing.assert_array_equal(many.images[:40], few.images)
    np.testing.assert_array_equal(many.boxes[:40], few.boxes)
    assert many.images.shape == (300, 32, 32, 3)
    assert many.images.dtype == np.uint8


def test_seed_and_split_change_every_image():
    one = drawn(0, "train", 20).images
    for other in (drawn(1, "train", 20).images, drawn(0, "val", 20).images):
        assert (one != other).any(axis=(1, 2, 3)).all()


def test_classes_are_balanced():
    counts = np.bincount(drawn(0, "test", 515).labels)
    assert counts.max() - counts.min() <= 1
    assert len(counts) == len(scenes.CLASSES) == 10


def test_boxes_enclose_the_masks_exactly():
    made = drawn(0, "train", 200)
    for mask, box in zip(made.mask, made.boxes.astype(int), strict=True):
        left, top, right, bottom = box
        inside = mask[top:bottom, left:right]
        assert inside.sum() == mask.sum() > 0
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_object_stands_out_from_its_background():
    made = drawn(0, "train", 300)
    luma = made.images @ scene_parameters.LUMA
    on = (luma * made.mask).sum((1, 2)) / made.mask.sum((1, 2))
    off = (luma * (1 - made.mask)).sum((1, 2)) / (1 - made.mask).sum((1, 2))
    assert np.mean(np.abs(on - off) > 25) > 0.8


def test_plain_objects_have_any_hue_and_textured_ones_their_materials():
    labels = np.arange(20000) % 10
    p = scene_parameters.draw(np.random.default_rng(0), labels)
    hue = hues(p["rgb"])
    plain = np.histogram(hue[p["material"] == scene_parameters.PLAIN], 10, (0, 1))[0]
    assert plain.max() / plain.min() < 1.25
    stripes = hue[p["material"] == scene_parameters.STRIPES]
    gap = np.abs((stripes - scene_parameters.MATERIAL_HUES[1] + 0.5) % 1 - 0.5)
    assert 0.5 < np.mean(gap < 0.07) < 0.7


def hues(rgb):
    high, low = rgb.max(1), rgb.min(1)
    r, g, b = rgb.T
    span = high - low
    sixth = np.select(
        [high == r, high == g], [((g - b) / span) % 6, (b - r) / span + 2], (r - g) / span + 4
    )
    return sixth / 6


def test_colour_alone_says_little_of_the_class():
    made = drawn(0, "train", 2000)
    mean = np.stack(
        [image[mask > 0].mean(0) for image, mask in zip(made.images, made.mask, strict=True)]
    )
    centres = np.stack([mean[:1000][made.labels[:1000] == c].mean(0) for c in range(10)])
    guess = np.argmin(((mean[1000:, None] - centres) ** 2).sum(2), axis=1)
    assert np.mean(guess == made.labels[1000:]) < 0.2


@pytest.mark.parametrize("name", list(SHAPES))
def test_shape_fits_its_frame_and_has_up_unless_symmetric(name):
    axis = np.linspace(-1.4, 1.4, 113, dtype=np.float32)
    x, y = (grid[None] for grid in np.meshgrid(axis, -axis))
    inside = distance(np.array([list(SHAPES).index(name)]), x, y)[0] < 0
    assert 0.1 < inside[np.maximum(np.abs(x), np.abs(y))[0] <= 1].mean() < 0.7
    assert not inside[np.maximum(np.abs(x), np.abs(y))[0] > 1.05].any()
    same_upside_down = np.mean(inside == inside[::-1]) > 0.999
    assert same_upside_down == (name in ("disc", "ring", "plus"))
    np.testing.assert_array_equal(inside, inside[:, ::-1])


@pytest.mark.parametrize(
    ("change", "says"),
    [({"train": 9}, "train"), ({"image_size": 97}, "image_size"), ({"seed": -1}, "seed")],
)
def test_params_refuse_the_impossible(change, says):
    values = {"kind": "scenes", "seed": 0, "image_size": 32, "train": 10, "val": 10, "test": 10}
    with pytest.raises(ValueError, match=says):
        scenes.Params(**(values | change))
