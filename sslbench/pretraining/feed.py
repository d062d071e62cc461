"""Images to the device: the whole split at once where it is raw, else decoded, once if it fits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.data.store import Split

# Encoded images are decoded to a square canvas this much larger than the network's input, so
# that a random crop has room (256 / 224, the usual ratio).
CANVAS_RATIO = 256 / 224
# Canvases are decoded once and kept where a split takes no more than this: 16,000 of 146 px.
MOST_KEPT_BYTES = 2**30


class Feed:
    """Batches of raw images by index.

    Small fixed-size images live on the device as one uint8 tensor; encoded images are decoded,
    resized and centre-cropped to a canvas, by as many threads as torch has, and kept in memory
    where the split is not too large.
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
            return
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads)
        # Pages that no image has been written to take no memory.
        shape = (len(split), self._canvas, self._canvas, 3)
        fits = int(np.prod(shape)) <= MOST_KEPT_BYTES
        self._kept = np.empty(shape, np.uint8) if fits else None
        self._is_kept = np.zeros(len(split), dtype=bool)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._split)

    def images(self, index: Tensor) -> Tensor:
        """Return uint8 images (batch, channel, height, width) of (batch,) indices."""
        if self._resident is not None:
            return self._resident[index.to(self._device)]
        canvases = self._canvases(index.cpu().numpy())
        return torch.from_numpy(canvases).permute(0, 3, 1, 2).to(self._device)

    def _canvases(self, rows: np.ndarray) -> np.ndarray:
        """Return canvases (batch, canvas, canvas, 3) uint8 of (batch,) rows."""
        if self._kept is None:
            return self._decode(rows)
        missing = np.unique(rows[~self._is_kept[rows]])
        if len(missing):
            self._kept[missing] = self._decode(missing)
            self._is_kept[missing] = True
        found: np.ndarray = self._kept[rows]
        return found

    def _decode(self, rows: np.ndarray) -> np.ndarray:
        """Return the canvases of rows, decoded side by side: the decoder runs without Python."""
        parts = np.array_split(rows, min(self._threads, len(rows)))
        return np.concatenate(
            list(self._pool.map(lambda part: self._split.decode(part, self._canvas), parts))
        )

    def whole(self, index: Tensor, size: int) -> Tensor:
        """Return uint8 images (batch, channel, size, size), as evaluation sees them."""
        decoded = np.array(self._split.decode(index.cpu().numpy(), size))
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(self._device)
