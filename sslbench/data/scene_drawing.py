"""Images, masks and boxes of `scenes` from a dict of parameters (`scene_parameters.py`).

Colour planes are kept apart, (N, 3, S, S), until the end: numpy is slow on a last axis of 3.
"""

# numpy types the results of its ufuncs as Any.
# mypy: disable-error-code=no-any-return

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from sslbench.data.scene_parameters import (
    BAR,
    CHECKS,
    DISC,
    DISTRACTORS,
    PLAIN,
    STRIPES,
    Array,
    Parameters,
)
from sslbench.data.scene_shapes import distance


@dataclass(frozen=True)
class Scenes:
    """Drawn images with their truth.

    Attributes:
        images: (N, S, S, 3) uint8.
        labels: (N,) int64, the shape's index.
        mask: (N, S, S) uint8, 1 where the object covers more than half of a pixel.
        boxes: (N, 4) float32: left, top, right, bottom in pixels, right and bottom exclusive.
    """

    images: Array
    labels: Array
    mask: Array
    boxes: Array

    def take(self, rows: slice | Array) -> Scenes:
        """Return some of the images, in the order given."""
        return Scenes(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def join(parts: Sequence[Scenes]) -> Scenes:
        """Return the images of all parts, in order."""
        columns = ([getattr(part, field.name) for part in parts] for field in fields(Scenes))
        return Scenes(*(np.concatenate(column) for column in columns))


def render(parameters: Parameters, noise: Array) -> Scenes:
    """Return the images of a dict of parameters.

    Args:
        parameters: from `draw`.
        noise: (N, 3, S, S) standard normal float32, the camera's.
    """
    size = noise.shape[-1]
    p = {name: _over_pixels(values) for name, values in parameters.items()}
    centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    x = centres[None, None, :] + p["camera_x"]
    y = np.float32(1) - centres[None, :, None] + p["camera_y"]
    x, y = np.broadcast_arrays(x, y)
    images = _background(p, x, y)
    images *= (1 - _shadow(p, x, y))[:, None]
    _paint_distractors(images, p, x, y)
    alpha = _paint_object(images, p, parameters["label"], x, y)
    images *= p["gain"][:, None]
    images += noise * p["noise"][:, None]
    mask = (alpha > 0.5).astype(np.uint8)
    return Scenes(_to_bytes(images), parameters["label"], mask, _boxes(mask))


def _background(p: Parameters, x: Array, y: Array) -> Array:
    size = x.shape[1]
    above = (y - p["horizon"] - p["roll"] * (x - np.float32(0.5))) * size
    sky = np.clip(above + np.float32(0.5), 0, 1)[:, None]
    relief = p["gradient"] * (y - np.float32(0.5))
    for i in range(3):
        k, angle = p["wave_k"][:, i], p["wave_angle"][:, i]
        wave = k * (x * np.cos(angle) + y * np.sin(angle)) + p["wave_phase"][:, i]
        relief = relief + p["wave_size"][:, i] * np.sin(wave)
    made: Array = p["lower"] + sky * (p["upper"] - p["lower"]) + relief[:, None]
    return made


def _shadow(p: Parameters, x: Array, y: Array) -> Array:
    """Soft ellipse on the ground below the object."""
    across = (x - p["x"]) / p["half"] - p["shadow_x"]
    down = ((y - p["y"]) / p["half"] + np.float32(0.9)) / np.float32(0.35)
    made: Array = p["shadow"] * np.exp(-(across**2) - down**2)
    return made


def _paint_distractors(images: Array, p: Parameters, x: Array, y: Array) -> None:
    for i in range(DISTRACTORS):
        rows = np.flatnonzero(p["small_shown"][:, i])
        half, shape = p["small_half"][rows, i], p["small_shape"][rows, i]
        dx = np.abs(x[rows] - p["small_x"][rows, i])
        dy = np.abs(y[rows] - p["small_y"][rows, i])
        low = np.where(shape == BAR, half / 3, half)
        d = np.maximum(dx - half, dy - low)
        d = np.where(shape == DISC, np.hypot(dx, dy) - half, d)
        images[rows] = _over(images[rows], p["small_rgb"][rows, i], _coverage(d))


def _paint_object(images: Array, p: Parameters, labels: Array, x: Array, y: Array) -> Array:
    """Paint the object in place and return how much of each pixel it covers (N, S, S)."""
    dx, dy = (x - p["x"]) / p["half"], (y - p["y"]) / p["half"]
    cos, sin = np.cos(p["rotation"]), np.sin(p["rotation"])
    own_x = (cos * dx + sin * dy) * p["mirror"] / p["aspect"]
    own_y = (cos * dy - sin * dx) * p["aspect"]
    alpha = _coverage(distance(labels, own_x, own_y) * p["half"])
    light = 1 + p["shading"] * (dx * np.sin(p["light"]) + dy * np.cos(p["light"]))
    tone = 1 - _texture(p, own_x, own_y) * (1 - p["second"])
    images[:] = _over(images, p["rgb"] * (light * tone)[:, None], alpha)
    return alpha


def _over(images: Array, colour: Array, alpha: Array) -> Array:
    """Lay a colour (N, 3, S, S or 1, 1) over images by its coverage (N, S, S)."""
    return images + alpha[:, None] * (colour - images)


def _texture(p: Parameters, x: Array, y: Array) -> Array:
    """Share of the second tone in [0, 1]: none, stripes, checks or mottled."""
    k, cos, sin = p["texture_k"], np.cos(p["texture_angle"]), np.sin(p["texture_angle"])
    first, second, third = (p["texture_phase"][:, i] for i in range(3))
    along, across = k * (cos * x + sin * y), k * (cos * y - sin * x)
    stripes = np.sin(along + first)
    checks = stripes * np.sin(across + second)
    mottled = (stripes + np.sin(across + second) + np.sin(0.7 * (along + across) + third)) / 2
    material = p["material"]
    waves = np.where(material == STRIPES, stripes, np.where(material == CHECKS, checks, mottled))
    waves = np.where(material == PLAIN, np.float32(-1), waves)
    return np.clip(0.5 + 2 * waves, 0, 1)


def _coverage(d: Array) -> Array:
    """Share of each pixel inside an edge, from the distance in image sides (N, S, S)."""
    return np.clip(np.float32(0.5) - d * np.float32(d.shape[1]), 0, 1)


def _boxes(mask: Array) -> Array:
    columns: Array = mask.max(axis=1)
    rows: Array = mask.max(axis=2)
    size = mask.shape[1]
    left, top = columns.argmax(axis=1), rows.argmax(axis=1)
    right, bottom = (size - line[:, ::-1].argmax(axis=1) for line in (columns, rows))
    return np.stack([left, top, right, bottom], axis=1).astype(np.float32)


def _to_bytes(images: Array) -> Array:
    """Return (N, S, S, 3) uint8 of (N, 3, S, S) in about [0, 1]."""
    quantised = (np.clip(images, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return np.ascontiguousarray(quantised.transpose(0, 2, 3, 1))


def _over_pixels(values: Array) -> Array:
    """Add two axes of length 1 at the end, to broadcast over pixels."""
    return values.reshape(*values.shape, 1, 1)
