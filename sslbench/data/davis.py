"""`davis`: videos with object masks, in the folders of DAVIS-2016 and DAVIS-2017.

Layout   JPEGImages/<resolution>/<sequence>/*.jpg, Annotations/<resolution>/<sequence>/*.png and
         ImageSets/<year>/{train,val}.txt: https://davischallenge.org
Masks    PNGs of object numbers, where 255 counts as background (as in the official evaluation,
         https://github.com/davisvideochallenge/davis2017-evaluation); a sequence whose first
         mask holds 0 and 255 alone has one object, as in DAVIS-2016
Splits   official val is our test, our val is held out of official train by hash; with `year: null`
         no list is read and all sequences are split by hash
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.data import reading, splits
from sslbench.data.batch import Batch, Source
from sslbench.data.store import Column, decoding
from sslbench.data.store.clips import map_to_bytes

_WHERE = "data (kind davis)"
_MOST_OBJECTS = 32  # DAVIS-2017 has up to ten in a sequence; smoothed edges have hundreds of greys
_MIN_FRAMES = 3  # the first is given, and the last is not scored


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind davis.

    Attributes:
        kind: always `davis`.
        root: the folder that holds JPEGImages; `~` is the home.
        resolution: the folder below JPEGImages and Annotations, such as 480p.
        year: the folder below ImageSets whose lists are read; null splits by hash.
        seed: of the hash.
        val_fraction: share of the sequences (of official train, where there are lists) for val.
        test_fraction: share of the sequences for test, where no list is read.
    """

    kind: Literal["davis"]
    root: str
    resolution: str
    year: str | None
    seed: int
    val_fraction: float
    test_fraction: float

    def __post_init__(self) -> None:
        """Refuse fractions that cannot be."""
        splits.refuse_fractions(self.val_fraction, self.test_fraction)
        if not self.val_fraction or (self.year is None and not self.test_fraction):
            raise ValueError("val_fraction, and test_fraction without lists, must be above 0")


@dataclass(frozen=True)
class _Sequence:
    """One video: its name, and its frames and masks in order of time."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


def open_source(params: Params) -> Source:
    """Return the sequences, split; files are listed here and read later.

    Raises:
        UserError: no such folder, no sequences, a sequence of the lists or a mask that is absent.
    """
    root = Path(params.root).expanduser()
    parts, rule = _split(root, params)
    found = {split: [_sequence(root, params, name) for name in parts[split]] for split in parts}
    return Source(
        classes=(),
        image_size=None,
        source=f"DAVIS folder {root.name}, {params.resolution}",
        split_rule=rule,
        batches=lambda split: _batches(found[split]),
    )


def _split(root: Path, params: Params) -> tuple[dict[str, list[str]], str]:
    """Return the names of each split's sequences, and the rule in words."""
    if params.year is None:
        names = _sequence_names(root / "JPEGImages" / params.resolution)
    else:
        names = _listed(root / "ImageSets" / params.year / "train.txt")
    parts = splits.stratify(
        [splits.Item(name, -1, name) for name in names],
        (),
        seed=params.seed,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction if params.year is None else 0.0,
        where=_WHERE,
    )
    made = {split: sorted(item.id for item in items) for split, items in parts.items()}
    rule = f"sequences by {splits.RULE}, seed {params.seed}"
    if params.year is None:
        return made, rule
    made["test"] = _listed(root / "ImageSets" / params.year / "val.txt")
    return made, f"test is val of {params.year}; val out of train: {rule}"


def _sequence_names(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.glob("*") if path.is_dir())
    if not names:
        mend = "set data.<dataset>.root and resolution to a DAVIS folder"
        raise UserError("no sequences", where=str(folder), mend=mend)
    if len(names) < len(artifacts.SPLITS):
        mend = "train, val and test need a sequence each"
        raise UserError(f"{len(names)} sequence(s)", where=str(folder), mend=mend)
    return names


def _listed(path: Path) -> list[str]:
    """Return the sequences of a list: names (2017), or the files of each frame (2016)."""
    try:
        lines = reading.content_of(path).decode("utf-8").split("\n")
    except (OSError, ValueError) as error:
        mend = "add the list, or set year: null to split the sequences by hash"
        said = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot be read ({said})", where=str(path), mend=mend) from None
    firsts = [line.split()[0] for line in lines if line.strip()]
    reading.refuse_names([name.removeprefix("/") for name in firsts], path)  # 2016 begins with /
    return list(dict.fromkeys(Path(name).parent.name or name for name in firsts))


