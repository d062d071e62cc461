"""`folder`: any directory of images, labelled by subfolder or not.

Layouts: `root/train/<class>/...` with `root/val` and `root/test` where there are such, or
`root/<class>/...`, split by rule; unlabelled: the same without the class level, files anywhere
below. What a layout lacks is held out of train by `val_fraction` and `test_fraction`. Where there
is a val folder, no test folder and `test_fraction` is 0, the val folder is the test split, as is
usual for ImageNet, and val is held out of train.

Only regular files with an image's suffix count; hidden files are passed over. Links that lead out
of the root, and links to folders, are bad images: what is read is what the root holds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sslbench.core.errors import UserError
from sslbench.data import reading, splits
from sslbench.data.batch import Source
from sslbench.data.store import decoding

_WHERE = "data (kind folder)"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind folder.

    Attributes:
        kind: always `folder`.
        root: the directory; `~` is the home, relative paths start at the project's root.
        labelled: whether subfolders name classes.
        size: side in pixels of raw images; null keeps the files' own bytes.
        seed: of the split and of the limit's choice.
        limit_per_class: most images of a class in each split (of all images where unlabelled);
            null for no limit.
        val_fraction: share of train held out for val where there is no val folder.
        test_fraction: share held out for test where there is no test folder.
        on_bad_image: "error" stops at the first unreadable file, "skip" lists it.
    """

    kind: Literal["folder"]
    root: str
    labelled: bool
    size: int | None
    seed: int
    limit_per_class: int | None
    val_fraction: float
    test_fraction: float
    on_bad_image: Literal["error", "skip"]

    def __post_init__(self) -> None:
        """Refuse sizes, fractions and limits that cannot be."""
        reading.refuse_size(self.size)
        splits.refuse_fractions(self.val_fraction, self.test_fraction)
        if self.limit_per_class is not None and self.limit_per_class < 1:
            raise ValueError(f"limit_per_class must be at least 1, found {self.limit_per_class}")


def open_source(params: Params) -> Source:
    """Return the folder's images, split; files are listed here and read later.

    Raises:
        UserError: no such folder, no images, a class that train lacks, an impossible split.
    """
    root = _root(params.root)
    skipped: reading.Skipped = []
    found = _layout(root, params, skipped)
    classes = _classes(found) if params.labelled else ()
    parts, rule = _split(found, classes, params)
    parts = {name: splits.limited(items, params.limit_per_class) for name, items in parts.items()}
    return Source(
        classes=classes,
        image_size=params.size,
        source=f"folder {root.name}",
        split_rule=rule,
        batches=lambda split: reading.file_batches(
            parts[split], params.size, params.on_bad_image, skipped
        ),
        skipped=skipped,
    )


# Files by split ("all" where the layout has none) and class ("" where unlabelled), as paths
# from the root; text, since pathlib costs 2 minutes on a million files.
_Found = dict[str, dict[str, list[str]]]


def _root(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "no such folder"
        raise UserError(what, where=str(path), mend="set data.<dataset>.root to a folder of images")
    return path.resolve()


def _layout(root: Path, params: Params, skipped: reading.Skipped) -> _Found:
    names = [name for name in ("train", "val", "test") if (root / name).is_dir()]
    found: _Found = {}
    for name in names if "train" in names else ["all"]:
        prefix = "" if name == "all" else f"{name}/"
        seen: Counter[str] = Counter()
        by_class: dict[str, list[str]] = {}
        for path in _walk(root, prefix, params, skipped, seen):
            label = _class_of(root, path, prefix) if params.labelled else ""
            by_class.setdefault(label, []).append(path)
        if not by_class:
            _refuse_empty(root / prefix, seen)
        found[name] = by_class
    return found


def _refuse_empty(folder: Path, seen: Counter[str]) -> None:
    others = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in seen.items())
    raise UserError(
        f"no images in the folder (other files: {others or 'none'})",
        where=str(folder),
        mend="add images with one of " + " ".join(decoding.SUFFIXES),
    )


