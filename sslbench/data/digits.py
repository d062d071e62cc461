"""`digits`: scikit-learn's 1,797 handwritten digits, 8 x 8 in 17 greys, as 32 x 32 RGB.

Source   UCI "Optical Recognition of Handwritten Digits" test set, as `sklearn.datasets.load_digits`
Resized  by PIL's bicubic filter, so strokes stay smooth; grey is repeated over the channels
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sslbench.data import reading, splits
from sslbench.data.batch import Batch, Source
from sslbench.data.store import decoding

_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind digits.

    Attributes:
        kind: always `digits`.
        seed: of the split.
        size: side in pixels.
        val_fraction: share of each class for val.
        test_fraction: share of each class for test.
    """

    kind: Literal["digits"]
    seed: int
    size: int
    val_fraction: float
    test_fraction: float

    def __post_init__(self) -> None:
        """Refuse a size or fractions that cannot be."""
        reading.refuse_size(self.size)
        splits.refuse_fractions(self.val_fraction, self.test_fraction)
        if not self.val_fraction or not self.test_fraction:
            raise ValueError("val_fraction and test_fraction must be above 0")


def open_source(params: Params) -> Source:
    """Return the digits, split."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    grey = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    classes = tuple(str(digit) for digit in range(10))
    items = [splits.Item(f"digit/{i:04d}", int(c), i) for i, c in enumerate(loaded.target)]
    parts = splits.stratify(
        items,
        classes,
        seed=params.seed,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
        where="data.digits",
    )
    return Source(
        classes=classes,
        image_size=params.size,
        source="scikit-learn load_digits (UCI optical recognition of handwritten digits)",
        split_rule=f"{splits.RULE}, seed {params.seed}",
        batches=lambda split: _batches(grey, parts[split], params.size),
    )


def _batches(grey: np.ndarray, items: list[splits.Item], size: int) -> Iterator[Batch]:
    for start in range(0, len(items), _CHUNK):
        chunk = items[start : start + _CHUNK]
        rgb = np.repeat(grey[[int(item.position) for item in chunk]][..., None], 3, axis=3)
        yield Batch(
            images=np.stack([decoding.resize_array(image, size) for image in rgb]),
            labels=np.array([item.label for item in chunk], dtype=np.int64),
            ids=[item.id for item in chunk],
        )
