"""Exact copies between splits: found by content, kept in test, dropped from val and train."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from sslbench.data.batch import Batch

# Splits in the order that they claim an image: a copy is dropped from the later ones.
ORDER = ("test", "val", "train")
# More pairs than this are counted, not listed.
_LISTED = 1000


class Ledger:
    """Remembers every image seen by the sha256 of its pixels (or file bytes, where encoded)."""

    def __init__(self) -> None:
        self._first: dict[bytes, tuple[str, str, int]] = {}
        self._dropped: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._conflicts = 0
        self._pairs: list[dict[str, str]] = []

    def keep(self, split: str, batch: Batch) -> Batch:
        """Return the batch without images that an earlier split holds; copies within stay."""
        rows = [row for row in range(len(batch.ids)) if self._admits(split, batch, row)]
        return batch if len(rows) == len(batch.ids) else batch.take(rows)

    def report(self) -> dict[str, Any]:
        """Return counts and the pairs found (at most 1000), for `dataset.json`."""
        return {
            "rule": "sha256 of the stored image; test wins over val, val over train",
            "dropped": {split: self._dropped[split] for split in ORDER},
            "kept_within_split": {split: self._kept[split] for split in ORDER},
            "conflicting_labels": self._conflicts,
            "pairs": sorted(self._pairs, key=lambda pair: (pair["id"], pair["copy_of"])),
        }

    def _admits(self, split: str, batch: Batch, row: int) -> bool:
        label = int(batch.labels[row])
        image = batch.images[row]
        content = image if isinstance(image, bytes) else np.ascontiguousarray(image).tobytes()
        found = self._first.setdefault(
            hashlib.sha256(content).digest(), (split, batch.ids[row], label)
        )
        if found[:2] == (split, batch.ids[row]):
            return True
        self._conflicts += found[2] != label
        is_kept = found[0] == split
        (self._kept if is_kept else self._dropped)[split] += 1
        if len(self._pairs) < _LISTED:
            pair = {"id": batch.ids[row], "copy_of": found[1], "in": found[0]}
            self._pairs.append(pair | {"split": split, "action": "kept" if is_kept else "dropped"})
        return is_kept
