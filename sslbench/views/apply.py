"""The one executor of views: batches of bytes in, normalised floats out, on the images' device.

Chance comes from an explicit generator on that device and is drawn for the whole batch before
any pixel is touched, so neither chunks nor neighbours change what an image becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from sslbench.core.errors import UserError
from sslbench.views import colour, geometry
from sslbench.views.parameters import Parameters, draw, take
from sslbench.views.policy import View

# Values of one chunk on the CPU, so that its intermediates stay in the cache.
_CHUNK_VALUES = 2**19


def make_views(
    views: tuple[View, ...],
    images: Tensor,
    image_size: int,
    mean: Tensor,
    std: Tensor,
    generator: torch.Generator,
) -> list[Tensor]:
    """Return every copy of every view in order, each (batch, channel, size, size), normalised.

    Args:
        views: what each image becomes.
        images: (batch, channel, height, width) uint8.
        image_size: side in pixels of the views that name none.
        mean: (channel,) in [0, 1].
        std: (channel,) in [0, 1].
        generator: the stream of chance, on the images' device.

    Raises:
        UserError: colour operations on images that are not RGB.
    """
    _refuse_colourless(views, images)
    height, width = images.shape[2:]
    made: list[Tensor] = []
    for view in views:
        # All copies in one pass: on small batches the calls cost more than the pixels.
        copies = images.repeat(view.copies, 1, 1, 1)
        parameters = draw(view, len(copies), height, width, generator)
        out = transform(copies, view, parameters, image_size, mean, std)
        made.extend(out.chunk(view.copies))
    return made


@torch.no_grad()
def plain(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return uint8 images (batch, channel, height, width) as normalised floats, for evaluation."""
    return _normalise(_to_float(images), mean, std)


@torch.no_grad()
def transform(
    images: Tensor, view: View, parameters: Parameters, image_size: int, mean: Tensor, std: Tensor
) -> Tensor:
    """Return one copy of a view for parameters already drawn; arguments as in `make_views`."""
    size = view.size or image_size
    with torch.autocast(images.device.type, enabled=False):
        if not colour.selects(images):
            return _normalise(_apply(images, view, parameters, size), mean, std)
        out = images.new_empty(len(images), images.shape[1], size, size, dtype=torch.float32)
        for some in _chunks(parameters, len(images), _CHUNK_VALUES // (out.shape[1] * size**2)):
            pixels = _apply(images.index_select(0, some), view, take(parameters, some), size)
            out.index_copy_(0, some, _normalise(pixels, mean, std))
    return out


def _chunks(parameters: Parameters, count: int, step: int) -> Iterator[Tensor]:
    """Yield the indices of up to `step` images at a time, images with like jitter together."""
    jitter = parameters.jitter
    order = torch.arange(count) if jitter is None else colour.alike(jitter)
    yield from torch.split(order, max(1, step))


def _refuse_colourless(views: tuple[View, ...], images: Tensor) -> None:
    coloured = any(view.jitter is not None or view.grey > 0 for view in views)
    if coloured and images.shape[1] != 3:
        what = f"jitter and grey need RGB images, found {images.shape[1]} channels"
        raise UserError(what, where="views", mend="set jitter to null and grey to 0")


def _apply(images: Tensor, view: View, parameters: Parameters, size: int) -> Tensor:
    """Return images in [0, 1] after every operation but the normalisation."""
    pixels = _move(_to_float(images), view, parameters, size)
    if parameters.jitter is not None:
        pixels = colour.jitter(pixels, parameters.jitter)
    pixels = _where(pixels, parameters.grey, lambda some: colour.grey(some).expand_as(some))
    if view.blur is not None and parameters.sigma is not None:
        pixels = _blur(pixels, parameters.sigma, geometry.blur_radius(view.blur.sigma[1], size))
    return _where(pixels, parameters.solarise, colour.solarise)


def _move(pixels: Tensor, view: View, parameters: Parameters, size: int) -> Tensor:
    """Return images (batch, channel, size, size) cropped, resized, turned and flipped."""
    if view.pad:
        pixels = functional.pad(pixels, [view.pad] * 4)
    window, flip = parameters.window, parameters.flip
    if window is None and pixels.shape[2:] != (size, size):
        window = _whole(pixels)
    if window is not None:
        flip_now = flip if parameters.angle is None else None
        pixels = geometry.resized_crop(pixels, window, flip_now, size)
    if parameters.angle is not None:
        pixels = geometry.rotate(pixels, parameters.angle)
    if flip is not None and (window is None or parameters.angle is not None):
        pixels = geometry.hflip(pixels, flip)
    return pixels


def _whole(pixels: Tensor) -> Tensor:
    """Return the windows (batch, 4) that hold the whole of each image."""
    window = torch.zeros(len(pixels), 4, device=pixels.device)
    window[:, 2].fill_(pixels.shape[2])
    window[:, 3].fill_(pixels.shape[3])
    return window


def _where(pixels: Tensor, chosen: Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return images changed where chosen (batch,); on the CPU only those are computed."""
    if chosen is None:
        return pixels
    if not colour.selects(pixels):
        return torch.where(chosen[:, None, None, None], change(pixels), pixels)
    found = chosen.nonzero()[:, 0]
    return pixels.index_copy_(0, found, change(pixels.index_select(0, found)))


def _blur(pixels: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Return images blurred where sigma (batch,) is above 0."""
    chosen = sigma > 0
    if not colour.selects(pixels):
        blurred = geometry.gaussian_blur(pixels, torch.where(chosen, sigma, 1.0), radius)
        return torch.where(chosen[:, None, None, None], blurred, pixels)
    found = chosen.nonzero()[:, 0]
    some = pixels.index_select(0, found)
    return pixels.index_copy_(0, found, geometry.gaussian_blur(some, sigma[found], radius))


def _to_float(images: Tensor) -> Tensor:
    floats = images.to(torch.float32, memory_format=torch.contiguous_format)
    return floats.mul_(1 / 255) if images.dtype == torch.uint8 else floats


def _normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (pixels - mean[:, None, None]).div_(std[:, None, None])
