"""Weighted k nearest neighbours: the grid, the choice of a layer's setting, the exact vote.

Exact    float32 products over the whole bank, in chunks; no index structure. Of neighbours that
         are equally near at the k-th place, which ones vote is unspecified, but fixed for the
         same bytes and threads; of classes with equal votes, the lower label wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import LayerChoice, best
from sslbench.evaluation.protocols.parts.largest import partitioned, topk
from sslbench.evaluation.protocols.parts.metrics import top1
from sslbench.evaluation.protocols.parts.scaling import unit_rows

_CHUNK_VALUES = 2**24  # similarities held at once: 64 MiB
# From here on torch's topk is worth its import.
_MANY_VALUES = 2**27


@dataclass(frozen=True, kw_only=True)
class Params:
    """The grid that val chooses from.

    Attributes:
        k: numbers of neighbours; one above the bank's size means the whole bank.
        temperature: divisors of the cosine.
    """

    k: tuple[int, ...]
    temperature: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse an empty grid and values without meaning."""
        if not self.k or not self.temperature:
            raise ValueError("k and temperature need one value or more")
        if min(self.k) < 1 or min(self.temperature) <= 0:
            raise ValueError(f"k and temperature must be positive, found {self}")


def choose_layer(layer: str, train: Features, val: Features, params: Params) -> LayerChoice:
    """Return the k and temperature with the best top1 on val."""
    bank = train.layers[layer]
    ks = sorted({min(k, len(bank)) for k in params.k})
    settings = list(product(ks, params.temperature))
    predicted = predict(val.layers[layer], bank, train.labels, settings)
    values = {setting: top1(predicted[setting], val.labels) for setting in settings}
    k, temperature = best(values)
    setting: dict[str, Any] = {"k": k, "temperature": temperature}
    if clipped := sorted(k for k in params.k if k > len(bank)):
        setting["note"] = f"k {clipped} clipped to the bank's {len(bank)} images"
    return LayerChoice(layer, setting, values[k, temperature])


def voted(chosen: LayerChoice, train: Features, queries: Features) -> np.ndarray:
    """Return the labels (num_samples,) that the train split gives a split at a chosen layer."""
    layer, setting = chosen.layer, (chosen.setting["k"], chosen.setting["temperature"])
    bank = train.layers[layer]
    return predict(queries.layers[layer], bank, train.labels, [setting])[setting]


def predict(
    queries: np.ndarray,
    bank: np.ndarray,
    bank_labels: np.ndarray,
    settings: Sequence[tuple[int, float]],
) -> dict[tuple[int, float], np.ndarray]:
    """Return the predicted labels (num_queries,) for each (k, temperature).

    Args:
        queries: (num_queries, dim) float32.
        bank: (num_bank, dim) float32.
        bank_labels: (num_bank,) int64.
        settings: pairs of k, at most num_bank, and temperature.
    """
    classes, encoded = np.unique(bank_labels, return_inverse=True)
    k_max = max(k for k, _ in settings)
    parts: dict[tuple[int, float], list[np.ndarray]] = {setting: [] for setting in settings}
    for cosine, index in _neighbours(unit_rows(queries), unit_rows(bank), k_max):
        for (k, temperature), predicted in parts.items():
            votes = _votes(cosine[:, :k], encoded[index[:, :k]], temperature, len(classes))
            predicted.append(classes[votes.argmax(axis=1)])
    return {setting: np.concatenate(predicted) for setting, predicted in parts.items()}


def _neighbours(
    queries: np.ndarray, bank: np.ndarray, k: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield cosines and bank indices, each (chunk, k), nearest first."""
    rows = max(1, _CHUNK_VALUES // len(bank))
    largest = partitioned if len(queries) * len(bank) < _MANY_VALUES else topk
    for start in range(0, len(queries), rows):
        similarity = queries[start : start + rows] @ bank.T
        index = largest(similarity, k)
        cosine = np.take_along_axis(similarity, index, axis=1)
        order = np.argsort(-cosine, axis=1, kind="stable")
        yield np.take_along_axis(cosine, order, axis=1), np.take_along_axis(index, order, axis=1)


def _votes(
    cosine: np.ndarray, labels: np.ndarray, temperature: float, num_classes: int
) -> np.ndarray:
    """Return the votes (rows, num_classes) of neighbours (rows, k), nearest first."""
    nearest = cosine[:, :1]  # subtracted from the exponent: the same winner, and no overflow
    weights = np.exp((cosine - nearest) / np.float32(temperature))
    cell = np.arange(len(labels))[:, None] * num_classes + labels
    summed = np.bincount(cell.ravel(), weights.ravel(), minlength=len(labels) * num_classes)
    return summed.reshape(len(labels), num_classes)
