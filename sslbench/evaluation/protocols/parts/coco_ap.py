"""Average precision by COCO's definition, computed by the COCO API (pycocotools) itself.

Source: Lin et al., arXiv 1405.0312, and https://cocodataset.org/#detection-eval: precision at 101
recalls, at ten overlaps from 0.50 to 0.95, meant over classes; at most 100 objects of a class an
image. Crowds count neither for nor against, and VOC's difficult objects are passed as crowds
here: detections that lie in one are left out of the count.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sslbench.data.store.instances import Instances

# One object as the COCO API takes it: category_id, bbox, area, iscrowd, and segmentation, score.
Annotation = dict[str, Any]
_MAX_FOUND = 100


def truth_of(objects: Instances) -> list[Annotation]:
    """Return the annotated objects of one image."""
    ignored = objects.is_crowd | objects.is_difficult
    rows = _annotations(objects.boxes, objects.labels, objects.masks)
    return [row | {"iscrowd": int(flag)} for row, flag in zip(rows, ignored, strict=True)]


def found_of(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, masks: np.ndarray | None
) -> list[Annotation]:
    """Return the detected objects of one image.

    Args:
        boxes: (n, 4) x0, y0, x1, y1 in pixels.
        labels: (n,) class indices.
        scores: (n,) higher for surer.
        masks: (n, height, width) bool, or None.
    """
    rows = _annotations(boxes, labels, masks)
    return [row | {"score": float(score)} for row, score in zip(rows, scores, strict=True)]


class Matches:
    """Which of the objects found in each image are right, at every overlap.

    Args:
        truth: of each image, from `truth_of`.
        found: of the same images in the same order, from `found_of`.
        kind: overlap of boxes, or of masks.

    Raises:
        ValueError: other images in truth than in found, or no object that counts.
    """

    def __init__(
        self,
        truth: Sequence[list[Annotation]],
        found: Sequence[list[Annotation]],
        kind: Literal["bbox", "segm"],
    ) -> None:
        from pycocotools.cocoeval import COCOeval

        if len(truth) != len(found):
            raise ValueError(f"truth of {len(truth)} images, objects found in {len(found)}")
        if not any(not row["iscrowd"] for rows in truth for row in rows):
            raise ValueError("the truth names no object that counts")
        categories = sorted({row["category_id"] for rows in truth for row in rows})
        with contextlib.redirect_stdout(io.StringIO()):
            self._evaluator = COCOeval(
                _dataset(truth, categories), _dataset(found, categories), kind
            )
            # Of the twelve figures that the API can give, the three that are asked for.
            self._evaluator.params.maxDets = [_MAX_FOUND]
            self._evaluator.params.areaRng = [[0, 1e10]]
            self._evaluator.params.areaRngLbl = ["all"]
            self._evaluator.evaluate()
        shape = len(categories), len(truth)
        self._by_class = np.array(self._evaluator.evalImgs, dtype=object).reshape(shape)

    def precision(self, rows: np.ndarray | None = None) -> dict[str, float]:
        """Return `ap`, `ap50` and `ap75`, in [0, 1].

        The mean is over classes that the truth names, a class without a detection counting 0;
        objects found of other classes change nothing, as COCO has it.

        Args:
            rows: (num_images,) numbers of images, some of them several times; None for each once.

        Raises:
            ValueError: no object that counts in these images.
        """
        matched = self._by_class if rows is None else self._by_class[:, rows]
        self._evaluator.evalImgs = matched.ravel().tolist()
        with contextlib.redirect_stdout(io.StringIO()):
            self._evaluator.accumulate()
        # (overlaps, recalls, classes, 1, 1); -1 where the truth does not name the class
        precision = self._evaluator.eval["precision"]
        if not (precision > -1).any():
            raise ValueError("the truth names no object that counts")
        at = {"ap": precision, "ap50": precision[:1], "ap75": precision[5:6]}
        return {name: float(values[values > -1].mean()) for name, values in at.items()}


def _annotations(
    boxes: np.ndarray, labels: np.ndarray, masks: np.ndarray | None
) -> list[Annotation]:
    sizes = boxes[:, 2:] - boxes[:, :2]
    corners = np.concatenate([boxes[:, :2], sizes], axis=1).astype(float).tolist()
    rows: list[Annotation] = [
        {"category_id": int(label), "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for label, box in zip(labels, corners, strict=True)
    ]
    if masks is not None:
        for row, mask in zip(rows, _run_lengths(masks), strict=True):
            row["segmentation"] = mask
    return rows


def _run_lengths(masks: np.ndarray) -> list[dict[str, Any]]:
    """Return masks (n, height, width) as run lengths: a hundredth of the memory."""
    from pycocotools import mask as coco

    coded = coco.encode(np.asfortranarray(np.moveaxis(masks, 0, 2), dtype=np.uint8))
    return list(coded)


def _dataset(images: Sequence[list[Annotation]], categories: list[int]) -> Any:
    """Return the API's index; numbers of objects start at 1, as it reads 0 as unmatched."""
    from pycocotools.coco import COCO

    rows = [row | {"image_id": number} for number, rows in enumerate(images) for row in rows]
    dataset = COCO()
    dataset.dataset = {
        # The API asks for the sizes and uses them for polygons alone, of which there are none.
        "images": [{"id": number, "height": 0, "width": 0} for number in range(len(images))],
        "categories": [{"id": category} for category in categories],
        "annotations": [row | {"id": number} for number, row in enumerate(rows, start=1)],
    }
    dataset.createIndex()
    return dataset
