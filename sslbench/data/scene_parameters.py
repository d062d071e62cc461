"""Random parameters of `scenes`: a dict from which the images follow as a function.

All lengths are fractions of the image's side; world coordinates have x to the right and y up, so
a clip is the same dict with the object and the camera moved. Arrays are float32, N scenes at once.
The ranges are the recipe's (`scenes.VERSION`): another range is another data set.
"""

# numpy types the results of its ufuncs as Any.
# mypy: disable-error-code=no-any-return

from __future__ import annotations

from typing import Any

import numpy as np

from sslbench.data.scene_shapes import SHAPES

Array = np.ndarray
Parameters = dict[str, Array]
Rng = np.random.Generator

PLAIN, STRIPES, CHECKS, MOTTLED = range(4)
SQUARE, DISC, BAR = range(3)
# Mean hue (turns) of each textured material and of each class: evenly spaced round the circle.
MATERIAL_HUES = np.array([np.nan, 0.02, 0.36, 0.69], np.float32)
CLASS_HUES = np.arange(len(SHAPES), dtype=np.float32) / len(SHAPES)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
DISTRACTORS = 2


def draw(rng: Rng, labels: Array) -> Parameters:
    """Return the random parameters of one scene per label: each (N,) or (N, ...) float32."""
    n = len(labels)
    made: Parameters = {"label": np.asarray(labels, np.int64)}
    made |= _draw_object(rng, n)
    made |= _draw_material(rng, made["label"])
    made |= _draw_background(rng, made["rgb"] @ LUMA)
    made |= _draw_light(rng, n)
    made |= _draw_distractors(rng, n)
    return made


def draw_motion(rng: Rng, n: int) -> Parameters:
    """Return the change per frame of the parameters that move."""
    return {
        "x": _uniform(rng, -0.04, 0.04, n),
        "y": _uniform(rng, -0.03, 0.03, n),
        "rotation": _uniform(rng, -0.12, 0.12, n),
        "camera_x": _uniform(rng, -0.02, 0.02, n),
        "camera_y": _uniform(rng, -0.01, 0.01, n),
    }


def moved(parameters: Parameters, motion: Parameters, frames: int) -> Parameters:
    """Return the scenes after some frames of steady motion."""
    return parameters | {
        name: (parameters[name] + frames * step).astype(np.float32) for name, step in motion.items()
    }


def _draw_object(rng: Rng, n: int) -> Parameters:
    return {
        "half": _uniform(rng, 0.27, 0.41, n),
        "x": _uniform(rng, 0.28, 0.72, n),
        "y": _uniform(rng, 0.28, 0.72, n),
        "rotation": np.deg2rad(_uniform(rng, -25, 25, n)),
        "mirror": np.where(rng.random(n) < 0.5, np.float32(-1), np.float32(1)),
        "aspect": np.exp(_uniform(rng, -0.12, 0.12, n)),
    }


def _draw_material(rng: Rng, labels: Array) -> Parameters:
    """Colour and texture; only textured objects carry their material's hue."""
    n = len(labels)
    material = np.where(rng.random(n) < 0.6, PLAIN, rng.integers(STRIPES, MOTTLED + 1, n))
    hue = rng.random(n, dtype=np.float32)
    near = _uniform(rng, -0.06, 0.06, n)
    keeps = (rng.random(n) < 0.6) & (material != PLAIN)
    hue = np.where(keeps, MATERIAL_HUES[material] + near, hue)
    hue = np.where(rng.random(n) < 0.1, CLASS_HUES[labels] + near, hue)
    return {
        "material": material,
        "rgb": _hsv(hue, _uniform(rng, 0.35, 0.95, n), _uniform(rng, 0.35, 1, n)),
        "second": _uniform(rng, 0.55, 0.8, n),
        "texture_k": _uniform(rng, 6, 11, n),
        "texture_angle": _uniform(rng, 0, np.pi, n),
        "texture_phase": _uniform(rng, 0, 2 * np.pi, (n, 3)),
    }


