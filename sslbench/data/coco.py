"""`coco`: COCO, or any set with a file of instances in its form: https://cocodataset.org/#format-data.

Classes  the categories in order of their ids, which need not be contiguous
Masks    polygons and run lengths, drawn by pycocotools; a split with objects that have none keeps
         none
Targets  1 where an image has an object of the class, a crowd too
Splits   as the files say; where there is no val file, val is held out of train by hash

Images are read one after another; an annotation file is held whole, as pycocotools does.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from sslbench.core.errors import UserError
from sslbench.data import annotated, reading, splits
from sslbench.data.annotated import Annotation, BadAnnotationError
from sslbench.data.batch import Source
from sslbench.data.store import decoding, run_lengths

_WHERE = "data (kind coco)"
_MEND = "download or export the annotations again"
# Fewer numbers make no polygon; pycocotools would take four for a box.
_SHORTEST = 6
_MAX_BYTES = 2**32  # of an annotation file; COCO's own has 0.5 GB


@dataclass(frozen=True, kw_only=True)
class Files:
    """The images and annotations of one split.

    Attributes:
        images: the folder, from the root.
        annotations: the JSON file, from the root.
    """

    images: str
    annotations: str


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind coco.

    Attributes:
        kind: always `coco`.
        root: the folder that paths start from; `~` is the home.
        train: images and annotations of the train split.
        val: the same; null holds val out of train.
        test: the same; for COCO its official val, whose annotations are public.
        seed: of the part held out and of the limit's choice.
        limit: most images in each split; null for no limit.
        val_fraction: share of train held out where val is null.
        on_bad_image: "error" stops at the first bad image or annotation, "skip" lists it.
    """

    kind: Literal["coco"]
    root: str
    train: Files
    val: Files | None
    test: Files
    seed: int
    limit: int | None
    val_fraction: float
    on_bad_image: Literal["error", "skip"]

    def __post_init__(self) -> None:
        """Refuse a val split from nowhere."""
        annotated.refuse_selection(
            has_val=self.val is not None, val_fraction=self.val_fraction, limit=self.limit
        )


def open_source(params: Params) -> Source:
    """Return the images of the annotation files.

    Raises:
        UserError: a file is absent or damaged, or categories differ between files.
    """
    root = Path(params.root).expanduser()
    named = {"train": params.train, "val": params.val, "test": params.test}
    read = {split: _read(root, files) for split, files in named.items() if files is not None}
    for split, part in read.items():
        if part.categories != read["train"].categories:
            what = f"categories are not those of {params.train.annotations}"
            raise UserError(what, where=str(named[split]), mend=_MEND)
    parts, rule = annotated.split_up(
        {split: part.items(root) for split, part in read.items()},
        seed=params.seed, val_fraction=params.val_fraction, limit=params.limit, where=_WHERE,
    )  # fmt: skip
    skipped: reading.Skipped = [
        {"id": split, "reason": f"no masks kept: {part.num_without_mask} objects have none"}
        for split, part in read.items()
        if part.num_without_mask
    ]
    classes = tuple(read["train"].categories.values())
    return Source(
        classes=classes,
        image_size=None,
        source=f"COCO files in folder {root.name}",
        split_rule=f"by annotation file{rule}",
        batches=lambda split: annotated.batches(
            split,
            parts[split],
            read.get(split, read["train"]).annotation,
            len(classes),
            params.on_bad_image,
            skipped,
        ),
        skipped=skipped,
        metric="map_area",
    )


