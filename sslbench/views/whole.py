"""Views of images of any size: boxes are drawn on whole images and cut from them one by one.

Boxes come from the same generator as everything else, for the whole batch and before any image
is there, so that threads may decode and cut in any order. What comes after the crop runs in
batches on the device, as for small images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sslbench.views import geometry
from sslbench.views.apply import transform
from sslbench.views.parameters import Parameters, draw
from sslbench.views.policy import View


@dataclass(frozen=True)
class _Cuts:
    """All copies of one view.

    Attributes:
        view: what each image becomes.
        parameters: of what is done on the device, without the crop.
        boxes: (copies * batch) lists of top, left, height and width in pixels of whole images.
        pixels: (copies * batch, channel, size, size) uint8, filled image by image.
    """

    view: View
    parameters: Parameters
    boxes: list[list[int]]
    pixels: Tensor


class WholeViews:
    """The views of a batch: drawn when this is made, then cut, then finished.

    A view without a random crop starts from the largest central square.
    """

    def __init__(
        self, views: tuple[View, ...], sizes: Tensor, image_size: int, generator: torch.Generator
    ) -> None:
        """Draw everything.

        Args:
            views: what each image becomes.
            sizes: (batch, 2) height and width of each image in pixels, float.
            image_size: side in pixels of the views that name none.
            generator: the stream of chance.
        """
        self._batch = len(sizes)
        self._cuts = [_draw(view, sizes, view.size or image_size, generator) for view in views]

    def cut(self, position: int, image: Tensor) -> None:
        """Cut all views from the image (height, width, channel) uint8 at a position of the batch.

        Any thread may call it, once for each position.
        """
        for cuts in self._cuts:
            size = cuts.pixels.shape[2]
            for row in range(position, len(cuts.boxes), self._batch):
                cuts.pixels[row] = geometry.cut(image, cuts.boxes[row], size)

    def finish(self, mean: Tensor, std: Tensor) -> list[Tensor]:
        """Return every copy of every view in order, each (batch, channel, size, size), normalised.

        Args:
            mean: (channel,) in [0, 1], on the device where views are made.
            std: (channel,) in [0, 1].
        """
        made: list[Tensor] = []
        for cuts in self._cuts:
            pixels = cuts.pixels.to(mean.device)
            size = pixels.shape[2]
            out = transform(pixels, cuts.view, cuts.parameters, size, mean, std)
            made.extend(out.chunk(cuts.view.copies))
        return made


def _draw(view: View, sizes: Tensor, size: int, generator: torch.Generator) -> _Cuts:
    """Return one view's cuts, drawn but empty; `size` is the view's side in pixels."""
    batch, sides = len(sizes) * view.copies, sizes.repeat(view.copies, 1)
    pixels = torch.empty(batch, 3, size, size, dtype=torch.uint8)
    if view.crop is None:  # padding and its shift come after the cut
        parameters, windows = draw(view, batch, size, size, generator), _central_squares(sides)
        return _Cuts(view, parameters, _boxes(windows), pixels)
    height, width = sides.to(generator.device).unsqueeze(2).unbind(dim=1)
    parameters = draw(view, batch, height, width, generator)
    assert parameters.window is not None
    return _Cuts(view, replace(parameters, window=None), _boxes(parameters.window), pixels)


def _boxes(windows: Tensor) -> list[list[int]]:
    boxes: list[list[int]] = windows.int().tolist()
    return boxes


def _central_squares(sides: Tensor) -> Tensor:
    """Return the windows (batch, 4) of the largest central squares of (batch, 2) sides."""
    side = sides.amin(dim=1, keepdim=True)
    return torch.cat([((sides - side) / 2).floor(), side, side], dim=1)
