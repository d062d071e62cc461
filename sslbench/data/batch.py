"""What a data family yields and `prepare` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sslbench.data.store import Column


@dataclass(frozen=True)
class Batch:
    """A few rows of a split.

    Attributes:
        images: (n, H, W, 3) uint8, or n encoded files.
        labels: (n,) int64, -1 for none.
        ids: n stable names.
        columns: further columns, each (n, ...) or n texts of bytes.
        previews: (n, P, P, 3) uint8 small copies of encoded images, for mean and std.
    """

    images: np.ndarray | Sequence[bytes]
    labels: np.ndarray
    ids: Sequence[str]
    columns: dict[str, Column] = field(default_factory=dict)
    previews: np.ndarray | None = None

    def take(self, rows: Sequence[int]) -> Batch:
        """Return some of the rows, in the order given."""
        index = np.asarray(rows, dtype=np.int64)
        return Batch(
            images=_rows(self.images, index),
            labels=self.labels[index],
            ids=[self.ids[row] for row in rows],
            columns={name: _rows(values, index) for name, values in self.columns.items()},
            previews=None if self.previews is None else self.previews[index],
        )


def _rows(values: Column, index: np.ndarray) -> Column:
    return values[index] if isinstance(values, np.ndarray) else [values[row] for row in index]


@dataclass(frozen=True)
class Source:
    """A data set before it is written.

    Attributes:
        classes: class names in label order; empty where unlabelled.
        image_size: side of the raw images in pixels; None for encoded files.
        source: where the images come from.
        split_rule: how the splits are made, with the rule's version.
        batches: maps a split's name to its rows, in order, a chunk at a time.
        skipped: what is left out (`id`, `reason`); may grow while the batches are read.
        metric: the measure the literature reports for this set.
    """

    classes: tuple[str, ...]
    image_size: int | None
    source: str
    split_rule: str
    batches: Callable[[str], Iterator[Batch]]
    skipped: list[dict[str, str]] = field(default_factory=list)
    metric: str = "top1"
