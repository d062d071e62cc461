"""Colour operations on batches, each image with its own values: torchvision's maths for floats.

Images are (batch, 3, height, width) in [0, 1]. Brightness, contrast and saturation are all
`clamp(factor * image + (1 - factor) * base)` with base 0, the mean grey or the grey image
(torchvision `_color.py`, `_blend`), so a step of a random order is one blend with per-image
weights, whatever each image's operation is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.views.parameters import JitterValues

_CONTRAST, _SATURATION, _HUE = 1, 2, 3
_BLENDS = 3
_TINY, _HUGE = 1e-12, 1e30


def selects(images: Tensor) -> bool:
    """Return whether choosing some images of a batch is cheap, as it is where nothing waits."""
    return images.device.type == "cpu"


def grey(images: Tensor) -> Tensor:
    """Return luma (batch, 1, height, width), ITU-R 601-2 as torchvision rounds it."""
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def solarise(images: Tensor) -> Tensor:
    """Return images with values from one half upwards inverted."""
    return torch.minimum(images, 1.0 - images)


def alike(values: JitterValues) -> Tensor:
    """Return an order (batch,) in which images that share the place of the hue shift are near."""
    place, _ = _blend_weights(values)
    return torch.where(values.applied, place, _BLENDS + 1).argsort(stable=True)


def jitter(images: Tensor, values: JitterValues) -> Tensor:
    """Return images with the four operations applied in each image's own order.

    On the CPU only the images concerned are touched, in groups that share the place of the hue
    shift. Elsewhere selecting would wait for the device, so every image passes three blends, the
    hue shift and three blends again, and a blend by 1 stands where an image has none.
    """
    place, weights = _blend_weights(values)
    if selects(images):
        return _jitter_groups(images, values, place, weights)
    late = torch.arange(_BLENDS, device=images.device) >= place[:, None]
    out = _blends(images.clone(), _identity_where(late, weights))
    out = shift_hue(out, values.hue)
    out = _blends(out, _identity_where(~late, weights))
    return torch.where(values.applied[:, None, None, None], out, images)


def _jitter_groups(images: Tensor, values: JitterValues, place: Tensor, weights: Tensor) -> Tensor:
    out = images.clone()
    for position in range(_BLENDS + 1):
        chosen = ((place == position) & values.applied).nonzero()[:, 0]
        if not len(chosen):
            continue
        group, steps = images.index_select(0, chosen), weights.index_select(0, chosen)
        group = _blends(group, steps[:, :position])
        group = shift_hue(group, values.hue.index_select(0, chosen))
        out.index_copy_(0, chosen, _blends(group, steps[:, position:]))
    return out


def _blend_weights(values: JitterValues) -> tuple[Tensor, Tensor]:
    """Return the place of the hue shift (batch,), and each blend's weights (batch, 3, 3).

    The weights are those of the image, of its grey and of its mean grey, in the order of use.
    """
    place = (values.order == _HUE).to(torch.uint8).argmax(dim=1)
    steps = torch.arange(_BLENDS, device=place.device)
    operations = values.order.gather(1, steps + (steps >= place[:, None]).long())
    factors = values.factors.gather(1, operations)
    pixel = (1 - factors) * (operations == _SATURATION)
    mean = (1 - factors) * (operations == _CONTRAST)
    return place, torch.stack([factors, pixel, mean], dim=2)


def _identity_where(idle: Tensor, weights: Tensor) -> Tensor:
    """Return weights (batch, 3, 3), those of a blend by 1 where idle (batch, 3) is true."""
    image = torch.where(idle, 1.0, weights[:, :, 0])
    rest = torch.where(idle[:, :, None], 0.0, weights[:, :, 1:])
    return torch.cat([image[:, :, None], rest], dim=2)


def _blends(images: Tensor, weights: Tensor) -> Tensor:
    """Return images after blends with weights (batch, steps, 3); overwrites images."""
    for step in range(weights.shape[1]):
        image, pixel, mean = weights[:, step, :, None, None, None].unbind(dim=1)
        luma = grey(images)
        constant = luma.mean(dim=(2, 3), keepdim=True) * mean
        base = luma.mul_(pixel).add_(constant)
        torch.addcmul(base, images, image, out=images).clamp_(0.0, 1.0)
    return images


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Return images with the hue of HSV moved by shift (batch,) turns.

    Value and chroma stay, so each channel lies between the least and the greatest by a trapezoid
    of the new hue; equal to torchvision's round trip through HSV.
    """
    red, green, blue = images.unbind(dim=1)
    high = torch.maximum(red, green)
    torch.maximum(high, blue, out=high)
    low = torch.minimum(red, green)
    torch.minimum(low, blue, out=low)
    chroma = high - low
    hue = _sixths(images, high, chroma).add_(6 * shift[:, None, None])
    hue.sub_((hue / 6).floor_(), alpha=6)
    out = torch.empty_like(images)
    for channel, opposite in enumerate((3, 2, 4)):
        torch.sub(hue, opposite, out=out[:, channel])
    out.abs_().sub_(1).clamp_(0, 1)
    torch.addcmul(low, chroma, out[:, 0], out=out[:, 0])
    torch.addcmul(high, chroma, out[:, 1], value=-1, out=out[:, 1])
    torch.addcmul(high, chroma, out[:, 2], value=-1, out=out[:, 2])
    return out


def _sixths(images: Tensor, high: Tensor, chroma: Tensor) -> Tensor:
    """Return hue (batch, height, width) in sixths of a turn, from -1 to 5; 0 for greys.

    Red wins a tie, then green, as in torchvision. The choice is a lerp by exactly 0 or 1, since
    selecting by a mask is fifteen times slower on the CPU.
    """
    red, green, blue = images.unbind(dim=1)
    not_red = (high - red).mul_(_HUGE).clamp_max_(1)
    not_green = (high - green).mul_(_HUGE).clamp_max_(1)
    if_green = (blue - red).add_(chroma, alpha=2)
    if_blue = (red - green).add_(chroma, alpha=4)
    hue = (green - blue).lerp_(if_green.lerp_(if_blue, not_green), not_red)
    return hue.div_(chroma.clamp_min(_TINY))
