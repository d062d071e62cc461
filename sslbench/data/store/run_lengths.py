"""Masks as COCO's run lengths, checked before pycocotools sees them.

Its C code trusts what it is given: a corner far outside of the image ends the process, and sizes
that a file names are allocated as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# Values of all masks of one image together: a GiB, 80 objects of a photograph of 12 megapixels.
MAX_VALUES = 2**30
# A compressed number: digits of five bits, all but the last with the mark that more follow.
_COMPRESSED = re.compile(rb"(?:[P-o]{0,6}[0-O])*")
# How many sides of the image a corner may lie away.
_FURTHEST = 10


def refuse_size(count: int, height: int, width: int) -> None:
    """Refuse masks that no memory is worth.

    Raises:
        ValueError: a side below 1, or more than `MAX_VALUES` values.
    """
    if min(height, width) < 1 or max(count, 1) * height * width > MAX_VALUES:
        raise ValueError(f"masks of {count} objects in {height} x {width} pixels")


def from_text(counts: str, height: int, width: int) -> np.ndarray:
    """Return the mask (height, width) bool of compressed run lengths.

    Raises:
        ValueError: no run lengths, or not those of an image of this size.
    """
    refuse_size(1, height, width)
    content = counts.encode("ascii")
    if not _COMPRESSED.fullmatch(content):
        raise ValueError("run lengths are damaged")
    return _decoded({"size": [height, width], "counts": content})


def from_counts(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return the mask (height, width) bool of run lengths as numbers.

    Raises:
        ValueError: not whole numbers that add up to the image.
    """
    from pycocotools import mask as coco

    refuse_size(1, height, width)
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("run lengths are not whole numbers")
    if sum(counts) != height * width:
        raise ValueError("run lengths do not fill the image")
    coded = coco.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width)
    return _decoded(coded)


def from_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Return the mask (height, width) bool of the union of some polygons.

    Raises:
        ValueError: corners that are not numbers, or lie far outside of the image.
    """
    from pycocotools import mask as coco

    refuse_size(1, height, width)
    bound = _FURTHEST * max(height, width)
    for polygon in polygons:
        if not (np.abs(np.asarray(polygon, np.float64)) <= bound).all():
            raise ValueError("a corner lies far outside of the image")
    coded = coco.merge(coco.frPyObjects([list(polygon) for polygon in polygons], height, width))
    return _decoded(coded)


def _decoded(coded: dict[str, Any]) -> np.ndarray:
    from pycocotools import mask as coco

    drawn = np.asarray(coco.decode(coded))
    # Where run lengths end too soon, pycocotools leaves the rest of the mask as it finds it.
    if int(coco.area(coded)) != int(drawn.sum()):
        raise ValueError("run lengths do not fill the image")
    return drawn.astype(bool)
