"""`torchvision`: torchvision's data sets by name, one table for all of them.

Only the lists of files and labels come from torchvision; images are read and checked as in
`reading.py`, so encoded files keep their own bytes. Its CIFAR and STL-10 readers hold the whole
set in memory (at most 2.7 GB).

Metrics: the measure that Chen et al. 2020 (https://arxiv.org/abs/2002.05709, appendix B.8) report.
Of that paper's twelve sets Birdsnap is no set of torchvision (use kind `folder`), and VOC2007 has
several labels an image (kind `voc`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sslbench.core.errors import UserError
from sslbench.data import published_splits, reading, splits, unpacking
from sslbench.data.batch import Batch, Source
from sslbench.data.store import decoding

_WHERE = "data (kind torchvision)"
_CHUNK = 256


@dataclass(frozen=True)
class _Set:
    """One data set of torchvision.

    Attributes:
        constructor: name in `torchvision.datasets`.
        splits: our split's name -> the constructor's arguments; a split that is not there is
            held out of train by rule.
        read: how to list it: by its `loader` argument, by its own lists, or as arrays.
        metric: top1 or mean_per_class.
    """

    constructor: str
    splits: Mapping[str, Mapping[str, Any]]
    read: Literal["loader", "pets", "caltech", "arrays"]
    metric: Literal["top1", "mean_per_class"]


def _by_split(**names: str) -> dict[str, dict[str, Any]]:
    return {ours: {"split": theirs} for ours, theirs in names.items()}


_THREE = _by_split(train="train", val="val", test="test")
_CIFAR = {"train": {"train": True}, "test": {"train": False}}
_NO_OFFICIAL: dict[str, dict[str, Any]] = {"train": {}}

SETS = {
    "cifar10": _Set("CIFAR10", _CIFAR, "arrays", "top1"),
    "cifar100": _Set("CIFAR100", _CIFAR, "arrays", "top1"),
    "stl10": _Set("STL10", _by_split(train="train", test="test"), "arrays", "top1"),
    "imagenette": _Set("Imagenette", _by_split(train="train", test="val"), "loader", "top1"),
    "flowers102": _Set("Flowers102", _THREE, "loader", "mean_per_class"),
    "oxford_pets": _Set(
        "OxfordIIITPet", _by_split(train="trainval", test="test"), "pets", "mean_per_class"
    ),
    "dtd": _Set("DTD", _THREE, "loader", "top1"),
    "food101": _Set("Food101", _by_split(train="train", test="test"), "loader", "top1"),
    "fgvc_aircraft": _Set("FGVCAircraft", _THREE, "loader", "mean_per_class"),
    "caltech101": _Set("Caltech101", _NO_OFFICIAL, "caltech", "mean_per_class"),
    "sun397": _Set("SUN397", _NO_OFFICIAL, "loader", "top1"),
    "stanford_cars": _Set("StanfordCars", _by_split(train="train", test="test"), "loader", "top1"),
}
_UNLABELLED = _Set("STL10", _by_split(train="unlabeled"), "arrays", "top1")
_BY_HAND = ("birdsnap",)  # sets that the papers use and torchvision does not know


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind torchvision.

    Attributes:
        kind: always `torchvision`.
        name: the set, such as `cifar10`.
        root: where torchvision keeps its files; `~` is the home.
        download: whether torchvision may fetch what is missing.
        size: side in pixels of raw images; null keeps the files' own bytes (and CIFAR's and
            STL-10's own pixels).
        seed: of the parts held out and of the limit's choice.
        limit_per_class: most images of a class in each split; null for no limit.
        val_fraction: share of train held out for val where the set has no official one.
        test_fraction: of Caltech-101 and SUN397 only: the same for test; 0 takes the split of
            the literature (`published_splits.py`).
        unlabelled: STL-10 only: its unlabelled part as train, without classes.
        on_bad_image: "error" stops at the first unreadable file, "skip" lists it.
    """

    kind: Literal["torchvision"]
    name: str
    root: str
    download: bool
    size: int | None
    seed: int
    limit_per_class: int | None
    val_fraction: float
    test_fraction: float
    unlabelled: bool
    on_bad_image: Literal["error", "skip"]

    def __post_init__(self) -> None:
        """Refuse unknown sets, sizes, fractions and limits."""
        if self.name in _BY_HAND:
            raise ValueError(
                f"torchvision cannot fetch {self.name!r}; put its images under "
                "<root>/train/<class> and <root>/test/<class> and use kind: folder"
            )
        if self.name not in SETS:
            raise ValueError(f"unknown set {self.name!r}; known: {', '.join(SETS)}")
        if self.unlabelled and self.name != "stl10":
            raise ValueError(f"unlabelled: true is for stl10 only, found {self.name!r}")
        reading.refuse_size(self.size)
        splits.refuse_fractions(self.val_fraction, self.test_fraction)
        if self.limit_per_class is not None and self.limit_per_class < 1:
            raise ValueError(f"limit_per_class must be at least 1, found {self.limit_per_class}")


