"""Images in memory, the same for both sides: from a folder, or drawn from the embedded scenes."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path

import numpy as np

from sslbench.core.errors import UserError
from sslbench.data.store import decoding

_SUFFIXES = (".jpg", ".jpeg", ".png")
_SCENE_SIZE = 32


@lru_cache(maxsize=1)
def load(folder: Path | None, count: int, size: int) -> np.ndarray:
    """Return (count, size, size, 3) uint8.

    Args:
        folder: images anywhere below it, the first ones by name; None draws scenes, which are
            32 px and enlarged where more is asked for.
        count: how many.
        size: side in pixels; short sides are resized to it and centre-cropped.

    Raises:
        UserError: the folder holds fewer images.
    """
    if folder is None:
        return _scenes(count, size)
    paths = chosen(folder, count)
    return np.stack([decoding.square(decoding.to_rgb(p.read_bytes()), size) for p in paths])


def chosen(folder: Path, count: int) -> list[Path]:
    """Return the files of `load`, spread over the list of all, which is sorted by class.

    Raises:
        UserError: the folder holds fewer images.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if len(found) < count:
        what = f"{len(found)} images where {count} are needed"
        raise UserError(what, where=str(folder), mend="give another --data or fewer --images")
    return [found[row * len(found) // count] for row in range(count)]


def _scenes(count: int, size: int) -> np.ndarray:
    from sslbench.data import scenes

    drawn = scenes.chunks(0, "train", count, _SCENE_SIZE)
    pixels = itertools.chain.from_iterable(chunk.images for chunk in drawn)
    if size == _SCENE_SIZE:
        return np.stack(list(pixels))
    return np.stack([decoding.resize_array(image, size) for image in pixels])
