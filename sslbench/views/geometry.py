"""Where pixels come from: crop, resize, flip, rotation and blur, each image with its own values.

Crop, resize and blur are separable and linear, so each is two small matrices per image; the
weights are those of torchvision's antialiased bilinear `resized_crop` and of its
`gaussian_blur` with reflected borders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# Farther than any filter reaches, in pixels.
_FAR = 1e6


def resized_crop(images: Tensor, window: Tensor, flip: Tensor | None, size: int) -> Tensor:
    """Return windows resized to (batch, channel, size, size), antialiased, flipped where told.

    Args:
        images: (batch, channel, height, width).
        window: (batch, 4) top, left, height, width in pixels, inside the image.
        flip: (batch,) bool, or None for no flip.
        size: side of the result in pixels.
    """
    top, left, height, width = window.unbind(dim=1)
    down = _resize_weights(top, height, None, size, images.shape[2])
    across = _resize_weights(left, width, flip, size, images.shape[3])
    return _separable(images, down, across)


def cut(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """Return one box of one image, antialiased, as (channel, size, size) uint8.

    The same filter as `resized_crop`, rounded to whole numbers, as torchvision does it on bytes.

    Args:
        image: (height, width, channel) uint8 on the CPU.
        box: top, left, height and width in pixels, inside the image.
        size: side of the result in pixels.
    """
    top, left, height, width = box
    inside = image[top : top + height, left : left + width].permute(2, 0, 1)[None]
    return functional.interpolate(inside, size=(size, size), mode="bilinear", antialias=True)[0]


def _resize_weights(
    start: Tensor, length: Tensor, flip: Tensor | None, size: int, source: int
) -> Tensor:
    """Return (batch, size, source): each row a triangle filter over the window, summing to one.

    The triangle reaches one source or one target pixel, whichever is wider. Masks and flips act on
    the small vectors of positions, never on the weights: selecting is slow on the CPU.
    """
    step = (length / size)[:, None]
    reach = step.clamp_min(1.0)
    centre = (torch.arange(size, device=start.device) + 0.5) * step
    if flip is not None:
        centre = torch.where(flip[:, None], centre.flip(1), centre)
    position = torch.arange(source, device=start.device) + 0.5 - start[:, None]
    inside = (position > 0) & (position < length[:, None])
    position = torch.where(inside, position / reach, _FAR)
    distance = (position[:, None, :] - (centre / reach)[:, :, None]).abs_()
    weights = torch.sub(1.0, distance).clamp_min_(0.0)
    return weights.div_(weights.sum(dim=2, keepdim=True))


def _separable(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return down @ image @ across^T for every channel of every image."""
    batch, channels, height, width = images.shape
    wide = torch.bmm(images.reshape(batch, channels * height, width), across.transpose(1, 2))
    wide = wide.view(batch, channels, height, across.shape[1])
    return torch.stack([torch.bmm(down, wide[:, c]) for c in range(channels)], dim=1)


def hflip(images: Tensor, flip: Tensor) -> Tensor:
    """Return images (batch, channel, height, width) mirrored where flip (batch,) is true."""
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """Return images turned counter-clockwise about their centre, corners filled by reflection.

    Args:
        images: (batch, channel, height, width), square.
        angle: (batch,) radians.
    """
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def gaussian_blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Return images blurred by torchvision's kernel of 2 * radius + 1 taps, borders reflected.

    Args:
        images: (batch, channel, size, size).
        sigma: (batch,) standard deviation in pixels, above 0.
        radius: taps on either side, less than size.
    """
    weights = _blur_weights(sigma, radius, images.shape[3])
    return _separable(images, weights, weights)


def blur_radius(largest_sigma: float, size: int) -> int:
    """Return the taps on either side that reach three sigma, as far as reflection can."""
    return min(math.ceil(3 * largest_sigma), size - 1)


def _blur_weights(sigma: Tensor, radius: int, size: int) -> Tensor:
    """Return (batch, size, size): row i holds the taps of output i, folded back at the borders."""
    taps = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    target = torch.arange(size, device=sigma.device)[:, None]
    source = (target + taps).abs()
    source = torch.minimum(source, 2 * (size - 1) - source)
    spread = (source[:, :, None] == torch.arange(size, device=sigma.device)).to(kernel.dtype)
    return torch.einsum("bt,its->bis", kernel, spread)
