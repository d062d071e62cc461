"""`voc`: PASCAL VOC, or any set in its layout: root/VOCdevkit/VOC<year>.

Layout   JPEGImages, Annotations (XML), ImageSets/{Main,Segmentation}/<set>.txt and, for the lists
         of Segmentation, SegmentationClass and SegmentationObject (PNG of indices):
         http://host.robots.ox.ac.uk/pascal/VOC/voc2007/htmldoc/
Boxes    the files count pixels from 1 and include the last; here x0 = xmin - 1, x1 = xmax
Masks    number k of SegmentationObject is the k-th object of the annotation, 255 is no object's;
         an object without pixels gets an empty mask
Classes  VOC's 20 by name, so index c is value c + 1 of SegmentationClass, 0 is background
Metric   the 11-point mean average precision up to VOC2009, later the area under the curve
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data import annotated, reading, splits
from sslbench.data.annotated import Annotation, BadAnnotationError
from sslbench.data.batch import Source
from sslbench.data.store import decoding
from sslbench.data.store.decoding import BadImageError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
_WHERE = "data (kind voc)"
_VOID = 255
_MAX_XML = 2**24  # bytes; the set's largest has 20 KB
# The devkit's average precision changed with this year.
_FIRST_AREA_YEAR = 2010


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind voc.

    Attributes:
        kind: always `voc`.
        root: the folder that holds VOCdevkit; `~` is the home.
        lists: the folder of ImageSets: Main, with boxes; Segmentation, with masks too.
        train: image sets, such as `2007/train`; their union is the split.
        val: the same; where empty, val is held out of train.
        test: the same.
        classes: names in the order of SegmentationClass; null takes VOC's 20.
        seed: of the part held out and of the limit's choice.
        limit: most images in each split; null for no limit.
        val_fraction: share of train held out where val is empty.
        on_bad_image: "error" stops at the first bad image or annotation, "skip" lists it.
    """

    kind: Literal["voc"]
    root: str
    lists: Literal["Main", "Segmentation"]
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    classes: tuple[str, ...] | None
    seed: int
    limit: int | None
    val_fraction: float
    on_bad_image: Literal["error", "skip"]

    def __post_init__(self) -> None:
        """Refuse sets that cannot be named so, and a val split from nowhere."""
        if not self.train or not self.test:
            raise ValueError("train and test each need an image set, such as 2007/trainval")
        for name in (*self.train, *self.val, *self.test):
            if not re.fullmatch(r"\d{4}/\w+", name):
                raise ValueError(f"{name!r} is not <year>/<set>, such as 2007/trainval")
        annotated.refuse_selection(
            has_val=bool(self.val), val_fraction=self.val_fraction, limit=self.limit
        )


def open_source(params: Params) -> Source:
    """Return the images of the lists; annotations are read with their images.

    Raises:
        UserError: no such folder or list, an empty list, a class that is not in `classes`.
    """
    devkit = Path(params.root).expanduser() / "VOCdevkit"
    classes = params.classes or CLASSES
    named = {"train": params.train, "val": params.val, "test": params.test}
    given = {split: _items(devkit, params, sets) for split, sets in named.items() if sets}
    parts, rule = annotated.split_up(
        given, seed=params.seed, val_fraction=params.val_fraction, limit=params.limit, where=_WHERE
    )
    reader = _Reader(devkit, classes, has_masks=params.lists == "Segmentation")
    skipped: reading.Skipped = []
    words = "; ".join(f"{split} is {' + '.join(sets)}" for split, sets in named.items() if sets)
    years = [int(name[:4]) for name in params.test]
    return Source(
        classes=classes,
        image_size=None,
        source=f"VOC folder, lists of {params.lists}",
        split_rule=f"{words}{rule}",
        batches=lambda split: annotated.batches(
            split, parts[split], reader.annotation, len(classes), params.on_bad_image, skipped
        ),
        skipped=skipped,
        metric="map_11point" if max(years) < _FIRST_AREA_YEAR else "map_area",
    )


def _items(devkit: Path, params: Params, sets: tuple[str, ...]) -> list[splits.Item]:
    items = []
    for name in sets:
        year, _, image_set = name.partition("/")
        path = devkit / f"VOC{year}" / "ImageSets" / params.lists / f"{image_set}.txt"
        stems = _lines(path)
        reading.refuse_names(stems, path)
        for stem in stems:
            image = f"VOC{year}/JPEGImages/{stem}.jpg"
            items.append(splits.Item(image, -1, str(devkit / image)))
    if len(items) > len(set(items)):
        raise UserError("an image is listed twice", where=", ".join(sets), mend="name a set once")
    return items


