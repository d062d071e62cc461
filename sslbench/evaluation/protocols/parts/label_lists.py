"""Which few images are labelled: a rule instead of shipped lists; numpy only.

The place of an image in its class is that of the sha256 of "<version>/<draw>/<id>" among its
class's, where the id is that of `Features.ids`, in decimal: the first 8 bytes of the sha256 of the
image's name. The list of k labels per class is the first k places, so that

- a list depends on names and classes, not on order, method, seed or platform;
- within a draw, the list of 1 is part of the list of 2, and so on.

A test pins a list's digest; a change of the rule is a new VERSION here and in `lowshot`.
"""

from __future__ import annotations

import hashlib

import numpy as np

VERSION = 1


def places(ids: np.ndarray, labels: np.ndarray, draw: int) -> np.ndarray:
    """Return each image's place (num_samples,) in its class, from 0.

    Args:
        ids: (num_samples,) uint64.
        labels: (num_samples,) class indices.
        draw: lists of different draws are independent.
    """
    prefix = f"{VERSION}/{draw}/"
    digests = [hashlib.sha256(f"{prefix}{name}".encode()).digest() for name in ids.tolist()]
    keys = np.frombuffer(b"".join(digests), "S32")
    order = np.lexsort((keys, labels))
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    found = np.empty(len(ids), np.int64)
    found[order] = np.arange(len(ids)) - np.repeat(starts, counts)
    return found


def digest(ids: np.ndarray) -> str:
    """Return the sha256 of a list: its ids in ascending order, 8 bytes each, little end first."""
    return hashlib.sha256(np.sort(ids).astype("<u8").tobytes()).hexdigest()
