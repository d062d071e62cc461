"""Bringing features to one scale; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        """Return the scale of features (num_samples, dim)."""
        mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0, dtype=np.float64)
        deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return features (num_samples, dim), standardised."""
        scaled: np.ndarray = (features - self.mean) / self.deviation
        return scaled


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return rows (num_samples, dim) of length one; a zero row stays zero and is near nothing."""
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    unit: np.ndarray = features / np.maximum(norm, np.float32(1e-12))
    return unit
