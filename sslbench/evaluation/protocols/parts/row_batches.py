"""The order in which a training run draws the rows of a split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch


def row_batches(
    num_samples: int, batch_size: int, steps: int, order: torch.Generator
) -> Iterator[np.ndarray]:
    """Yield `steps` batches of row numbers, reshuffled every epoch; an epoch's rest is dropped.

    Args:
        num_samples: rows there are.
        batch_size: rows of a batch, at most `num_samples`.
        steps: how many batches.
        order: the stream that shuffles.
    """
    per_epoch = num_samples // batch_size
    for step in range(steps):
        if step % per_epoch == 0:
            shuffled = torch.randperm(num_samples, generator=order).numpy()
        start = (step % per_epoch) * batch_size
        yield shuffled[start : start + batch_size]
