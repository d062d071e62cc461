"""The ten shapes of `scenes` as signed distances, in an object's own frame.

Each function maps x, y (any shape, y up, the object within about [-1, 1]) to a distance in the
same unit, negative inside. Disc, ring and plus look alike upside down; the other seven do not.
The distances are exact near the edge, which is all that antialiasing asks for.
"""

# numpy types the results of its ufuncs as Any.
# mypy: disable-error-code=no-any-return

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray


def _disc(x: Array, y: Array, radius: float) -> Array:
    return np.hypot(x, y) - np.float32(radius)


def _box(x: Array, y: Array, half_width: float, half_height: float) -> Array:
    return np.maximum(np.abs(x) - np.float32(half_width), np.abs(y) - np.float32(half_height))


def _roof(x: Array, y: Array, half_width: float, bottom: float, top: float) -> Array:
    """Isosceles triangle with its apex up."""
    slope = (top - bottom) / half_width
    side = (np.abs(x) * np.float32(slope) + y - np.float32(top)) / np.float32(np.hypot(slope, 1))
    return np.maximum(side, np.float32(bottom) - y)


def disc(x: Array, y: Array) -> Array:
    """Filled circle."""
    return _disc(x, y, 0.88)


def ring(x: Array, y: Array) -> Array:
    """Annulus."""
    return np.abs(_disc(x, y, 0.68)) - np.float32(0.24)


def house(x: Array, y: Array) -> Array:
    """Square with a roof that overhangs."""
    return np.minimum(_box(x, y + np.float32(0.3), 0.62, 0.6), _roof(x, y, 0.95, 0.05, 0.95))


def plus(x: Array, y: Array) -> Array:
    """Two crossed bars."""
    return np.minimum(_box(x, y, 0.92, 0.3), _box(x, y, 0.3, 0.92))


def triangle(x: Array, y: Array) -> Array:
    """Triangle, apex up."""
    return _roof(x, y, 1.0, -0.75, 0.95)


def star(x: Array, y: Array) -> Array:
    """Five-pointed star, one point up; the radius is folded into one half point."""
    sector = np.float32(2 * np.pi / 5)
    angle = np.abs(np.mod(np.arctan2(x, y) + sector / 2, sector) - sector / 2)
    radius = np.hypot(x, y)
    across, along = radius * np.sin(angle), radius * np.cos(angle)
    inner = (0.42 * np.sin(np.pi / 5), 0.42 * np.cos(np.pi / 5))
    normal = np.array([1.0 - inner[1], inner[0]])
    normal /= np.linalg.norm(normal)
    return (across * normal[0] + (along - 1.0) * normal[1]).astype(np.float32)


def heart(x: Array, y: Array) -> Array:
    """Two discs above a point."""
    lobes = _disc(np.abs(x) - np.float32(0.42), y - np.float32(0.3), 0.47)
    return np.minimum(lobes, _roof(x, -y, 0.83, -0.17, 0.9))


def _door(x: Array, y: Array, radius: float) -> Array:
    """Upright slab with a round top."""
    upper = _disc(x, y - np.float32(0.05), radius)
    return np.minimum(upper, _box(x, y + np.float32(0.4), radius, 0.45))


def arch(x: Array, y: Array) -> Array:
    """Door frame, open below."""
    return np.maximum(_door(x, y, 0.85), -_door(x, y + np.float32(0.1), 0.42))


def tee(x: Array, y: Array) -> Array:
    """Letter T."""
    bar = _box(x, y - np.float32(0.6), 0.88, 0.27)
    return np.minimum(bar, _box(x, y + np.float32(0.2), 0.28, 0.68))


def crescent(x: Array, y: Array) -> Array:
    """Bowl-like moon, open above."""
    return np.maximum(_disc(x, y, 0.92), -_disc(x, y - np.float32(0.42), 0.72))


# In label order.
SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": disc,
    "ring": ring,
    "house": house,
    "plus": plus,
    "triangle": triangle,
    "star": star,
    "heart": heart,
    "arch": arch,
    "tee": tee,
    "crescent": crescent,
}


def distance(labels: Array, x: Array, y: Array) -> Array:
    """Return the signed distance (N, H, W) of each image's own shape.

    Args:
        labels: (N,) indices into SHAPES.
        x: (N, H, W) in the object's frame.
        y: (N, H, W), up.
    """
    out = np.empty_like(x)
    for label, shape in enumerate(SHAPES.values()):
        if (rows := np.flatnonzero(labels == label)).size:
            out[rows] = shape(x[rows], y[rows])
    return out