@dataclass(frozen=True)
class _Read:
    """One annotation file.

    Attributes:
        folder: of the images, from the root.
        categories: id -> name, in order of ids.
        images: our id (folder and file name) -> COCO's entry of an image.
        objects: image id -> COCO's entries of its objects.
        num_without_mask: objects that have none.
    """

    folder: str
    categories: dict[int, str]
    images: dict[str, dict[str, Any]]
    objects: dict[int, list[dict[str, Any]]]
    num_without_mask: int

    def items(self, root: Path) -> list[splits.Item]:
        """Return the images of the file."""
        return [splits.Item(name, -1, str(root / name)) for name in self.images]

    def annotation(self, name: str) -> Annotation:
        """Return what is said of an image.

        Raises:
            BadAnnotationError: masks of another size, or damaged ones.
        """
        image = self.images[name]
        objects = self.objects.get(image["id"], [])
        index = {key: label for label, key in enumerate(self.categories)}
        corners = np.array([entry["bbox"] for entry in objects], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        height, width = image["height"], image["width"]
        annotated.refuse_masks(0 if self.num_without_mask else len(objects), height, width)
        masks = None if self.num_without_mask else _masks(objects, height, width)
        return Annotation(
            width=width,
            height=height,
            boxes=corners,
            labels=np.array([index[entry["category_id"]] for entry in objects], np.int64),
            masks=masks,
            is_crowd=np.array([bool(entry.get("iscrowd")) for entry in objects], bool),
            is_difficult=np.zeros(len(objects), bool),
        )


def _read(root: Path, files: Files) -> _Read:
    path = root / files.annotations
    content = _loaded(path)
    try:
        names = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        images = {_name(files.images, entry): entry for entry in content["images"]}
        objects: dict[int, list[dict[str, Any]]] = {entry["id"]: [] for entry in images.values()}
        for entry in content["annotations"]:
            _check_object(entry, names)
            objects[entry["image_id"]].append(entry)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"damaged annotations ({what})", where=str(path), mend=_MEND) from None
    without = sum(not entry.get("segmentation") for rows in objects.values() for entry in rows)
    return _Read(files.images, dict(sorted(names.items())), images, objects, without)


def _loaded(path: Path) -> Any:
    try:
        return json.loads(reading.content_of(path, _MAX_BYTES), object_hook=_compact)
    except OSError as error:
        mend = "set data.<dataset>.root and the path of annotations"
        what = f"annotations cannot be read ({error.strerror})"
        raise UserError(what, where=str(path), mend=mend) from None
    except decoding.BadImageError as error:
        raise UserError(str(error), where=str(path), mend=_MEND) from None
    except (ValueError, TypeError, RecursionError, ArithmeticError) as error:
        raise UserError(f"not JSON ({error})", where=str(path), mend=_MEND) from None


def _compact(entry: dict[str, Any]) -> dict[str, Any]:
    """Keep a polygon as an array: 8 bytes a number, where a list takes 32."""
    polygons = entry.get("segmentation")
    if isinstance(polygons, list) and all(isinstance(polygon, list) for polygon in polygons):
        entry["segmentation"] = [array("d", polygon) for polygon in polygons]
    return entry


def _name(folder: str, image: Mapping[str, Any]) -> str:
    path = PurePosixPath(image["file_name"])
    if path.is_absolute() or ".." in path.parts or not str(path).isprintable():
        raise ValueError(f"file name {str(path)!r} leads out of the folder of images")
    if not all(isinstance(image[key], int) for key in ("id", "height", "width")):
        raise ValueError(f"id, height and width of image {str(path)!r} are not whole numbers")
    return (PurePosixPath(folder) / path).as_posix()


def _check_object(entry: Mapping[str, Any], categories: Mapping[int, str]) -> None:
    name = f"object {entry.get('id')} of image {entry.get('image_id')}"
    if entry["category_id"] not in categories:
        raise ValueError(f"{name} is of unknown category {entry['category_id']!r}")
    if np.shape(entry["bbox"]) != (4,) or not np.isfinite(entry["bbox"]).all():
        raise ValueError(f"{name} has box {entry['bbox']!r}, not x, y, width and height")


def _masks(objects: list[dict[str, Any]], height: int, width: int) -> np.ndarray:
    masks = [_mask(entry, height, width) for entry in objects]
    return np.stack(masks) if masks else np.zeros((0, height, width), bool)


def _mask(entry: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Return the mask (height, width) bool of polygons or of run lengths."""
    try:
        return _drawn(entry["segmentation"], height, width)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadAnnotationError(f"mask of object {entry.get('id')}: {error}") from None


def _drawn(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        polygons = [polygon.tolist() for polygon in segmentation if len(polygon) >= _SHORTEST]
        if not polygons:
            return np.zeros((height, width), bool)
        return run_lengths.from_polygons(polygons, height, width)
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"size {segmentation['size']} and not {[height, width]}")
    counts = segmentation["counts"]
    draw = run_lengths.from_counts if isinstance(counts, list) else run_lengths.from_text
    return draw(counts, height, width)
