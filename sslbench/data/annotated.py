"""Images with objects: what kinds `voc` and `coco` share, from annotations to batches.

An annotation that cannot be right (another image's size, masks of another shape, a damaged file)
or can be read in two ways (of an image that EXIF turns upside down) makes a bad image, like an
unreadable file. Boxes are clipped to their image, as torchvision's detection references do, and
objects of which nothing is left are dropped; `skipped` counts both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sslbench.data import reading, splits
from sslbench.data.batch import Batch
from sslbench.data.splits import Item
from sslbench.data.store import Column, decoding, run_lengths
from sslbench.data.store.instances import Instances, to_bytes

# Pixels. A box that moves by less was rounded (by its annotator or here), and is not counted.
_ROUNDING = 0.1


class BadAnnotationError(ValueError):
    """What is said of an image cannot be right; the message says why."""


@dataclass(frozen=True)
class Annotation:
    """What is said of one image.

    Attributes:
        width: of the image, in pixels.
        height: of the image, in pixels.
        boxes: (num_objects, 4) x0, y0, x1, y1 in pixels; x1 and y1 are exclusive.
        labels: (num_objects,) int64 class indices.
        masks: (num_objects, height, width) bool, or None.
        is_crowd: (num_objects,) bool.
        is_difficult: (num_objects,) bool.
        semantic: PNG as in the store's column of that name, or None.
    """

    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    is_crowd: np.ndarray
    is_difficult: np.ndarray
    semantic: bytes | None = None


Annotate = Callable[[str], Annotation]


def targets(labels: np.ndarray, is_difficult: np.ndarray, num_classes: int) -> np.ndarray:
    """Return (num_classes,) int8 of one image: 1 there, 0 not, -1 difficult objects only.

    The VOC rule: an image is left out for a class of which it has difficult objects alone
    (http://host.robots.ox.ac.uk/pascal/VOC/voc2007/htmldoc/, section 4.1.1).
    """
    found = np.zeros(num_classes, np.int8)
    found[labels[is_difficult]] = -1
    found[labels[~is_difficult]] = 1
    return found


def refuse_selection(*, has_val: bool, val_fraction: float, limit: int | None) -> None:
    """Refuse a val split from nowhere and an empty limit, for the `Params` of a family.

    Raises:
        ValueError: one of these.
    """
    splits.refuse_fractions(val_fraction, 0.0)
    if has_val == (val_fraction > 0):
        raise ValueError("name a val split, or set val_fraction above 0, and not both")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, found {limit}")


def split_up(
    given: Mapping[str, list[Item]],
    *,
    seed: int,
    val_fraction: float,
    limit: int | None,
    where: str,
) -> tuple[dict[str, list[Item]], str]:
    """Return the items of train, val and test, by rank, and how val was made, in words.

    Args:
        given: the items of train, test and perhaps val.
        seed: of the ranks.
        val_fraction: share of train for val where none is given; ignored otherwise.
        limit: most items in each; None for all.
        where: the kind, for messages.

    Raises:
        UserError: too few images to hold some out.
    """
    fraction = 0.0 if "val" in given else val_fraction
    made = splits.stratify(
        given["train"], (), seed=seed, val_fraction=fraction, test_fraction=0.0, where=where
    )
    others = {name: items for name, items in given.items() if name != "train"}
    made |= {name: splits.ordered(items, seed) for name, items in others.items()}
    limited = {name: splits.limited(items, limit) for name, items in made.items()}
    return limited, "" if "val" in given else f"; val out of train by {splits.RULE}, seed {seed}"


def refuse_masks(count: int, height: int, width: int) -> None:
    """Refuse an annotation whose masks would fill the memory, before they are drawn.

    Raises:
        BadAnnotationError: more than a GiB of them, or a side below 1.
    """
    try:
        run_lengths.refuse_size(count, height, width)
    except ValueError as error:
        raise BadAnnotationError(str(error)) from None


def batches(
    split: str,
    items: Sequence[Item],
    annotate: Annotate,
    num_classes: int,
    on_bad: reading.OnBad,
    skipped: reading.Skipped,
) -> Iterator[Batch]:
    """Yield image files with columns targets and instances, and semantic where there are such.

    Args:
        split: its name, for `skipped`.
        items: positions are paths.
        annotate: what is said of the image of an id; may raise BadAnnotationError.
        num_classes: length of the targets.
        on_bad: what to do with a bad image.
        skipped: where bad images and changed boxes are listed.
    """
    clipping = _Clipping()
    for batch in reading.file_batches(items, None, on_bad, skipped):
        kept, said = [], []
        for row, name in enumerate(batch.ids):
            try:
                annotation = annotate(name)
                _check_size(annotation, batch.images[row])
            except BadAnnotationError as error:
                reading.report_bad(name, str(error), on_bad, skipped)
            else:
                kept.append(row)
                said.append(_values(clipping.apply(annotation), num_classes))
        if kept:
            yield replace(batch.take(kept), columns=_columns(said))
    skipped += [{"id": split, "reason": reason} for reason in clipping.report()]


def _check_size(annotation: Annotation, content: bytes) -> None:
    size = (annotation.width, annotation.height)
    if size != (found := decoding.size_of(content)):
        raise BadAnnotationError(
            f"image of {found[0]} x {found[1]} pixels where its annotation says "
            f"{size[0]} x {size[1]}"
        )
    if decoding.is_changed_unseen(content):
        raise BadAnnotationError(
            "EXIF mirrors or turns the image and keeps its size, so that nothing tells whether the "
            "annotation counts in upright pixels or in the file's own: save the image upright"
        )


def _values(said: Annotation, num_classes: int) -> dict[str, Any]:
    """Return an image's values of each column: bytes at once, since unpacked masks are large."""
    boxes = said.boxes.astype(np.float32)
    found = Instances(boxes, said.labels, said.masks, said.is_crowd, said.is_difficult)
    values: dict[str, Any] = {
        "targets": targets(said.labels, said.is_difficult, num_classes),
        "instances": to_bytes(found, said.height, said.width),
    }
    return values if said.semantic is None else values | {"semantic": said.semantic}


def _columns(said: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    columns: dict[str, Column] = {name: [row[name] for row in said] for name in said[0]}
    columns["targets"] = np.stack([row["targets"] for row in said])
    return columns


class _Clipping:
    """Clips boxes to their images and counts what that changed."""

    def __init__(self) -> None:
        self._num_boxes = self._num_clipped = self._num_dropped = 0
        self._furthest = 0.0

    def apply(self, said: Annotation) -> Annotation:
        """Return the annotation with boxes inside the image, without objects of no area."""
        edges = np.array([said.width, said.height] * 2, dtype=np.float64)
        # The store keeps two decimals, so what counts is the area that is left then.
        boxes = np.clip(said.boxes, 0, edges).round(2)
        outside = np.abs(boxes - said.boxes).max(axis=1, initial=0.0)
        is_kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        self._num_boxes += len(boxes)
        self._num_dropped += int((~is_kept).sum())
        self._num_clipped += int((outside[is_kept] > _ROUNDING).sum())
        self._furthest = max(self._furthest, outside[is_kept].max(initial=0.0))
        return replace(
            said,
            boxes=boxes[is_kept],
            labels=said.labels[is_kept],
            masks=None if said.masks is None else said.masks[is_kept],
            is_crowd=said.is_crowd[is_kept],
            is_difficult=said.is_difficult[is_kept],
        )

    def report(self) -> list[str]:
        """Return what was changed, in words."""
        made = []
        if self._num_clipped:
            made.append(
                f"{self._num_clipped} of {self._num_boxes} boxes reached out of their image, by "
                f"up to {self._furthest:.1f} pixels, and were clipped"
            )
        if self._num_dropped:
            made.append(f"{self._num_dropped} of {self._num_boxes} objects dropped: no area inside")
        return made