def _place_in_time(frame: Path) -> list[str | int]:
    """Return a key that sorts 2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", frame.stem)
    return [int(part) if part.isdecimal() else part for part in parts]


def _sequence(root: Path, params: Params, name: str) -> _Sequence:
    folder = root / "JPEGImages" / params.resolution / name
    frames = tuple(sorted(folder.glob("*.jpg"), key=_place_in_time))
    if len(frames) < _MIN_FRAMES:
        what = f"{len(frames)} frame(s), and a sequence needs {_MIN_FRAMES}"
        raise UserError(what, where=str(folder), mend="add the frames, or remove the sequence")
    masks = root / "Annotations" / params.resolution / name
    sequence = _Sequence(name, frames, tuple(masks / f"{frame.stem}.png" for frame in frames))
    for path in (*frames, *sequence.masks):
        if reading.leads_out(path, root):
            raise UserError("link that leads out of the root", where=str(path), mend="remove it")
    for mask in sequence.masks:
        if not mask.is_file():
            which = "first frame" if mask == sequence.masks[0] else "frame"
            what = f"the {which} of the sequence has no mask"
            mend = "add the mask: every frame is scored"
            raise UserError(what, where=str(mask), mend=mend)
    return sequence


def _batches(sequences: Sequence[_Sequence]) -> Iterator[Batch]:
    for number, sequence in enumerate(sequences):
        items = [splits.Item(f"{sequence.name}/{p.stem}", -1, str(p)) for p in sequence.frames]
        has_one_object = _has_one_object(sequence.masks[0])
        start, first = 0, ()
        for batch in reading.file_batches(items, None, "error", []):
            rows = slice(start, start + len(batch.ids))
            start = rows.stop
            maps = [_object_map(path, has_one_object) for path in sequence.masks[rows]]
            first = maps[0].shape if not rows.start else first
            _refuse_sizes(batch.images, maps, sequence.masks[rows], first)
            columns: dict[str, Column] = {
                "clip": np.full(len(maps), number),
                "frame": np.arange(rows.start, rows.stop),
                "object_map": [map_to_bytes(numbers) for numbers in maps],
            }
            yield replace(batch, columns=columns)


def _has_one_object(path: Path) -> bool:
    values = np.unique(_read_mask(path))
    if not values.any():
        mend = "give the first mask an object, or remove the sequence"
        raise UserError("the first mask is empty", where=str(path), mend=mend)
    objects = np.setdiff1d(values, [0, 255])
    if objects.size > _MOST_OBJECTS:
        mend = f"store up to {_MOST_OBJECTS} object numbers, or 0 and 255, without smoothed edges"
        raise UserError(f"{objects.size} objects in the first mask", where=str(path), mend=mend)
    return not objects.size


def _object_map(path: Path, has_one_object: bool) -> np.ndarray:
    numbers = _read_mask(path)
    named = numbers > 0 if has_one_object else np.where(numbers == 255, 0, numbers)
    return named.astype(np.uint8)


def _read_mask(path: Path) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(reading.content_of(path)), formats=["PNG"]) as image:
            image.load()
            numbers, mode = np.asarray(image), image.mode
    except decoding.DAMAGE as error:
        mend = "mend the file"
        raise UserError(f"not a readable PNG ({error})", where=str(path), mend=mend) from None
    if mode not in ("P", "L", "1"):
        mend = "store object numbers, as a palette or grey PNG of 8 bits"
        raise UserError(f"a mask of colours (mode {mode})", where=str(path), mend=mend)
    return numbers.astype(np.uint8) * (255 if mode == "1" else 1)


def _refuse_sizes(
    images: Sequence[bytes] | np.ndarray,
    maps: Sequence[np.ndarray],
    paths: Sequence[Path],
    first: tuple[int, ...],
) -> None:
    for content, numbers, path in zip(images, maps, paths, strict=True):
        width, height = decoding.to_rgb(bytes(content)).size
        if numbers.shape != (height, width):
            what = f"a mask of {numbers.shape[1]} x {numbers.shape[0]} px for a frame of "
            mend = "take frames and masks of one resolution"
            raise UserError(f"{what}{width} x {height} px", where=str(path), mend=mend)
        if numbers.shape != first:
            what = f"{width} x {height} px in a sequence of {first[1]} x {first[0]} px"
            mend = "bring the frames of a sequence to one size"
            raise UserError(what, where=str(path), mend=mend)
