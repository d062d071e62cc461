"""Corruptions against brute-force re-statements of their definitions."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image

from sslbench.evaluation.protocols.parts import corruptions

ROWS = np.array([3, 8])


@pytest.fixture
def images():
    drawn = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)
    drawn[0, 0, 0] = 0  # black, which has no hue
    drawn[0, 0, 1] = 255
    return drawn


@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS)
def test_the_given_images_are_not_changed_and_bytes_come_back(kind, images):
    before = images.copy()
    made = corruptions.CORRUPTIONS[kind](images, 40 if kind == "jpeg" else 0.3, ROWS)
    assert np.array_equal(images, before)
    assert made.dtype == np.uint8
    assert made.shape == images.shape
    assert not np.array_equal(made, images)


@pytest.mark.parametrize(("kind", "nothing"), [
    ("blur", 0.0), ("noise", 0.0), ("brightness", 0.0), ("contrast", 1.0),
])  # fmt: skip
def test_severity_nothing_changes_nothing(kind, nothing, images):
    assert np.array_equal(corruptions.CORRUPTIONS[kind](images, nothing, ROWS), images)


def test_blur_is_a_gaussian_with_edges_continued(images):
    sigma, radius = 0.7, round(4 * 0.7)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    padded = np.pad(images[1].astype(float), ((radius,) * 2, (radius,) * 2, (0, 0)), mode="edge")
    made = corruptions.blur(images, sigma, ROWS)[1]
    for y in range(12):
        for x in range(12):
            window = padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
            expected = np.einsum("i,j,ijc->c", taps, taps, window)
            assert np.abs(made[y, x] - expected).max() <= 0.51


def test_noise_has_its_deviation_and_depends_on_the_row_alone():
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    rows = np.arange(4)
    made = corruptions.noise(grey, 0.08, rows)
    assert np.std(made - 128.0) == pytest.approx(0.08 * 255, rel=0.02)
    assert not np.array_equal(made[0], made[1])
    assert np.array_equal(corruptions.noise(grey[:2], 0.08, rows[2:]), made[2:])


def test_brightness_is_hsv_with_a_higher_value(images):
    made = corruptions.brightness(images, 0.15, ROWS)
    for image, bright in zip(images, made, strict=True):
        for pixel, found in zip(image.reshape(-1, 3), bright.reshape(-1, 3), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
            expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.15, 1))
            assert np.abs(255 * np.array(expected) - found).max() <= 0.51


def test_contrast_shrinks_towards_the_images_own_mean(images):
    made = corruptions.contrast(images, 0.4, ROWS)
    mean = images[1].reshape(-1, 3).mean(axis=0)
    assert np.abs(made[1] - ((images[1] - mean) * 0.4 + mean)).max() <= 0.51
    assert len(np.unique(corruptions.contrast(images, 0.0, ROWS)[1].reshape(-1, 3), axis=0)) == 1


def test_jpeg_is_a_file_of_that_quality(images):
    file = io.BytesIO()
    Image.fromarray(images[1]).save(file, "JPEG", quality=40)
    expected = np.asarray(Image.open(file))
    assert np.array_equal(corruptions.jpeg(images, 40, ROWS)[1], expected)
