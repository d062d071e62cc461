"""Corrupted copies of images, after Hendrycks and Dietterich 2019, on bytes.

Source: https://arxiv.org/abs/1903.12261; what each operation does is that of the authors'
make_cifar_c.py (hendrycks/robustness at ca36008, ImageNet-C/create_c). It cuts decimals off where
we round, so that severity nothing leaves an image as it is.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image
from scipy import ndimage

from sslbench.core import seeding

Corruption = Callable[[np.ndarray, float, np.ndarray], np.ndarray]


def blur(images: np.ndarray, sigma: float, rows: np.ndarray) -> np.ndarray:  # noqa: ARG001
    """Return images under a Gaussian of `sigma` pixels, edges continued (skimage's defaults)."""
    smooth = ndimage.gaussian_filter(
        images.astype(np.float32), (0, sigma, sigma, 0), mode="nearest", truncate=4.0
    )
    return _bytes(smooth)


def noise(images: np.ndarray, deviation: float, rows: np.ndarray) -> np.ndarray:
    """Return images with Gaussian noise; `deviation` is a share of the whole range.

    An image's noise depends on its row number alone, so that every method sees the same copies,
    and all severities the same noise at other strengths.
    """
    stream = seeding.stream_seed(0, "corruptions/noise")
    shape = images.shape[1:]
    drawn = [np.random.default_rng([stream, int(row)]).standard_normal(shape) for row in rows]
    return _bytes(images + 255 * deviation * np.stack(drawn))


def jpeg(images: np.ndarray, quality: float, rows: np.ndarray) -> np.ndarray:  # noqa: ARG001
    """Return images after a JPEG file of this quality, 1 to 95."""
    return np.stack([_through_jpeg(image, round(quality)) for image in images])


def brightness(images: np.ndarray, added: float, rows: np.ndarray) -> np.ndarray:  # noqa: ARG001
    """Return images with `added`, a share of the range, added to the value of HSV.

    With hue and saturation kept, colours are proportional to the value; black has neither and
    becomes grey.
    """
    value = images.max(axis=3, keepdims=True).astype(np.float64)
    raised = np.minimum(value + 255 * added, 255)
    scaled = images * (raised / np.maximum(value, 1))
    return _bytes(np.where(value > 0, scaled, raised))


def contrast(images: np.ndarray, kept: float, rows: np.ndarray) -> np.ndarray:  # noqa: ARG001
    """Return images whose distance from their own mean colour is multiplied by `kept`."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return _bytes((images - mean) * kept + mean)


CORRUPTIONS: Mapping[str, Corruption] = {
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
    "brightness": brightness,
    "contrast": contrast,
}


def _bytes(values: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return np.asarray(opened, dtype=np.uint8)
