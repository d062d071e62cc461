"""The Arrow store: one memory-mapped IPC file per split, beside one `dataset.json`.

A split is one record batch, so its raw pixels are one contiguous view of the file and nothing is
copied to read it. Writing streams (`writer.py`).

Columns: image (fixed-size binary H*W*C uint8, or encoded file bytes as large binary), label int64
(-1 for none), id string, and any further ones. Those with a meaning of their own:

    targets    (classes,) int8, of a set whose images have several labels: 1 there, 0 not, -1 unsaid
    instances  JSON: the objects of an image (`store.instances`)
    boxes      (4,) float32 x0, y0, x1, y1 and `mask` (H, W) uint8: the one object of a scene
    semantic   PNG of numbers: 0 background, c + 1 for class c, 255 where nothing is said
    clip, frame, object_map    int64, int64, PNG of object numbers (`store.clips`)
    keypoints  (3 K,) float32: x, y in pixels and 1 where visible, of K points
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sslbench.core import artifacts, seal
from sslbench.core.errors import UserError
from sslbench.data.store import decoding
from sslbench.data.store.columns import as_array
from sslbench.data.store.info import FORMAT, DatasetInfo, read_info
from sslbench.data.store.opening import MEND, read_batch
from sslbench.data.store.writer import (
    CHUNK,
    Column,
    ContentHash,
    SplitWriter,
    split_writer,
    write_split,
)

if TYPE_CHECKING:
    from sslbench.data.store.decoder import Decoder

__all__ = [
    "MAX_RAW_SIZE",
    "Column",
    "Dataset",
    "DatasetInfo",
    "Split",
    "SplitWriter",
    "split_path",
    "split_writer",
    "write_info",
    "write_split",
]

# A side above this many pixels is kept as encoded bytes (DESIGN, "The files").
MAX_RAW_SIZE = 96


class Split:
    """One split, memory-mapped; arrays are read-only views of the file where possible."""

    def __init__(self, path: Path) -> None:
        seal.check(path)
        self.path = path
        self._batch = read_batch(path)
        self._schema = self._batch.schema

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self._batch.num_rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._schema.names)

    @property
    def is_encoded(self) -> bool:
        """Whether images are encoded file bytes of varying size."""
        return bool(pa.types.is_large_binary(self._schema.field("image").type))

    @property
    def labels(self) -> np.ndarray:
        """Class indices (N,) int64; -1 where there is none."""
        return self.column("label")

    @property
    def targets(self) -> np.ndarray | None:
        """(N, classes) int8, as above, where images have several labels; else None."""
        return self.column("targets") if "targets" in self.columns else None

    @property
    def ids(self) -> list[str]:
        """Stable names (N)."""
        return self.names(slice(0, len(self)))

    def names(self, rows: slice) -> list[str]:
        """Return the stable names of adjacent rows."""
        return list(self._batch.column("id")[rows].to_pylist())

    @property
    def pixels(self) -> np.ndarray:
        """Raw images (N, H, W, C) uint8, a view of the file.

        Raises:
            UserError: the images are encoded and have no common size.
        """
        if self.is_encoded:
            raise UserError(
                "images are encoded, not raw pixels",
                where=str(self.path),
                mend=f"prepare with size <= {MAX_RAW_SIZE}, or decode them",
            )
        return self.column("image")

    def column(self, name: str) -> np.ndarray:
        """Return a fixed-width column as (N, *shape), a view of the file.

        Raises:
            UserError: the split has no such column.
        """
        if name not in self.columns:
            mend = "columns: " + ", ".join(self.columns)
            raise UserError(f"no column {name!r}", where=str(self.path), mend=mend)
        return as_array(self._batch.column(name), self._schema.field(name))

    def encoded(self, index: int, name: str = "image") -> bytes:
        """Return the bytes of one row of a column of varying width, such as an encoded image."""
        return bytes(self._batch.column(name)[int(index)].as_buffer())

    def image(self, index: int) -> np.ndarray:
        """Return one image (height, width, 3) uint8 at its own size."""
        if self.is_encoded:
            with self._named(index):
                return np.asarray(decoding.to_rgb(self.encoded(index)), dtype=np.uint8)
        pixels: np.ndarray = self.pixels[int(index)]
        return pixels

    @cached_property
    def decoder(self) -> Decoder:
        """What decodes its files ahead; one for all, since it keeps images up to a GiB."""
        import torch

        from sslbench.data.store.decoder import Decoder

        return Decoder(self, torch.get_num_threads())

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of one image in pixels; nothing is decoded for it."""
        if self.is_encoded:
            with self._named(index):
                width, height = decoding.size_of(self.encoded(index))
            return height, width
        height, width = self.pixels.shape[1:3]
        return height, width

    def decode(self, indices: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
        """Return square images (B, size, size, 3) uint8.

        Encoded images: short side resized to `size` (bicubic, antialiased), centre crop. Raw
        images are resized the same way where their size differs.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if self.is_encoded:
            made = [self._square(row, size) for row in rows]
        elif self.pixels.shape[1:3] == (size, size):
            return self.pixels[rows]
        else:
            made = [decoding.resize_array(self.pixels[row], size) for row in rows]
        return np.stack(made) if made else np.zeros((0, size, size, 3), np.uint8)

    def _square(self, row: int, size: int) -> np.ndarray:
        with self._named(row):
            return decoding.square(decoding.to_rgb(self.encoded(row)), size)

    @contextmanager
    def _named(self, row: int) -> Iterator[None]:
        """Say of which row an image is bad; prepare let none in, another hand may have."""
        try:
            yield
        except decoding.BadImageError as error:
            where = f"{self.path}, row {row}"
            raise UserError(f"bad image ({error})", where=where, mend=MEND) from None

    def content_hash(self) -> str:
        """Return the sha256 of the rows, recomputed from the file."""
        content = ContentHash()
        for start in range(0, max(len(self), 1), CHUNK):
            rows = slice(start, start + CHUNK)
            for name in self.columns:
                if pa.types.is_large_binary(self._schema.field(name).type):
                    stop = min(rows.stop, len(self))
                    content.update_bytes(name, [self.encoded(i, name) for i in range(start, stop)])
                elif name == "id":
                    content.update_bytes(name, [text.encode("utf-8") for text in self.names(rows)])
                else:
                    content.update_array(name, self.column(name)[rows])
        return content.hexdigest()


class Dataset:
    """A folder with `dataset.json` and one Arrow file per split."""

    def __init__(self, folder: Path, info: DatasetInfo) -> None:
        self.folder = folder
        self.info = info

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Read `dataset.json`.

        Raises:
            UserError: the file is absent, damaged or of another format.
        """
        return cls(Path(folder), read_info(Path(folder)))

    def split(self, name: str) -> Split:
        """Return one split.

        Raises:
            UserError: no such split, or its file is absent, damaged or of another length.
        """
        if name not in self.info.counts:
            mend = "splits: " + ", ".join(self.info.counts)
            raise UserError(f"no split {name!r}", where=str(self.folder), mend=mend)
        split = Split(split_path(self.folder, name))
        if len(split) != self.info.counts[name]:
            what = f"{len(split)} images where dataset.json says {self.info.counts[name]}"
            raise UserError(what, where=str(split.path), mend=MEND)
        self._refuse_labels(split)
        return split

    def _refuse_labels(self, split: Split) -> None:
        """Refuse labels that are no index of a class, and pixels of another size than is said."""
        highest = len(self.info.classes) - 1 if self.info.classes else np.iinfo(np.int32).max
        lowest, top = split.labels.min(initial=0), split.labels.max(initial=-1)
        if lowest < -1 or top > highest:
            what = f"labels from {lowest} to {top} for {len(self.info.classes)} classes"
            raise UserError(what, where=str(split.path), mend=MEND)
        side = self.info.image_size
        shape = None if split.is_encoded else split.pixels.shape[1:]
        if shape != (None if side is None else (side, side, self.info.channels)):
            what = f"pixels of shape {shape} where dataset.json says a side of {side}"
            raise UserError(what, where=str(split.path), mend=MEND)

    def verify(self) -> None:
        """Hash every split again.

        Raises:
            UserError: a split's content is not what `dataset.json` names.
        """
        for name, expected in self.info.sha256.items():
            split = self.split(name)
            if split.content_hash() != expected:
                raise UserError("content hash differs", where=str(split.path), mend=MEND)


def split_path(folder: Path, name: str) -> Path:
    """Return the file of a split."""
    return Path(folder) / f"{name}.arrow"


def write_info(folder: Path, info: DatasetInfo) -> None:
    """Write `dataset.json`; call it last, it marks the folder as whole."""
    artifacts.write_json(Path(folder) / artifacts.DATASET, {"format": FORMAT, **asdict(info)})