def _lines(path: Path) -> list[str]:
    try:
        names = reading.content_of(path).decode("utf-8").split()
    except (OSError, ValueError) as error:
        mend = "set data.<dataset>.root to the folder that holds VOCdevkit; check lists and sets"
        raise UserError(f"list cannot be read ({error})", where=str(path), mend=mend) from None
    if not names:
        raise UserError("list names no image", where=str(path), mend="unpack the set again")
    return names


@dataclass(frozen=True)
class _Reader:
    """Reads what VOC says of an image.

    Attributes:
        devkit: the folder VOCdevkit.
        classes: names in label order.
        has_masks: whether the lists are those of Segmentation.
    """

    devkit: Path
    classes: tuple[str, ...]
    has_masks: bool

    def annotation(self, name: str) -> Annotation:
        """Return what is said of `VOC<year>/JPEGImages/<stem>.jpg`.

        Raises:
            BadAnnotationError: a file is absent or damaged.
            UserError: a class that is not in the list.
        """
        folder, stem = self.devkit / name.split("/")[0], Path(name).stem
        path = folder / "Annotations" / f"{stem}.xml"
        root = _parsed(path)
        try:
            width, height = (int(_text(root, f"size/{side}")) for side in ("width", "height"))
            objects = root.findall("object")
            boxes = np.array([_box(entry) for entry in objects]).reshape(-1, 4)
            is_difficult = [entry.findtext("difficult", "0").strip() == "1" for entry in objects]
        except ValueError as error:
            raise BadAnnotationError(f"{path.name}: {error}") from None
        size = (width, height)
        annotated.refuse_masks(len(objects) if self.has_masks else 0, height, width)
        return Annotation(
            width=width,
            height=height,
            boxes=boxes,
            labels=np.array([self._label(entry, path) for entry in objects], dtype=np.int64),
            masks=self._masks(folder, stem, size, len(objects)) if self.has_masks else None,
            is_crowd=np.zeros(len(objects), bool),
            is_difficult=np.array(is_difficult, bool),
            semantic=self._semantic(folder, stem, size) if self.has_masks else None,
        )

    def _label(self, entry: ElementTree.Element, path: Path) -> int:
        name = entry.findtext("name", "").strip()
        if name not in self.classes:
            mend = "set classes to the names of your set, in order"
            raise UserError(f"class {name!r} is not in the list", where=str(path), mend=mend)
        return self.classes.index(name)

    def _masks(
        self, folder: Path, stem: str, size: tuple[int, int], num_objects: int
    ) -> np.ndarray | None:
        if not (folder / "SegmentationObject").is_dir():
            return None
        path = folder / "SegmentationObject" / f"{stem}.png"
        numbers = _index_map(_content(path), path, size, num_objects)
        masks: np.ndarray = numbers == np.arange(1, num_objects + 1)[:, None, None]
        return masks

    def _semantic(self, folder: Path, stem: str, size: tuple[int, int]) -> bytes:
        path = folder / "SegmentationClass" / f"{stem}.png"
        content = _content(path)
        _index_map(content, path, size, len(self.classes))
        return content


def _parsed(path: Path) -> ElementTree.Element:
    """Return the root of an XML file, which may declare no entities: a few could fill memory."""
    try:
        text = _content(path, _MAX_XML).decode("utf-8")
        if "<!DOCTYPE" in text:
            raise BadAnnotationError(f"{path.name}: a DOCTYPE, which VOC's files do not have")
        return ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise BadAnnotationError(f"{path.name}: not readable XML ({error})") from None


def _content(path: Path, at_most: int = reading.MAX_FILE_BYTES) -> bytes:
    try:
        return reading.content_of(path, at_most)
    except (OSError, BadImageError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        what = f"{path.parent.name}/{path.name} cannot be read ({said})"
        raise BadAnnotationError(what) from None


def _text(node: ElementTree.Element, path: str) -> str:
    text = node.findtext(path)
    if text is None:
        raise ValueError(f"no <{path}>")
    return text


def _box(entry: ElementTree.Element) -> list[float]:
    x0, y0, x1, y1 = (
        float(_text(entry, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax")
    )
    return [x0 - 1, y0 - 1, x1, y1]


def _index_map(content: bytes, path: Path, size: tuple[int, int], highest: int) -> np.ndarray:
    """Return the numbers (height, width) uint8 of a PNG: at most `highest`, or 255."""
    name = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != size or image.mode not in ("P", "L"):
                what = f"{image.mode} of {image.size[0]} x {image.size[1]} pixels"
                raise BadAnnotationError(f"{name}: {what}, not numbers of {size[0]} x {size[1]}")
            numbers = np.asarray(image, dtype=np.uint8)
    except BadAnnotationError:
        raise
    except decoding.DAMAGE as error:
        raise BadAnnotationError(f"{name}: not a readable PNG ({error})") from None
    if (found := int(numbers[numbers != _VOID].max(initial=0))) > highest:
        raise BadAnnotationError(f"{name}: number {found}, and there are {highest}")
    return numbers
