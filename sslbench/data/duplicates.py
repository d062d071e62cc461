"""Exact copies between splits: found by content, kept in test, dropped from val and train."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections import Counter
from typing import Any

import numpy as np

from sslbench.core.errors import UserError
from sslbench.data.batch import Batch

# Splits in the order that they claim an image: a copy is dropped from the later ones.
ORDER = ("test", "val", "train")
# More pairs than this are counted, not listed.
_LISTED = 1000


class _Firsts:
    """Who was first with each content, in a temporary database: 16 MiB of it are held."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)  # a nameless file, gone with us
        self._base.execute("PRAGMA cache_size = -16384")
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute(
            "CREATE TABLE first (content BLOB PRIMARY KEY, split TEXT, id TEXT, label INTEGER) "
            "WITHOUT ROWID"
        )
        self._base.execute("BEGIN")  # one transaction: each of its own would write its pages out

    def find(self, content: bytes, split: str, name: str, label: int) -> tuple[str, str, int]:
        """Return the first that came with this content, which may be this one.

        Raises:
            UserError: there is no room for the database.
        """
        row = (content, split, name, label)
        try:
            done = self._base.execute("INSERT OR IGNORE INTO first VALUES (?, ?, ?, ?)", row)
            if done.rowcount:
                return split, name, label
            asked = "SELECT split, id, label FROM first WHERE content = ?"
            found: tuple[str, str, int] = self._base.execute(asked, (content,)).fetchone()
            return found
        except sqlite3.Error as error:
            what, mend = f"cannot note what was seen ({error})", "free some space"
            raise UserError(what, where=tempfile.gettempdir(), mend=mend) from None


class Ledger:
    """Remembers every image seen by the sha256 of its pixels (or file bytes, where encoded)."""

    def __init__(self) -> None:
        self._firsts = _Firsts()
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
        found = self._firsts.find(hashlib.sha256(content).digest(), split, batch.ids[row], label)
        if found[:2] == (split, batch.ids[row]):
            return True
        self._conflicts += found[2] != label
        is_kept = found[0] == split
        (self._kept if is_kept else self._dropped)[split] += 1
        if len(self._pairs) < _LISTED:
            pair = {"id": batch.ids[row], "copy_of": found[1], "in": found[0]}
            self._pairs.append(pair | {"split": split, "action": "kept" if is_kept else "dropped"})
        return is_kept
