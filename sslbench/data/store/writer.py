"""Streaming writer of one split of the Arrow store, and the hash of a split's content.

Rows go to spool files beside the split, one a column (and one for where texts begin), so no more
than one chunk is ever held; the one record batch is then built over the spools' memory maps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sslbench.core import artifacts

if TYPE_CHECKING:
    from hashlib import _Hash

Images = np.ndarray | Sequence[bytes]
Column = np.ndarray | Sequence[bytes]
CHUNK = 256


class ContentHash:
    """A sha256 of rows that does not depend on chunking or on Arrow's version."""

    def __init__(self) -> None:
        self._columns: dict[str, _Hash] = {}

    def update_array(self, name: str, values: np.ndarray) -> None:
        """Add rows of a fixed-width column."""
        self._sink(name).update(np.ascontiguousarray(values).data)

    def update_bytes(self, name: str, values: Sequence[bytes]) -> None:
        """Add rows of varying length, each with its length in front."""
        sink = self._sink(name)
        for value in values:
            sink.update(len(value).to_bytes(8, "little"))
            sink.update(value)

    def hexdigest(self) -> str:
        """Return the hash over all columns, by name."""
        parts = [f"{name}={sink.hexdigest()}" for name, sink in sorted(self._columns.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _sink(self, name: str) -> _Hash:
        return self._columns.setdefault(name, hashlib.sha256())


class SplitWriter:
    """Collects one split's rows; made by `split_writer`.

    Attributes:
        count: rows so far.
    """

    def __init__(self, spool: Path, image_shape: tuple[int, int, int] | None) -> None:
        self.count = 0
        self._spool = spool
        self._image_shape = image_shape
        self._hash = ContentHash()
        self._arrays: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._ends: dict[str, int] = {}

    @property
    def sha256(self) -> str:
        """Content hash of the rows so far."""
        return self._hash.hexdigest()

    def append(
        self, images: Images, labels: np.ndarray, ids: Sequence[str], **columns: Column
    ) -> None:
        """Add rows.

        Args:
            images: (n, H, W, C) uint8, or n encoded files.
            labels: (n,) int64, -1 for none.
            ids: n stable names.
            **columns: each (n, ...); uint8 maps become binary, numbers become (lists of) numbers,
                n texts of bytes become large binary.
        """
        labels = np.asarray(labels, dtype=np.int64)
        sizes = {len(images), len(labels), len(ids), *(len(values) for values in columns.values())}
        if len(sizes) != 1:
            raise ValueError(f"columns differ in length: {sorted(sizes)}")
        self._append_images(images)
        self._append_array("label", labels)
        self._append_texts("id", [name.encode("utf-8") for name in ids], np.int32)
        for name, values in columns.items():
            self._append_column(name, values)
        self.count += len(labels)

    def finish(self, path: Path) -> None:
        """Write the rows as one record batch."""
        names, arrays, metadata = zip(*self._built(), strict=True)
        fields = [
            pa.field(name, array.type, nullable=False, metadata=extra)
            for name, array, extra in zip(names, arrays, metadata, strict=True)
        ]
        schema = pa.schema(fields)
        batch = pa.RecordBatch.from_arrays(list(arrays), schema=schema)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
            file.write_batch(batch)

    def _append_images(self, images: Images) -> None:
        if self._image_shape is None:
            self._append_texts("image", [bytes(content) for content in images])
            return
        pixels = np.asarray(images)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != self._image_shape:
            raise ValueError(f"expected uint8 {self._image_shape}, found {pixels.shape[1:]}")
        self._append_array("image", pixels)

    def _append_column(self, name: str, values: Column) -> None:
        if isinstance(values, np.ndarray):
            self._append_array(name, values)
        else:
            self._append_texts(name, [bytes(content) for content in values])

    def _append_array(self, name: str, values: np.ndarray) -> None:
        kind = (values.dtype, values.shape[1:])
        if values.dtype == bool:
            raise ValueError(f"column {name!r} must be of numbers, as int8")
        if self._arrays.setdefault(name, kind) != kind:
            raise ValueError(f"column {name!r} changes its shape or type")
        self._hash.update_array(name, values)
        self._write(name, np.ascontiguousarray(values).data)

    def _append_texts(self, name: str, texts: list[bytes], offset: type = np.int64) -> None:
        """Add texts of bytes; where each ends goes to a spool of its own, as `offset` numbers."""
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        ends = self._end(name, offset) + np.cumsum(lengths)
        self._ends[name] += int(lengths.sum())
        if self._ends[name] > np.iinfo(offset).max:
            raise ValueError(f"column {name!r} is too long for its type")
        self._hash.update_bytes(name, texts)
        self._write(name, b"".join(texts))
        self._write(f"{name}.ends", ends.astype(offset).data)

    def _end(self, name: str, offset: type) -> int:
        """Return where a column of texts ends so far, in bytes; its spool of ends begins with 0."""
        if name not in self._ends:
            self._ends[name] = 0
            self._write(f"{name}.ends", np.zeros(1, offset).data)
        return self._ends[name]

    def _write(self, name: str, content: bytes | memoryview) -> None:
        with (self._spool / name).open("ab") as handle:
            handle.write(content)

    def _built(self) -> Iterator[tuple[str, pa.Array, dict[str, str] | None]]:
        yield "image", *self._image_array()
        self._arrays.setdefault("label", (np.dtype(np.int64), ()))
        yield "label", *self._array("label")
        yield "id", self._texts("id", pa.string(), np.int32), None
        for name in sorted({*self._arrays, *self._ends} - {"image", "label", "id"}):
            if name in self._ends:
                yield name, self._texts(name), None
            else:
                yield name, *self._array(name)

    def _image_array(self) -> tuple[pa.Array, dict[str, str] | None]:
        if self._image_shape is None:
            return self._texts("image"), None
        self._arrays.setdefault("image", (np.dtype(np.uint8), self._image_shape))
        return self._array("image")

    def _texts(
        self, name: str, kind: pa.DataType | None = None, offset: type = np.int64
    ) -> pa.Array:
        """Return a column of texts; large binary unless told otherwise."""
        self._end(name, offset)
        buffers = [None, self._mapped(f"{name}.ends"), self._mapped(name)]
        return pa.Array.from_buffers(kind or pa.large_binary(), self.count, buffers)

    def _array(self, name: str) -> tuple[pa.Array, dict[str, str] | None]:
        """Return a column of fixed width, and its shape where its type does not say it."""
        dtype, shape = self._arrays[name]
        if dtype == np.uint8 and shape:
            kind = pa.binary(int(np.prod(shape)))
            array = pa.Array.from_buffers(kind, self.count, [None, self._mapped(name)])
            return array, {"shape": ",".join(map(str, shape))}
        kind, width = pa.from_numpy_dtype(dtype), int(np.prod(shape))
        flat = pa.Array.from_buffers(kind, self.count * width, [None, self._mapped(name)])
        return (pa.FixedSizeListArray.from_arrays(flat, width) if shape else flat), None

    def _mapped(self, name: str) -> pa.Buffer:
        path = self._spool / name
        if not path.exists() or path.stat().st_size == 0:
            return pa.py_buffer(b"")
        return pa.memory_map(str(path)).read_buffer()


@contextmanager
def split_writer(path: Path, image_shape: tuple[int, int, int] | None) -> Iterator[SplitWriter]:
    """Yield a writer of one split; the file appears, whole, when the block ends without error.

    Args:
        path: the split's file.
        image_shape: (H, W, C) of raw pixels, or None for encoded images.
    """
    with (
        artifacts.atomic(path) as temporary,
        TemporaryDirectory(
            prefix=f".{path.name}.", suffix=artifacts.TEMPORARY, dir=path.parent
        ) as spool,
    ):
        writer = SplitWriter(Path(spool), image_shape)
        yield writer
        writer.finish(temporary)


def write_split(
    path: Path, images: Images, labels: np.ndarray, ids: Sequence[str], **columns: Column
) -> str:
    """Write one split in chunks, atomically, and return its content hash.

    Args:
        path: the split's file.
        images: (N, H, W, C) uint8, or N encoded files.
        labels: (N,) int64, -1 for none.
        ids: N stable names.
        **columns: further columns, each (N, ...).
    """
    shape: Any = images.shape[1:] if isinstance(images, np.ndarray) else None
    with split_writer(path, shape) as writer:
        for start in range(0, len(labels), CHUNK):
            rows = slice(start, start + CHUNK)
            extra: Mapping[str, Column] = {name: v[rows] for name, v in columns.items()}
            writer.append(images[rows], labels[rows], ids[rows], **extra)
    return writer.sha256
