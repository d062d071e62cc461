"""The class of every pixel of an image: of the column `semantic`, or of its objects' masks."""

from __future__ import annotations

import io

import numpy as np

from sslbench.core.errors import UserError
from sslbench.data.store import Split
from sslbench.data.store.instances import Instances, instances_of
from sslbench.evaluation.protocols.parts.segmentation_scores import VOID


def semantic_of(split: Split, row: int) -> np.ndarray:
    """Return class indices (height, width) uint8: 0 background, VOID where nothing is said.

    Raises:
        UserError: the split has neither such a column nor objects with masks.
    """
    if "semantic" in split.columns:
        from PIL import Image

        with Image.open(io.BytesIO(split.encoded(row, "semantic")), formats=("PNG",)) as image:
            return np.asarray(image, dtype=np.uint8)
    height, width = split.image(row).shape[:2]
    return painted(instances_of(split, row), height, width, where=str(split.path))


def painted(objects: Instances, height: int, width: int, where: str = "") -> np.ndarray:
    """Return the objects as a map (height, width) uint8: class c is c + 1.

    Pixels of objects of two classes, and pixels that only a crowd covers, are VOID, as in
    torchvision's reference for COCO (which leaves crowds out and voids every overlap).

    Raises:
        UserError: objects without masks, or a class that has no number below VOID.
    """
    if objects.masks is None:
        mend = "take a data set with masks, or take segmentation out of the grid"
        raise UserError("the objects have no masks", where=where, mend=mend)
    is_whole = ~objects.is_crowd
    if (largest := int(objects.labels[is_whole].max(initial=0))) >= VOID - 1:
        what = f"an object is of class {largest}, and segmentation has room for 0 to {VOID - 2}"
        mend = "take fewer classes, or take segmentation out of the grid"
        raise UserError(what, where=where, mend=mend)
    found = np.zeros((height, width), np.uint8)
    for mask, label in zip(objects.masks[is_whole], objects.labels[is_whole], strict=True):
        found[mask & (found != 0) & (found != label + 1)] = VOID
        found[mask & (found == 0)] = label + 1
    found[objects.masks[objects.is_crowd].any(axis=0) & (found == 0)] = VOID
    return found