def _draw_background(rng: Rng, luminance: Array) -> Parameters:
    n = len(luminance)
    outdoors = rng.random(n) < 0.35
    upper, lower = _draw_walls(rng, outdoors, luminance)
    sign = np.where(outdoors | (rng.random(n) < 0.5), 1, rng.choice([-1, 1], n))
    return {
        "upper": upper,
        "lower": lower,
        "horizon": _uniform(rng, 0.4, 0.8, n),
        "roll": _uniform(rng, -0.15, 0.15, n),
        "wave_k": np.exp(_uniform(rng, np.log(5), np.log(28), (n, 3))),
        "wave_angle": _uniform(rng, 0, np.pi, (n, 3)),
        "wave_phase": _uniform(rng, 0, 2 * np.pi, (n, 3)),
        "wave_size": _uniform(rng, 0, 0.05, (n, 3)),
        "gradient": _uniform(rng, 0, 0.1, n) * sign.astype(np.float32),
    }


def _draw_walls(rng: Rng, outdoors: Array, luminance: Array) -> tuple[Array, Array]:
    """Colours above and below the horizon, drawn again (6 times) where too like the object."""
    n = len(outdoors)
    hues = rng.random(n, dtype=np.float32)
    upper_hue = np.where(outdoors, _uniform(rng, 0.46, 0.7, n), hues)
    lower_hue = np.where(outdoors, _uniform(rng, 0.06, 0.38, n), hues)
    upper, lower = _wall(rng, upper_hue), _wall(rng, lower_hue)
    for _ in range(6):
        upper = _redrawn(rng, upper, upper_hue, luminance)
        lower = _redrawn(rng, lower, lower_hue, luminance)
    return upper, np.where(outdoors[:, None], lower, upper)


def _wall(rng: Rng, hue: Array) -> Array:
    return _hsv(hue, _uniform(rng, 0.1, 0.6, len(hue)), _uniform(rng, 0.25, 1, len(hue)))


def _redrawn(rng: Rng, rgb: Array, hue: Array, luminance: Array) -> Array:
    again = _wall(rng, hue)
    is_alike = np.abs(rgb @ LUMA - luminance) < 0.22
    return np.where(is_alike[:, None], again, rgb)


def _draw_light(rng: Rng, n: int) -> Parameters:
    has_shadow = rng.random(n) < 0.4
    return {
        "shading": _uniform(rng, 0.5, 1.2, n) * np.float32(0.2),
        "light": np.deg2rad(_uniform(rng, -70, 70, n)),
        "shadow": _uniform(rng, 0.4, 1, n) * np.float32(0.35) * has_shadow,
        "shadow_x": _uniform(rng, -0.35, 0.35, n),
        "camera_x": np.zeros(n, np.float32),
        "camera_y": np.zeros(n, np.float32),
        "gain": _uniform(rng, 0.8, 1.15, n),
        "noise": _uniform(rng, 0, 0.03, n),
    }


def _draw_distractors(rng: Rng, n: int) -> Parameters:
    """None, one or two small things near the border, behind the object."""
    many = (n, DISTRACTORS)
    count = rng.choice(DISTRACTORS + 1, n, p=[0.5, 0.35, 0.15])
    along, edge = rng.random(many, dtype=np.float32), _uniform(rng, 0.02, 0.14, many)
    across = np.where(rng.random(many) < 0.5, edge, 1 - edge)
    is_side = rng.random(many) < 0.5
    return {
        "small_shown": np.arange(DISTRACTORS) < count[:, None],
        "small_shape": rng.integers(SQUARE, BAR + 1, many),
        "small_half": _uniform(rng, 0.07, 0.12, many),
        "small_x": np.where(is_side, across, along),
        "small_y": np.where(is_side, along, across),
        "small_rgb": _hsv(
            rng.random(many, dtype=np.float32),
            _uniform(rng, 0.2, 0.9, many),
            _uniform(rng, 0.2, 1, many),
        ),
    }


def _hsv(hue: Array, saturation: Array, value: Array) -> Array:
    """Return RGB (..., 3) in [0, 1]; hue in turns."""
    ramp = np.abs(np.mod(hue[..., None] + np.array([0, 2 / 3, 1 / 3]), 1) * 6 - 3) - 1
    mixed = 1 + saturation[..., None] * (np.clip(ramp, 0, 1) - 1)
    return (value[..., None] * mixed).astype(np.float32)


def _uniform(rng: Rng, low: float, high: float, shape: Any) -> Array:
    return (low + (high - low) * rng.random(shape, dtype=np.float32)).astype(np.float32)
