"""What chance decides for each image of a batch: one tensor per operation, from one generator."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from sslbench.views.policy import Crop, Jitter, View

# torchvision's RandomResizedCrop gives up after ten tries and takes a central crop.
_CROP_TRIES = 10


@dataclass(frozen=True)
class JitterValues:
    """Colour jitter of each image.

    Attributes:
        applied: (batch,) bool.
        factors: (batch, 3) factors of brightness, contrast and saturation.
        hue: (batch,) shift in turns.
        order: (batch, 4) the operation at each position; 0 to 2 as in `factors`, 3 is hue.
    """

    applied: Tensor
    factors: Tensor
    hue: Tensor
    order: Tensor


@dataclass(frozen=True)
class Parameters:
    """All that is random in one copy of a view; None where the operation is off for the batch.

    Attributes:
        window: (batch, 4) top, left, height and width of the crop in pixels, whole numbers.
        angle: (batch,) rotation in radians, counter-clockwise.
        flip: (batch,) bool, horizontal.
        jitter: colour jitter.
        grey: (batch,) bool.
        sigma: (batch,) standard deviation of the blur in pixels, 0 where there is none.
        solarise: (batch,) bool.
    """

    window: Tensor | None = None
    angle: Tensor | None = None
    flip: Tensor | None = None
    jitter: JitterValues | None = None
    grey: Tensor | None = None
    sigma: Tensor | None = None
    solarise: Tensor | None = None


def take(parameters: Parameters, index: Tensor) -> Parameters:
    """Return the parameters of the images at index (some,), in that order."""
    jitter = parameters.jitter
    if jitter is not None:
        jitter = replace(jitter, **_take_tensors(jitter, index))
    return replace(parameters, **_take_tensors(parameters, index), jitter=jitter)


def _take_tensors(record: Parameters | JitterValues, index: Tensor) -> dict[str, Any]:
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: v.index_select(0, index) for name, v in values.items() if isinstance(v, Tensor)}


class _Draws:
    """Uniform draws of one batch from one generator."""

    def __init__(self, batch: int, generator: torch.Generator) -> None:
        self.batch = batch
        self.generator = generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return (batch, *shape) draws from [low, high)."""
        device = self.generator.device
        unit = torch.rand(self.batch, *shape, generator=self.generator, device=device)
        return low + (high - low) * unit

    def column(self, value: float | Tensor) -> Tensor:
        """Return (batch, 1) floats: one value for all, or each image's own."""
        if isinstance(value, Tensor):
            return value
        return torch.full((self.batch, 1), float(value), device=self.generator.device)

    def happens(self, probability: float) -> Tensor | None:
        """Return (batch,) bool, or None where it cannot happen."""
        return self.uniform(0.0, 1.0) < probability if probability > 0 else None


def draw(
    view: View, batch: int, height: int | Tensor, width: int | Tensor, generator: torch.Generator
) -> Parameters:
    """Return the parameters of one copy of a view for images of `height` x `width` pixels.

    Nothing is drawn for an operation that is off, and nothing waits for the device. Images of
    different sizes have their sides as (batch, 1) floats on the generator's device.
    """
    draws = _Draws(batch, generator)
    return Parameters(
        window=_window(view, draws, height, width),
        angle=_angle(view.rotation, draws),
        flip=draws.happens(view.flip),
        jitter=_jitter(view.jitter, draws),
        grey=draws.happens(view.grey),
        sigma=_sigma(view, draws),
        solarise=draws.happens(view.solarise),
    )


def _window(view: View, draws: _Draws, height: int | Tensor, width: int | Tensor) -> Tensor | None:
    if view.crop is None and not view.pad:
        return None
    sides = draws.column(height), draws.column(width)
    if view.crop is not None:
        return _crop(view.crop, draws, *sides)
    steps = 2 * view.pad + 1
    corner = (draws.uniform(0.0, 1.0, 2) * steps).floor().clamp_max(steps - 1)
    return torch.cat([corner, *sides], dim=1)


def _crop(crop: Crop, draws: _Draws, height: Tensor, width: Tensor) -> Tensor:
    """Return torchvision's RandomResizedCrop windows: the first of ten tries that fits."""
    area = height * width * draws.uniform(*crop.scale, _CROP_TRIES)
    ratio = draws.uniform(math.log(crop.ratio[0]), math.log(crop.ratio[1]), _CROP_TRIES).exp()
    widths = (area * ratio).sqrt().round()
    heights = (area / ratio).sqrt().round()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    found = fits.any(dim=1, keepdim=True)
    central = _central_crop(crop, height, width)
    tall = torch.where(found, heights.gather(1, first), central[0])
    wide = torch.where(found, widths.gather(1, first), central[1])
    top = _corner(height - tall, draws, found)
    left = _corner(width - wide, draws, found)
    return torch.cat([top, left, tall, wide], dim=1)


def _corner(room: Tensor, draws: _Draws, found: Tensor) -> Tensor:
    """Return whole corners uniform over 0 .. room, or in the middle where no try fitted."""
    anywhere = torch.minimum((draws.uniform(0.0, 1.0, 1) * (room + 1)).floor(), room)
    return torch.where(found, anywhere, (room / 2).floor())


def _central_crop(crop: Crop, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Return height and width of torchvision's fallback, the largest crop of a ratio in range."""
    tall = torch.minimum(height, (width / crop.ratio[0]).round())
    return tall, torch.minimum(width, (height * crop.ratio[1]).round())


def _angle(degrees: float, draws: _Draws) -> Tensor | None:
    limit = math.radians(degrees)
    return draws.uniform(-limit, limit) if degrees else None


def _jitter(jitter: Jitter | None, draws: _Draws) -> JitterValues | None:
    if jitter is None or jitter.probability == 0:
        return None
    ranges = (jitter.brightness, jitter.contrast, jitter.saturation)
    factors = [draws.uniform(max(0.0, 1.0 - strength), 1.0 + strength) for strength in ranges]
    return JitterValues(
        applied=draws.uniform(0.0, 1.0) < jitter.probability,
        factors=torch.stack(factors, dim=1),
        hue=draws.uniform(-jitter.hue, jitter.hue),
        order=draws.uniform(0.0, 1.0, 4).argsort(dim=1),
    )


def _sigma(view: View, draws: _Draws) -> Tensor | None:
    blur = view.blur
    applied = draws.happens(blur.probability) if blur is not None else None
    if blur is None or applied is None:
        return None
    return torch.where(applied, draws.uniform(*blur.sigma), 0.0)
