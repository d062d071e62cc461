"""Images to the device: the whole split at once where it fits, else decoded batch by batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.data.store import Split

# Encoded images are decoded to a square canvas this much larger than the network's input, so
# that a random crop has room (256 / 224, the usual ratio).
CANVAS_RATIO = 256 / 224


class Feed:
    """Batches of raw images by index.

    Small fixed-size images live on the device as one uint8 tensor; encoded images are decoded,
    resized and centre-cropped to a canvas on each call.
    """

    def __init__(self, split: Split, image_size: int, device: torch.device) -> None:
        if not len(split):
            raise UserError("the train split is empty", where="data", mend="check data.<dataset>")
        self._split, self._device = split, device
        self._canvas = round(image_size * CANVAS_RATIO)
        self.labels = torch.from_numpy(np.array(split.labels)).to(device)
        self._resident: Tensor | None = None
        if not split.is_encoded:
            pixels = torch.from_numpy(np.array(split.pixels))
            self._resident = pixels.permute(0, 3, 1, 2).contiguous().to(device)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._split)

    def images(self, index: Tensor) -> Tensor:
        """Return uint8 images (batch, channel, height, width) of (batch,) indices."""
        if self._resident is not None:
            return self._resident[index.to(self._device)]
        decoded = self._split.decode(index.cpu().numpy(), self._canvas)
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(self._device)

    def whole(self, index: Tensor, size: int) -> Tensor:
        """Return uint8 images (batch, channel, size, size), as evaluation sees them."""
        decoded = np.array(self._split.decode(index.cpu().numpy(), size))
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(self._device)