@dataclass(frozen=True)
class _Part:
    """One official part: its items, and its pixels where it comes as an array (N, H, W, 3)."""

    classes: tuple[str, ...]
    items: list[splits.Item]
    pixels: np.ndarray | None


def open_source(params: Params) -> Source:
    """Return a torchvision set, split; the sets' own splits stand where there are such.

    Raises:
        UserError: files missing or damaged, or a class that train lacks.
    """
    entry = _UNLABELLED if params.unlabelled else SETS[params.name]
    parts = {name: _open(entry, name, params) for name in entry.splits}
    classes = parts["train"].classes
    for name, part in parts.items():
        if part.classes != classes:
            raise UserError(f"classes of {name} are not those of train", where=_where(params))
    parts, rule = _published(parts, params)
    chosen = _split(parts, classes, params)
    pixels = {name: part.pixels for name, part in parts.items()}
    skipped: reading.Skipped = []

    def batches(split: str) -> Iterator[Batch]:
        # A part that is held out of train shares train's pixels.
        if (array := pixels.get(split, pixels["train"])) is not None:
            return _array_batches(chosen[split], array, params.size)
        return reading.file_batches(chosen[split], params.size, params.on_bad_image, skipped)

    return Source(
        classes=classes,
        image_size=_image_size(parts["train"].pixels, params.size),
        source=f"torchvision.datasets.{entry.constructor}",
        split_rule=f"{rule}; the rest by {splits.RULE}, seed {params.seed}",
        batches=batches,
        skipped=skipped,
        metric=entry.metric,
    )


def _published(parts: dict[str, _Part], params: Params) -> tuple[dict[str, _Part], str]:
    """Return the parts, split as in the literature where torchvision has one part; the rule."""
    if params.name not in published_splits.SETS or params.test_fraction:
        return parts, f"official: {', '.join(parts)}"
    whole, root = parts["train"], Path(params.root).expanduser()
    made, rule = published_splits.SETS[params.name](whole.items, root, params.seed)
    return {name: replace(whole, items=items) for name, items in made.items()}, rule


def _where(params: Params) -> str:
    return f"{params.name} in {params.root}"


def _image_size(pixels: np.ndarray | None, size: int | None) -> int | None:
    return size if size is not None or pixels is None else int(pixels.shape[1])


def _open(entry: _Set, split: str, params: Params) -> _Part:
    """Let torchvision list one part."""
    import torchvision

    build = getattr(torchvision.datasets, entry.constructor)
    arguments: dict[str, Any] = dict(entry.splits[split])
    arguments |= {"loader": str} if entry.read == "loader" else {}
    root = Path(params.root).expanduser()
    try:
        with unpacking.inside_its_folder():
            made = build(root=str(root), download=params.download, **arguments)
        if entry.read == "arrays":
            return _part_of_arrays(made, split)
        return _part_of_paths(_LISTERS[entry.read](made), root)
    except Exception as error:  # damaged lists raise anything, in torchvision and scipy
        if params.download:
            mend = "check the network and the disk, or put the files there by hand"
        else:
            mend = f"set download: true, or put torchvision's files under {params.root}"
        raise UserError(f"cannot be read ({error})", where=_where(params), mend=mend) from None