def _class_of(root: Path, path: str, prefix: str) -> str:
    label, separator, _ = path[len(prefix) :].partition("/")
    if not separator:
        mend = "move it into its class's folder, or set labelled: false"
        raise UserError("image outside of any class folder", where=str(root / path), mend=mend)
    return label


def _walk(
    root: Path, prefix: str, params: Params, skipped: reading.Skipped, seen: Counter[str]
) -> Iterator[str]:
    """Yield image files below `root/prefix`, by name; `seen` counts other files by suffix."""
    for entry in _listed(root / prefix):
        path, suffix = prefix + entry.name, _suffix(entry.name)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False) and _printable(entry.name) == entry.name:
            yield from _walk(root, f"{path}/", params, skipped, seen)
        elif problem := _problem(entry, suffix, root):
            reading.report_bad(_printable(path), problem, params.on_bad_image, skipped)
        elif suffix in decoding.SUFFIXES:
            yield path
        else:
            seen[suffix] += 1


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        mend = "make the folder readable"
        what = f"cannot be listed ({error.strerror})"
        raise UserError(what, where=str(folder), mend=mend) from None


def _problem(entry: os.DirEntry[str], suffix: str, root: Path) -> str:
    """Return why an entry is not to be read, or nothing."""
    is_link = entry.is_symlink()
    if entry.is_dir(follow_symlinks=False):
        return "folder name is not UTF-8"
    if is_link and entry.is_dir():
        return "link to a folder; links to folders are not followed"
    if suffix not in decoding.SUFFIXES:
        return ""
    if _printable(entry.name) != entry.name:
        return "file name is not UTF-8"
    if not entry.is_file():
        return "broken link" if is_link else "not a regular file"
    if is_link and not Path(entry.path).resolve().is_relative_to(root):
        return "link that leads out of the root"
    return ""


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _classes(found: _Found) -> tuple[str, ...]:
    train = found.get("train", found.get("all", {}))
    others = {name: list(found[name]) for name in found if name in ("val", "test")}
    splits.refuse_unknown_classes(list(train), dict(others), _WHERE)
    if len(train) < 2:
        mend = "give each class a subfolder, or set labelled: false"
        raise UserError(f"only one class, {next(iter(train))!r}", where=_WHERE, mend=mend)
    return tuple(sorted(train))


def _split(
    found: _Found, classes: tuple[str, ...], params: Params
) -> tuple[dict[str, list[splits.Item]], str]:
    """Return the items of each split and the rule in words."""
    root = str(_root(params.root))
    folders = dict(found)
    is_imagenet_like = "val" in folders and "test" not in folders and not params.test_fraction
    if is_imagenet_like:
        folders["test"] = folders.pop("val")
    given = {
        name: splits.ordered(_items(by_class, classes, root), params.seed)
        for name, by_class in folders.items()
    }
    rest = given.pop("train", None) or given.pop("all")
    parts = splits.stratify(
        rest,
        classes,
        seed=params.seed,
        val_fraction=0.0 if "val" in given else _held_out("val", params.val_fraction, params),
        test_fraction=0.0 if "test" in given else _held_out("test", params.test_fraction, params),
        where=_WHERE,
    )
    words = ", ".join(f"{name} by folder" for name in given) or "none by folder"
    if is_imagenet_like:
        words = "test is the val folder"
    return parts | given, f"{words}; the rest by {splits.RULE}, seed {params.seed}"


def _held_out(split: str, fraction: float, params: Params) -> float:
    if params.labelled and not fraction:
        mend = f"set {split}_fraction above 0, or add a {split} folder"
        raise UserError(f"no images for the {split} split", where=_WHERE, mend=mend)
    return fraction


def _items(
    by_class: dict[str, list[str]], classes: tuple[str, ...], root: str
) -> list[splits.Item]:
    index = {name: label for label, name in enumerate(classes)}
    return [
        splits.Item(path, index.get(name, -1), f"{root}/{path}")
        for name, paths in by_class.items()
        for path in paths
    ]
