"""One data set from its block in params.yaml to a folder of Arrow files and `dataset.json`."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.core import artifacts, params
from sslbench.core.errors import UserError
from sslbench.data import duplicates
from sslbench.data.batch import Batch, Source
from sslbench.data.store import DatasetInfo, split_path, split_writer, write_info

# The module of each kind, which holds `Params` and `open_source`.
KINDS = {
    "scenes": "scenes",
    "scene_clips": "scene_clips",
    "davis": "davis",
    "digits": "digits",
    "folder": "folder",
    "torchvision": "torchvision_sets",
    "voc": "voc",
    "coco": "coco",
}


class _Statistics:
    """Exact mean and standard deviation per channel: sums of integers, so order is no matter."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = [0, 0, 0]
        self._squares = [0, 0, 0]

    def update(self, images: np.ndarray) -> None:
        """Add images (n, H, W, 3) uint8."""
        for channel in range(3):
            counts = np.bincount(images[..., channel].reshape(-1), minlength=256)
            values = np.arange(256)
            self._sum[channel] += int(counts @ values)
            self._squares[channel] += int(counts @ values**2)
        self._count += images[..., 0].size

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return both in [0, 1], rounded to 6 digits; a constant channel has std 1/255."""
        mean = [total / self._count for total in self._sum]
        pairs = zip(self._squares, mean, strict=True)
        std = [max(total / self._count - m**2, 1.0) ** 0.5 for total, m in pairs]
        scaled = [tuple(round(value / 255, 6) for value in values) for values in (mean, std)]
        return scaled[0], scaled[1]


class _Written:
    """What writing the splits found out."""

    def __init__(self) -> None:
        self.ledger = duplicates.Ledger()
        self.statistics = _Statistics()
        self.counts: Counter[str] = Counter()
        self.class_counts: dict[str, Counter[int]] = {}
        self.has_several_labels = False
        self.sha256: dict[str, str] = {}


def prepare(name: str, values: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write one data set and return the content of its `dataset.json`.

    Args:
        name: the data set's id, the key under `data:` in params.yaml.
        values: its block.
        out: the folder to write; `dataset.json` is written last.

    Raises:
        UserError: a wrong block, missing or damaged images, or an impossible split.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise UserError(f"data set name {name!r} must be of a-z, 0-9 and _", where="data")
    source, kind = _open(name, values)
    _clear(out)
    written = _Written()
    for split in duplicates.ORDER:
        _write_split(source, split, out, written)
    _check(name, source, written)
    write_info(out, _info(name, kind, source, written))
    content: dict[str, Any] = artifacts.read_json(out / artifacts.DATASET)
    return content


def _open(name: str, values: Mapping[str, Any]) -> tuple[Source, str]:
    where = f"data.{name}"
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if kind not in KINDS:
        raise UserError(f"unknown kind {kind!r}", where=where, mend="kinds: " + ", ".join(KINDS))
    module = importlib.import_module(f"sslbench.data.{KINDS[kind]}")
    source: Source = module.open_source(params.build(module.Params, values, where))
    return source, kind


def _clear(out: Path) -> None:
    """Remove the old `dataset.json`, so that half-written data never look whole."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / artifacts.DATASET).unlink(missing_ok=True)
    except OSError as error:
        mend = "name a folder that can be written"
        raise UserError(f"cannot write ({error.strerror})", where=str(out), mend=mend) from None


def _write_split(source: Source, split: str, out: Path, written: _Written) -> None:
    side = source.image_size
    class_counts = written.class_counts.setdefault(split, Counter())
    shape = None if side is None else (side, side, 3)
    with split_writer(split_path(out, split), shape) as writer:
        for batch in source.batches(split):
            kept = written.ledger.keep(split, batch)
            writer.append(kept.images, kept.labels, kept.ids, **kept.columns)
            written.counts[split] += len(kept.ids)
            written.has_several_labels |= "targets" in kept.columns
            class_counts.update(_classes_of(kept))
            if split == "train":
                written.statistics.update(_pixels(kept.images, kept.previews))
    written.sha256[split] = writer.sha256


def _classes_of(batch: Batch) -> list[int]:
    """Return the classes of a batch's images, each as often as there are images of it."""
    if "targets" not in batch.columns:
        labels: list[int] = batch.labels.tolist()
        return labels
    present: list[int] = np.nonzero(np.asarray(batch.columns["targets"]) == 1)[1].tolist()
    return present


def _pixels(images: Any, previews: np.ndarray | None) -> np.ndarray:
    return np.asarray(images if previews is None else previews)


def _check(name: str, source: Source, written: _Written) -> None:
    """Refuse an empty train split, or a class that it lacks; list classes that others lack.

    Where images have several labels, such as COCO's 80, a small part may well lack a class.
    """
    where = f"data.{name}"
    if not written.counts["train"]:
        raise UserError("no images are left for the train split", where=where, mend="add images")
    for label, text in enumerate(source.classes):
        if not written.class_counts["train"][label] and not written.has_several_labels:
            what = f"class {text!r} has no image in the train split"
            raise UserError(what, where=where, mend="add images or remove the class")
        for split in artifacts.SPLITS:
            if not written.class_counts[split][label]:
                reason = f"class has no image in the {split} split"
                source.skipped.append({"id": text, "reason": reason})


def _info(name: str, kind: str, source: Source, written: _Written) -> DatasetInfo:
    mean, std = written.statistics.mean_and_std()
    return DatasetInfo(
        name=name,
        kind=kind,
        classes=source.classes,
        counts={split: written.counts[split] for split in artifacts.SPLITS},
        image_size=source.image_size,
        channels=3,
        mean=mean,
        std=std,
        source=source.source,
        split_rule=source.split_rule,
        sha256=written.sha256,
        duplicates=written.ledger.report(),
        skipped=source.skipped,
        metric=source.metric,
    )
