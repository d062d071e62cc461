"""Preparing holds a chunk, whatever the number of images."""

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.data import duplicates
from sslbench.data.batch import Batch
from sslbench.data.store import Split, split_writer, write_split
from tests.memory import peak_bytes

CHUNK = 250


def batches(images):
    """Yield images of 2 px, all different, with names and boxes."""
    for start in range(0, images, CHUNK):
        rows = np.arange(start, start + CHUNK)
        pixels = np.zeros((CHUNK, 2, 2, 3), np.uint8)
        pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = rows % 256, rows // 256
        names = [f"train/{row:07d}" for row in rows]
        boxes = np.tile(rows[:, None], (1, 4)).astype(np.float32)
        yield Batch(pixels, rows % 3, names, {"boxes": boxes, "note": [b"x"] * CHUNK})


def test_a_writers_memory_does_not_grow(tmp_path):
    def write(images):
        with split_writer(tmp_path / "train.arrow", (2, 2, 3)) as writer:
            for batch in batches(images):
                writer.append(batch.images, batch.labels, batch.ids, **batch.columns)

    write(CHUNK)  # imports
    few, many = (peak_bytes(lambda n=n: write(n)) for n in (2 * CHUNK, 80 * CHUNK))
    assert many - few < 10 * 80 * CHUNK  # bytes an image; labels, names and boxes have 90
    split = Split(tmp_path / "train.arrow")
    assert split.labels[-1] == (80 * CHUNK - 1) % 3
    assert split.names(slice(301, 302)) == ["train/0000301"]
    assert split.column("boxes")[777].tolist() == [777.0] * 4


def test_a_ledgers_memory_does_not_grow():
    def look(images):
        ledger = duplicates.Ledger()
        for batch in batches(images):
            ledger.keep("train", batch)

    look(CHUNK)
    few, many = (peak_bytes(lambda n=n: look(n)) for n in (2 * CHUNK, 80 * CHUNK))
    assert many - few < 10 * 80 * CHUNK


def test_a_ledger_without_room_is_one_line(monkeypatch):
    ledger = duplicates.Ledger()
    ledger._firsts._base.execute("PRAGMA max_page_count = 1")
    with pytest.raises(UserError, match=r"cannot note what was seen .*full.*free some space"):
        _ = [ledger.keep("train", batch) for batch in batches(80 * CHUNK)]


def test_a_column_of_truths_is_refused(tmp_path):
    batch, flag = next(batches(CHUNK)), np.ones(CHUNK, bool)
    with pytest.raises(ValueError, match="'flag' must be of numbers"):
        write_split(tmp_path / "a.arrow", batch.images, batch.labels, batch.ids, flag=flag)
