"""The objects of one image, and how a row of the store keeps them: JSON with COCO's own masks.

`instances` is a column of JSON texts, so that pandas or DuckDB read it without us:

    {"boxes": [[x0, y0, x1, y1], ...], "labels": [...], "is_crowd": [...], "is_difficult": [...],
     "size": [height, width], "masks": ["<compressed run lengths>", ...] or null}

Run lengths are those of the COCO API (https://github.com/cocodataset/cocoapi, MIT).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sslbench.core.errors import UserError
from sslbench.data.store import run_lengths

if TYPE_CHECKING:
    from sslbench.data.store import Split

# What reading a JSON text of another shape, depth or size raises.
_DAMAGE = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True)
class Instances:
    """The annotated objects of one image, in the pixels of the image as it is stored.

    Attributes:
        boxes: (num_objects, 4) float32 x0, y0, x1, y1; x1 and y1 are exclusive.
        labels: (num_objects,) int64 class indices.
        masks: (num_objects, height, width) bool, or None where the set has none.
        is_crowd: (num_objects,) bool: COCO's regions of many objects, neither right nor wrong.
        is_difficult: (num_objects,) bool: VOC's mark, neither right nor wrong.
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    is_crowd: np.ndarray
    is_difficult: np.ndarray

    def __post_init__(self) -> None:
        """Refuse arrays of different lengths and boxes without area."""
        lengths = {len(self.boxes), len(self.labels), len(self.is_crowd), len(self.is_difficult)}
        if self.masks is not None:
            lengths.add(len(self.masks))
        if len(lengths) != 1 or self.boxes.shape[1:] != (4,):
            raise ValueError(f"instances of different lengths: {sorted(lengths)}")
        if len(self.boxes) and not (self.boxes[:, 2:] > self.boxes[:, :2]).all():
            raise ValueError("a box without area")


def plain(boxes: np.ndarray, labels: np.ndarray, masks: np.ndarray | None) -> Instances:
    """Return objects none of which is a crowd or difficult; shapes as in `Instances`."""
    no = np.zeros(len(labels), bool)
    return Instances(boxes, labels, masks, no, no)


def to_bytes(instances: Instances, height: int, width: int) -> bytes:
    """Return the text of one row; `height` and `width` are those of the image."""
    content = {
        "boxes": instances.boxes.astype(float).round(2).tolist(),
        "labels": instances.labels.tolist(),
        "is_crowd": instances.is_crowd.tolist(),
        "is_difficult": instances.is_difficult.tolist(),
        "size": [height, width],
        "masks": None if instances.masks is None else [_run_lengths(m) for m in instances.masks],
    }
    return json.dumps(content, sort_keys=True).encode()


def instances_of(split: Split, row: int) -> Instances:
    """Return the objects of one image: of the column `instances`, or the one object of a scene.

    Raises:
        UserError: the split names no objects, or the row is damaged.
    """
    if "instances" in split.columns:
        return _parsed(split.encoded(row, "instances"), f"{split.path}, row {row}")
    if "boxes" in split.columns:
        boxes, masks = split.column("boxes")[row : row + 1], split.column("mask")[row : row + 1]
        return plain(boxes, split.labels[row : row + 1], masks.astype(bool))
    mend = "take a data set with boxes: scenes, or kind coco or voc"
    raise UserError("names no objects", where=str(split.path), mend=mend)


def _parsed(text: bytes, where: str) -> Instances:
    try:
        content = json.loads(text)
        height, width = map(int, content["size"])
        masks = content["masks"]
        boxes = np.array(content["boxes"], np.float32).reshape(-1, 4)
        if not np.isfinite(boxes).all():
            raise ValueError("a box that is no number")
        return Instances(
            boxes=boxes,
            labels=np.array(content["labels"], np.int64),
            masks=None if masks is None else _masks(masks, height, width),
            is_crowd=np.array(content["is_crowd"], bool),
            is_difficult=np.array(content["is_difficult"], bool),
        )
    except _DAMAGE as error:
        mend = "run the prepare stage again"
        raise UserError(f"damaged instances ({error})", where=where, mend=mend) from None


def _run_lengths(mask: np.ndarray) -> str:
    from pycocotools import mask as coco

    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def _masks(texts: list[str], height: int, width: int) -> np.ndarray:
    run_lengths.refuse_size(len(texts), height, width)
    masks = np.zeros((len(texts), height, width), bool)
    for mask, text in zip(masks, texts, strict=True):
        mask[:] = run_lengths.from_text(text, height, width)
    return masks
