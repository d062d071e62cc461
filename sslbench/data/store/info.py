"""What `dataset.json` says, and whether it can be so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.core import artifacts, params
from sslbench.core.errors import UserError
from sslbench.data.store.opening import MEND

FORMAT = 1


@dataclass(frozen=True)
class DatasetInfo:
    """What `dataset.json` says.

    Attributes:
        name: the data set's id.
        kind: one of `prepare.KINDS`, such as scenes or folder.
        classes: class names in label order; empty where unlabelled.
        counts: images per split.
        image_size: side in pixels of the raw square images; None where encoded.
        channels: always 3.
        mean: of each channel over the train split, in [0, 1].
        std: of each channel over the train split, in [0, 1].
        source: where the images come from.
        split_rule: how the splits were made, with the rule's version.
        sha256: content hash per split.
        duplicates: exact copies found, dropped and kept.
        skipped: what was left out, and why.
        metric: the measure the literature reports for this set: top1 or mean_per_class, and where
            images have several labels map_11point or map_area.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    image_size: int | None
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    split_rule: str
    sha256: dict[str, str]
    duplicates: dict[str, Any]
    skipped: list[dict[str, str]]
    metric: str = "top1"


def read_info(folder: Path) -> DatasetInfo:
    """Return the content of `dataset.json`.

    Raises:
        UserError: the file is absent, damaged or of another format.
    """
    path = folder / artifacts.DATASET
    content = artifacts.read_json(path)
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise UserError(f"is not of data format {FORMAT}", where=str(path), mend=MEND)
    try:
        info = params.build(DatasetInfo, content, artifacts.DATASET)
        _refuse_odd(info)
    except (UserError, ValueError) as error:
        raise UserError(f"damaged file ({error})", where=str(path), mend=MEND) from None
    return info


def _refuse_odd(info: DatasetInfo) -> None:
    if other := {*info.counts, *info.sha256} - set(artifacts.SPLITS):
        raise ValueError(f"{other.pop()!r} is no split")
    if not all(type(count) is int and count >= 0 for count in info.counts.values()):
        raise ValueError("a count is no whole number")
    if not len(info.mean) == len(info.std) == info.channels:
        raise ValueError("mean and std are not those of its channels")
    if not all(map(math.isfinite, (*info.mean, *info.std))) or min(info.std) <= 0:
        raise ValueError("mean or std is no number, or a std not above 0")
