"""Bringing features to one scale; numpy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sslbench.evaluation.protocols.parts import scratch


@dataclass(frozen=True)
class Scale:
    """The mean and deviation (dim,) of one layer on the train split; call it to standardise.

    A feature that varies by no more than float32's rounding of its mean counts as constant: it is
    centred and not blown up.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Scale:
        """Return the scale of features (num_samples, dim).

        The sums are float64, row after row, a few rows at a time: for dim above 1 the bits of
        numpy's own mean and std, which hold all rows as float64.
        """
        mean = _sum(features, lambda rows: rows) / len(features)
        variance = _sum(features, lambda rows: np.square(rows - mean)) / len(features)
        deviation = np.sqrt(variance)
        deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def __call__(self, *parts: np.ndarray) -> np.ndarray:
        """Return features (num_samples, dim), standardised; several parts one after the other."""
        count = sum(map(len, parts))
        scaled = scratch.empty((count, len(self.mean)), np.float32)
        place = 0
        for part in parts:
            rows = scaled[place : place + len(part)]
            np.subtract(part, self.mean, out=rows)
            rows /= self.deviation
            place += len(part)
        return scaled


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return rows (num_samples, dim) of length one; a zero row stays zero and is near nothing."""
    unit = scratch.empty(features.shape, features.dtype)
    for start in range(0, len(features), scratch.CHUNK):
        rows = features[start : start + scratch.CHUNK]
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        unit[start : start + scratch.CHUNK] = rows / np.maximum(norm, np.float32(1e-12))
    return unit


def _sum(features: np.ndarray, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the sum over rows (dim,) of what `of` makes of float64 rows, in the rows' order."""
    total = np.zeros((1, features.shape[1]))
    for start in range(0, len(features), scratch.CHUNK):
        rows = of(features[start : start + scratch.CHUNK].astype(np.float64))
        total = np.add.reduce(np.concatenate([total, rows]), axis=0, keepdims=True)
    summed: np.ndarray = total[0]
    return summed
