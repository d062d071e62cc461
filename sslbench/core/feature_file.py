"""One split's features as a file: keys `labels` and `layer/<name>`; numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslbench.core import artifacts
from sslbench.core.errors import UserError

_LABELS = "labels"
_PREFIX = "layer/"


@dataclass(frozen=True)
class Features:
    """One split's frozen features, read-only.

    Attributes:
        labels: (num_samples,) int64, -1 where there is none.
        layers: name -> (num_samples, dim) float32, from input to output.
    """

    split: str
    labels: np.ndarray
    layers: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        """Make the arrays read-only, so that no protocol can change what the next one sees."""
        for array in (self.labels, *self.layers.values()):
            array.setflags(write=False)


def features_path(folder: Path, split: str) -> Path:
    """Return the file of a split."""
    return folder / f"{split}.safetensors"


def layer_key(layer: str) -> str:
    """Return the key of a layer in the file."""
    return _PREFIX + layer


def keyed(labels: np.ndarray, layers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return labels (num_samples,) and layers (num_samples, dim) under their keys."""
    named = {layer_key(name): values for name, values in layers.items()}
    return {_LABELS: np.asarray(labels, dtype=np.int64), **named}


def write_features(folder: Path, split: str, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write one split's arrays, keyed as `keyed` does, and return the file."""
    path = features_path(folder, split)
    artifacts.write_arrays(path, arrays)
    return path


def read_features(folder: Path, split: str, layers: Sequence[str]) -> Features:
    """Return one split's features, with the layers in the order asked for.

    Raises:
        UserError: the file is absent or damaged, lacks a layer, or holds NaN or infinity.
    """
    path = features_path(folder, split)
    arrays = artifacts.read_arrays(path)
    if _LABELS not in arrays:
        raise UserError("holds no labels", where=str(path), mend="run extract again")
    kept = {layer: _layer(arrays, layer, path) for layer in layers}
    return Features(split, arrays[_LABELS], kept)


def _layer(arrays: Mapping[str, np.ndarray], layer: str, path: Path) -> np.ndarray:
    if (key := layer_key(layer)) not in arrays:
        there = ", ".join(name.removeprefix(_PREFIX) for name in sorted(arrays) if name != _LABELS)
        what = f"no layer {layer!r} (it has: {there})"
        raise UserError(what, where=str(path), mend="run extract again")
    if not np.isfinite(arrays[key]).all():
        mend = "the pretraining diverged: lower its learning rate, or look at history.json"
        raise UserError(f"layer {layer!r} holds NaN or infinity", where=str(path), mend=mend)
    return arrays[key]
