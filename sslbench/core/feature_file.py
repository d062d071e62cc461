"""One split's features as a file: keys `labels`, `ids`, `layer/<name>`; numpy only.

Where images have several labels the file has `targets` too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslbench.core import artifacts, seal
from sslbench.core.errors import UserError

_LABELS, _IDS, _TARGETS = "labels", "ids", "targets"
_PREFIX = "layer/"
_CHUNK = 4096  # rows looked at together


@dataclass(frozen=True)
class Features:
    """One split's frozen features, read-only.

    Attributes:
        labels: (num_samples,) int64, -1 where there is none.
        ids: (num_samples,) uint64, the first 8 bytes of the sha256 of each image's name.
        targets: (num_samples, num_classes) int8 where images have several labels: 1 there, 0 not,
            -1 unsaid; else None.
        layers: name -> (num_samples, dim) float32, from input to output.
    """

    split: str
    labels: np.ndarray
    layers: Mapping[str, np.ndarray]
    ids: np.ndarray
    targets: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only, so that no protocol can change what the next one sees."""
        further = () if self.targets is None else (self.targets,)
        for array in (self.labels, self.ids, *further, *self.layers.values()):
            array.setflags(write=False)


def features_path(folder: Path, split: str) -> Path:
    """Return the file of a split."""
    return folder / f"{split}.safetensors"


def layer_key(layer: str) -> str:
    """Return the key of a layer in the file."""
    return _PREFIX + layer


def id_hashes(names: Sequence[str]) -> np.ndarray:
    """Return (num_samples,) uint64: the first 8 bytes, little end first, of each name's sha256."""
    heads = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in names)
    return np.frombuffer(heads, "<u8")


def keyed(
    labels: np.ndarray,
    layers: Mapping[str, np.ndarray],
    ids: np.ndarray,
    targets: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return a split's arrays, as in `Features`, under their keys."""
    named = {layer_key(name): values for name, values in layers.items()}
    made = {_LABELS: np.asarray(labels, dtype=np.int64), _IDS: ids, **named}
    return made if targets is None else {**made, _TARGETS: targets}


def write_features(folder: Path, split: str, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write one split's arrays, keyed as `keyed` does, and return the file."""
    path = features_path(folder, split)
    artifacts.write_arrays(path, arrays)
    return path


class FeatureWriter:
    """Takes one split's rows in order; made by `feature_writer`."""

    def __init__(self, writer: artifacts.ArrayWriter) -> None:
        self._writer = writer
        self._count = 0

    def append(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add rows: every array, keyed as `keyed` does."""
        for name, values in arrays.items():
            self._writer.write(name, self._count, values)
        self._count += len(arrays[_LABELS])


@contextmanager
def feature_writer(
    folder: Path, split: str, count: int, first: Mapping[str, np.ndarray]
) -> Iterator[FeatureWriter]:
    """Yield a writer of a split's file; what `write_features` would write, without holding it.

    Args:
        folder: where the file goes.
        split: its name.
        count: rows there will be.
        first: some rows, keyed as `keyed` does: their types and widths are the file's.
    """
    layout = {name: (some.dtype, (count, *some.shape[1:])) for name, some in first.items()}
    with artifacts.array_writer(features_path(folder, split), layout) as writer:
        yield FeatureWriter(writer)


def read_features(folder: Path, split: str, layers: Sequence[str]) -> Features:
    """Return one split's features, memory-mapped, with the layers in the order asked for.

    Raises:
        UserError: the file is absent or damaged, lacks a layer, holds NaN or infinity, or its
            arrays are not those of one split.
    """
    path = features_path(folder, split)
    seal.check(path)
    arrays = artifacts.read_arrays(path)
    for key in (_LABELS, _IDS):
        if key not in arrays:
            raise UserError(f"holds no {key}", where=str(path), mend="run extract again")
    _refuse_shapes(arrays, path)
    kept = {layer: _layer(arrays, layer, path) for layer in layers}
    return Features(split, arrays[_LABELS], kept, arrays[_IDS], arrays.get(_TARGETS))


def _refuse_shapes(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Refuse arrays that are not of one length, or not of the types that `keyed` gives them."""
    expected = {_LABELS: ("int64", 1), _IDS: ("uint64", 1), _TARGETS: ("int8", 2)}
    for name, values in arrays.items():
        kind, ndim = expected.get(name, ("float32", 2))
        if values.ndim != ndim or values.dtype != kind or len(values) != len(arrays[_LABELS]):
            what = f"{name!r} is {values.dtype} {values.shape} for {arrays[_LABELS].shape} labels"
            raise UserError(what, where=str(path), mend="run extract again")


def _layer(arrays: Mapping[str, np.ndarray], layer: str, path: Path) -> np.ndarray:
    if (key := layer_key(layer)) not in arrays:
        names = (name.removeprefix(_PREFIX) for name in sorted(arrays) if name.startswith(_PREFIX))
        there = ", ".join(names)
        what = f"no layer {layer!r} (it has: {there})"
        raise UserError(what, where=str(path), mend="run extract again")
    if not _is_finite(arrays[key]):
        mend = "the pretraining diverged: lower its learning rate, or look at history.json"
        raise UserError(f"layer {layer!r} holds NaN or infinity", where=str(path), mend=mend)
    return arrays[key]


def _is_finite(values: np.ndarray) -> bool:
    blocks = (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
    return all(np.isfinite(block).all() for block in blocks)