# Class names, and path and label of each image.
_Listing = tuple[Sequence[Any], Sequence[tuple[Any, int]]]


def _list_loader(made: Any) -> _Listing:
    """List a set whose `loader` argument gives the path back instead of the image."""
    return made.classes, [made[index] for index in range(len(made))]


def _list_pets(made: Any) -> _Listing:
    """List Oxford-IIIT Pet, which has no `loader`."""
    return made.classes, list(zip(made._images, made._labels, strict=True))


def _list_caltech(made: Any) -> _Listing:
    """List Caltech-101 with its background class, which the papers count and torchvision drops."""
    folder = Path(made.root) / "101_ObjectCategories"
    names = sorted([*made.categories, "BACKGROUND_Google"])
    pairs = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).glob("image_*.jpg"))
    ]
    return names, pairs


_LISTERS: dict[str, Callable[[Any], _Listing]] = {
    "loader": _list_loader,
    "pets": _list_pets,
    "caltech": _list_caltech,
}


def _part_of_paths(listing: _Listing, root: Path) -> _Part:
    classes, pairs = listing
    names = tuple(name if isinstance(name, str) else name[0] for name in classes)
    items = [
        splits.Item(Path(path).relative_to(root).as_posix(), int(label), str(path))
        for path, label in pairs
    ]
    reading.refuse_names([item.id for item in items], root)
    return _Part(names, items, None)


def _part_of_arrays(made: Any, split: str) -> _Part:
    """Return a part of CIFAR (N, 32, 32, 3) or STL-10 (N, 3, 96, 96)."""
    pixels = made.data.transpose(0, 2, 3, 1) if made.data.shape[1] == 3 else made.data
    labels = getattr(made, "targets", getattr(made, "labels", None))
    labels = np.asarray(labels).astype(np.int64)
    has_labels = not len(labels) or labels.min() >= 0
    prefix = split if has_labels else "unlabelled"
    items = [splits.Item(f"{prefix}/{i:06d}", int(c), i) for i, c in enumerate(labels)]
    return _Part(tuple(made.classes) if has_labels else (), items, pixels)


def _split(
    parts: Mapping[str, _Part], classes: tuple[str, ...], params: Params
) -> dict[str, list[splits.Item]]:
    held_out = {name: 0.0 if name in parts else _fraction(name, params) for name in ("val", "test")}
    made = splits.stratify(
        parts["train"].items,
        classes,
        seed=params.seed,
        val_fraction=held_out["val"],
        test_fraction=held_out["test"],
        where=_where(params),
    )
    order = partial(splits.ordered, seed=params.seed)
    made |= {name: order(part.items) for name, part in parts.items() if name != "train"}
    return {name: splits.limited(items, params.limit_per_class) for name, items in made.items()}


def _fraction(name: str, params: Params) -> float:
    value: float = getattr(params, f"{name}_fraction")
    if not value and not params.unlabelled:
        mend = f"set {name}_fraction above 0"
        raise UserError(f"no official {name} split", where=_where(params), mend=mend)
    return value


def _array_batches(
    items: list[splits.Item], pixels: np.ndarray, size: int | None
) -> Iterator[Batch]:
    for start in range(0, len(items), _CHUNK):
        chunk = items[start : start + _CHUNK]
        images = np.ascontiguousarray(pixels[[int(item.position) for item in chunk]])
        if size is not None and size != images.shape[1]:
            images = np.stack([decoding.resize_array(image, size) for image in images])
        yield Batch(
            images=images,
            labels=np.array([item.label for item in chunk], dtype=np.int64),
            ids=[item.id for item in chunk],
        )
