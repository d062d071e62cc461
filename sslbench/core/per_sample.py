"""What a protocol found for each test sample, as text inside a record; numpy only.

Inside the record and not in a file beside it: no second out to keep in step, and a thousand images
take 170 characters (docs/decisions/0013-protocols-by-what-they-read.md).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

_KINDS = {"bits": np.bool_, "float32": np.float32}


def encode(metric: str, values: np.ndarray) -> dict[str, Any]:
    """Return the record's `per_sample`: of right or wrong as bits, else of float32.

    Args:
        metric: whose mean over samples the values make, such as `top1`.
        values: (num_samples,) bool or float, in the order of the test split.
    """
    kind = "bits" if values.dtype == np.bool_ else "float32"
    raw = np.packbits(values) if kind == "bits" else values.astype("<f4")
    text = base64.b64encode(raw.tobytes()).decode("ascii")
    return {"metric": metric, "n": len(values), "encoding": kind, "values": text}


def decode(content: Mapping[str, Any]) -> np.ndarray:
    """Return the values (num_samples,) bool or float32.

    Raises:
        ValueError: damaged.
    """
    kind, count = content["encoding"], int(content["n"])
    if kind not in _KINDS:
        raise ValueError(f"unknown encoding {kind!r}")
    raw = base64.b64decode(content["values"], validate=True)
    if not 0 <= count <= 8 * len(raw):
        raise ValueError(f"{count} values are named, and there are {len(raw)} bytes")
    if kind == "bits":
        values = np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool)
    else:
        values = np.frombuffer(raw, "<f4")
    if len(values) != count or len(raw) < count / 8:
        raise ValueError(f"{len(values)} values where {count} are named")
    return values
