"""Images to the device: the whole split at once where it is raw, else decoded ahead by threads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.data.store import Split, decoding
from sslbench.pretraining.decoder import Decoder, wait


class Feed:
    """The images of a split, by index.

    Attributes:
        labels: (num_samples,) on the device, -1 where there is none.
        decoder: of images that are files of any size; None where images are small, of one size,
            and live on the device as one uint8 tensor.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        if not len(split):
            raise UserError("the train split is empty", where="data", mend="check data.<dataset>")
        self._split, self._device = split, device
        self.labels = torch.from_numpy(np.array(split.labels)).to(device)
        self.decoder: Decoder | None = None
        if split.is_encoded:
            self.decoder = Decoder(split, torch.get_num_threads())
            return
        pixels = torch.from_numpy(np.array(split.pixels))
        self._resident = pixels.permute(0, 3, 1, 2).contiguous().to(device)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._split)

    def images(self, index: Tensor) -> Tensor:
        """Return small images (batch, channel, height, width) uint8 of (batch,) indices."""
        return self._resident[index.to(self._device)]

    def whole(self, index: Tensor, size: int) -> Tensor:
        """Return uint8 images (batch, channel, size, size), as evaluation sees them."""
        rows = index.cpu().numpy()
        if self.decoder is None:
            squares = np.array(self._split.decode(rows, size))
        else:
            squares = np.empty((len(rows), size, size, 3), np.uint8)

            def use(position: int, image: Tensor) -> None:
                squares[position] = decoding.resize_array(image.numpy(), size)

            wait(self.decoder.start(rows, use))
        return torch.from_numpy(squares).permute(0, 3, 1, 2).to(self._device)
