"""Images to the device: a raw split as a whole where it fits, else a batch ahead by threads."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.data.store import Split, decoding
from sslbench.data.store.decoder import Decoder, wait

# Of a GPU's free memory, what a split may take: the network and its views need the rest.
MOST_OF_DEVICE = 0.5


class Feed:
    """The images of a split, by index.

    Attributes:
        labels: (num_samples,) on the device, -1 where there is none.
        decoder: of images that are files of any size; None where images are small and of one size.
        is_resident: whether small images live on the device as one uint8 tensor. Else they stay in
            the memory map, and `fetch` brings a batch at a time.
    """

    def __init__(self, split: Split, device: torch.device) -> None:
        if not len(split):
            raise UserError("the train split is empty", where="data", mend="check data.<dataset>")
        self._split, self._device = split, device
        self.labels = torch.from_numpy(np.array(split.labels)).to(device)
        self.decoder: Decoder | None = None
        self.is_resident = False
        if split.is_encoded:
            self.decoder = split.decoder
        elif _fits(split.pixels.nbytes, device):
            self.is_resident = True
            self._resident = _channels_first(np.array(split.pixels)).to(device)
        else:
            self._pool = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._split)

    def images(self, index: Tensor) -> Tensor:
        """Return small images (batch, channel, height, width) uint8 of (batch,) indices."""
        return self._resident[index.to(self._device)]

    def fetch(self, index: Tensor) -> Future[Tensor]:
        """Start to bring small images that are not resident to pinned memory, as `images` has them.

        From there the copy to the device goes on beside its arithmetic (`non_blocking`).
        """
        return self._pool.submit(self._gather, index.cpu().numpy())

    def _gather(self, rows: np.ndarray) -> Tensor:
        images = _channels_first(np.array(self._split.pixels[rows]))
        return images.pin_memory() if self._device.type == "cuda" else images

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


def _fits(num_bytes: int, device: torch.device) -> bool:
    """Whether a split may live on a device; on the CPU it does, whatever its size."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= MOST_OF_DEVICE * free


def _channels_first(pixels: np.ndarray) -> Tensor:
    """Return (batch, channel, height, width) of (batch, height, width, channel)."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
