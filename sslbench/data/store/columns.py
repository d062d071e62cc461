"""Columns of a record batch as numpy arrays over the same bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def as_array(values: pa.Array, field: pa.Field) -> np.ndarray:
    """Return a fixed-width column as (N, *shape) without copying it."""
    if pa.types.is_fixed_size_binary(field.type):
        shape = tuple(int(side) for side in field.metadata[b"shape"].split(b","))
        flat = np.frombuffer(values.buffers()[1], np.uint8, len(values) * int(np.prod(shape)))
        return flat.reshape(len(values), *shape)
    if pa.types.is_fixed_size_list(field.type):
        return primitive(values.values).reshape(len(values), field.type.list_size)
    return primitive(values)


def primitive(values: pa.Array) -> np.ndarray:
    """Return numbers (N,) without copying; pyarrow's own to_numpy imports pandas (0.5 s)."""
    width = {"float": "float32", "double": "float64"}.get(str(values.type), str(values.type))
    start = values.offset * np.dtype(width).itemsize
    return np.frombuffer(values.buffers()[1], np.dtype(width), len(values), start)
