"""Image files to batches: checked, decoded in threads, a chunk at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from sslbench.core.errors import UserError
from sslbench.data.batch import Batch
from sslbench.data.splits import Item
from sslbench.data.store import MAX_RAW_SIZE, decoding

# Files in flight at once; bounds memory whatever the number of images.
CHUNK = 64
# Encoded images are measured (mean, std) on centre squares of this side, each counting the same.
PREVIEW_SIZE = 128
MAX_FILE_BYTES = 2**28

OnBad = Literal["error", "skip"]
Skipped = list[dict[str, str]]
Row = tuple[bytes | np.ndarray, np.ndarray]


def refuse_size(size: int | None) -> None:
    """Refuse a raw side that the store does not keep, for the `Params` of a family.

    Raises:
        ValueError: outside [8, 96].
    """
    if size is not None and not 8 <= size <= MAX_RAW_SIZE:
        raise ValueError(
            f"size must lie in [8, {MAX_RAW_SIZE}], or be null to keep the files' own bytes; "
            f"found {size}"
        )


def report_bad(name: str, reason: str, on_bad: OnBad, skipped: Skipped) -> None:
    """List a bad image, or refuse it.

    Raises:
        UserError: `on_bad` is "error".
    """
    if on_bad == "error":
        mend = 'mend or remove the file, or set on_bad_image: "skip"'
        raise UserError(reason, where=name, mend=mend)
    skipped.append({"id": name, "reason": reason})


def content_of(path: Path, at_most: int = MAX_FILE_BYTES) -> bytes:
    """Return a file's bytes.

    Raises:
        OSError: it cannot be read.
        BadImageError: not a regular file (reading a pipe or device may never end), or too large.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise decoding.BadImageError("not a regular file")
    if status.st_size > at_most:
        raise decoding.BadImageError(f"file of more than {at_most} bytes")
    return path.read_bytes()


def refuse_names(names: Sequence[str], where: Path) -> None:
    """Refuse names of a list, from a data set's files, that would lead out of its folder.

    Raises:
        UserError: an absolute path, one with `..`, or one that no file can have.
    """
    for name in names:
        if name.startswith("/") or ".." in name.split("/") or not name.isprintable():
            mend = "unpack the set again; such a list is not the official one"
            raise UserError(f"name {name!r} leads out of the set", where=str(where), mend=mend)


def leads_out(path: Path, root: Path) -> bool:
    """Whether a file is a link to something outside of a folder."""
    return path.is_symlink() and not path.resolve().is_relative_to(root.resolve())


def file_batches(
    items: Sequence[Item], size: int | None, on_bad: OnBad, skipped: Skipped
) -> Iterator[Batch]:
    """Yield image files as batches.

    Args:
        items: positions are paths.
        size: side of raw images in pixels; None keeps the files' bytes.
        on_bad: what to do with a file that is no readable image.
        skipped: where skipped files are listed.
    """
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            good: list[tuple[Item, Row]] = []
            for item, row in zip(chunk, pool.map(_reader(size), chunk), strict=True):
                if isinstance(row, str):
                    report_bad(str(item.position), row, on_bad, skipped)
                else:
                    good.append((item, row))
            if good:
                yield _batch(good, size)


def _reader(size: int | None) -> Callable[[Item], Row | str]:
    def read(item: Item) -> Row | str:
        try:
            return _read(item, size)
        except decoding.BadImageError as error:
            return str(error)
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        except ValueError as error:  # a name that no file can have
            return f"cannot be read ({error})"

    return read


def _read(item: Item, size: int | None) -> Row:
    place = str(item.position)
    # An id is the path from the set's root, except for frames of videos, which davis.py checks.
    if place.endswith(item.id) and leads_out(Path(place), Path(place.removesuffix(item.id))):
        raise decoding.BadImageError("link that leads out of the root")
    content = content_of(Path(place))
    image = decoding.to_rgb(content)
    if size is None:
        return content, decoding.square(image, PREVIEW_SIZE)
    pixels = decoding.square(image, size)
    return pixels, pixels


def _batch(good: list[tuple[Item, Row]], size: int | None) -> Batch:
    images = [row[0] for _, row in good]
    return Batch(
        images=images if size is None else np.stack(images),  # type: ignore[arg-type]
        labels=np.array([item.label for item, _ in good], dtype=np.int64),
        ids=[item.id for item, _ in good],
        previews=np.stack([row[1] for _, row in good]) if size is None else None,
    )
