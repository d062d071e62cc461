"""Images of a split of files: decoded by threads, each used by the thread that decoded it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from sslbench.data.store import Split

# Decoded images are kept up to this much memory, whatever the number of images.
MOST_KEPT_BYTES = 2**30
# Images that a thread takes at a time: handing over one by one costs as much as a small crop.
_IMAGES_PER_TASK = 8


class Decoder:
    """Decodes images ahead of whoever needs them.

    Memory does not grow with the split: beside the images kept, each thread holds one.
    """

    def __init__(self, split: Split, threads: int) -> None:
        self._split = split
        self._pool = ThreadPoolExecutor(threads)
        self._sizes = np.zeros((len(split), 2), np.int32)
        self._kept: dict[int, Tensor] = {}
        self._room = MOST_KEPT_BYTES
        self._lock = Lock()

    def sizes(self, rows: np.ndarray) -> Tensor:
        """Return (batch, 2) height and width in pixels, as floats, of (batch,) rows."""
        for row in rows[self._sizes[rows, 0] == 0]:
            self._sizes[row] = self._split.size(row)
        return torch.from_numpy(self._sizes[rows]).float()

    def start(self, rows: np.ndarray, use: Callable[[int, Tensor], None]) -> list[Future[None]]:
        """Start to decode (batch,) rows.

        Args:
            rows: which images.
            use: called with each position in `rows` and its image (height, width, 3) uint8, by
                several threads.

        Returns:
            What `wait` takes.
        """

        def work(positions: range) -> None:
            for position in positions:
                use(position, self._image(int(rows[position])))

        every = range(len(rows))
        starts = range(0, len(rows), _IMAGES_PER_TASK)
        return [self._pool.submit(work, every[at : at + _IMAGES_PER_TASK]) for at in starts]

    def _image(self, row: int) -> Tensor:
        """Return one image (height, width, 3) uint8, which nobody may change."""
        found = self._kept.get(row)
        if found is None:
            found = torch.from_numpy(np.array(self._split.image(row)))
            self._keep(row, found)
        return found

    def _keep(self, row: int, image: Tensor) -> None:
        with self._lock:
            if row not in self._kept and image.nbytes <= self._room:
                self._kept[row] = image
                self._room -= image.nbytes


def wait(tasks: Sequence[Future[None]]) -> None:
    """Wait for what was started, and raise what a thread raised.

    Raises:
        UserError: an image is damaged.
    """
    for task in tasks:
        task.result()
