"""sRGB to CIE Lab under D65: lightness on one axis, colour on the other two.

Sources: IEC 61966-2-1 (transfer curve, primaries) and CIE 15 (Lab), white point of the two-degree
observer; the constants are those of scikit-image and kornia.
"""

from __future__ import annotations

import torch
from torch import Tensor

_RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)
_DARK = 0.008856  # below it the cube root gives way to a line


def rgb_to_lab(images: Tensor) -> Tensor:
    """Return Lab (batch, 3, height, width): L in [0, 100], a and b about -108 to 98; 0 is grey.

    Channel by channel rather than as a matrix product, which autocast would round to bfloat16.

    Args:
        images: (batch, 3, height, width) sRGB in [0, 1].
    """
    exact = images.to(torch.promote_types(images.dtype, torch.float32))
    red, green, blue = _linear(exact).unbind(dim=1)
    x, y, z = (
        _root((r * red + g * green + b * blue) / white)
        for (r, g, b), white in zip(_RGB_TO_XYZ, _WHITE, strict=True)
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _linear(values: Tensor) -> Tensor:
    """Undo sRGB's transfer curve."""
    return torch.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)


def _root(values: Tensor) -> Tensor:
    """Return the cube root, and its tangent near zero."""
    return torch.where(values > _DARK, values.clamp_min(_DARK) ** (1 / 3), 7.787 * values + 4 / 29)
