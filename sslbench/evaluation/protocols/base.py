"""The contract of a protocol: choose on train and val, then measure; numpy only.

A protocol is a module with

    NAME      its file's name                     VERSION  raised when its numbers change meaning
    KIND      what it reads:  "probe"     features
                              "transfer"  a checkpoint, and images with a class each
                              "dense"     a checkpoint, and images with boxes or masks
                              "video"     a checkpoint, and videos
    LABELS    "one" (a class per image), "several" (`targets`), "either", or "none" (not looked at)
    Params    a frozen dataclass without defaults
    choose    probe:    (train, val, params) -> Choice
              others:   (subject, train, val, params) -> Choice
    measure   probe:    (choice, train, val, test) -> list[Measurement]
              others:   (choice, subject, train, val, test) -> list[Measurement]

`choose` is called while the test split is shut: the runners (`parts.probe`, `parts.transfer`)
open it afterwards, once, and until then its readers refuse the file to everybody (`core.seal`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from sslbench.core import per_sample, seal
from sslbench.core.errors import UserError
from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.parts.metrics import mean_per_class, top1
from sslbench.evaluation.protocols.parts.resampling import standard_error

T = TypeVar("T")
Role = Literal["headline", "layer", "twin", "epoch"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number of one cell.

    Attributes:
        metric: its name, such as `top1`.
        value: the number, in `unit`.
        unit: `fraction` is a share in [0, 1].
        n: how many test images it was measured on; of videos, objects or clips.
        layer: the layer that was read; None where a protocol reads no single layer.
        role: `headline` enters the tables; `layer` is one of the per-layer rows; `twin` is the
            same protocol on random weights; `epoch` is the same protocol at one epoch.
        better: which way is better; "neither" for a figure that describes and does not rank.
        detail: what was chosen, and at which value on val.
        standard_error: over test samples, of a value that is no mean over them; None for others,
            and where it was not measured.
        per_sample: (n,) bool or float whose mean is `value`, in the order of the test split; kept
            for headlines, so that methods can be compared on the same samples.
    """

    metric: str
    value: float
    unit: str
    n: int
    split: str
    layer: str | None
    role: Role
    better: Literal["higher", "lower", "neither"] = "higher"
    detail: dict[str, Any] = field(default_factory=dict)
    standard_error: float | None = None
    per_sample: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as it stands in a record, less its samples."""
        content = asdict(replace(self, per_sample=None))
        del content["per_sample"]
        return content


@dataclass(frozen=True)
class Result:
    """What a runner returns: the measurements, and each opening of the test split."""

    protocol: str
    version: int
    measurements: list[Measurement]
    test_reads: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the record's keys that evaluation owns."""
        return {
            "protocol": {"name": self.protocol, "version": self.version},
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "test_reads": list(self.test_reads),
            "per_sample": self._per_sample(),
        }

    def _per_sample(self) -> dict[str, Any] | None:
        """Return the first headline's samples."""
        for row in self.measurements:
            if row.role == "headline" and row.per_sample is not None:
                return per_sample.encode(row.metric, row.per_sample)
        return None


@dataclass(frozen=True)
class LayerChoice:
    """The setting that did best on val for one layer, and its value there (top1, or mAP)."""

    layer: str
    setting: dict[str, Any]
    val: float


@dataclass(frozen=True)
class Choice:
    """One choice per layer, from input to output."""

    layers: tuple[LayerChoice, ...]

    @property
    def headline(self) -> LayerChoice:
        """The layer that did best on val; of equals, the one nearest the output."""
        return max(reversed(self.layers), key=lambda choice: choice.val)


class Sealed(Generic[T]):
    """The test split: the only way to it, which can be gone once and writes down where it led.

    Attributes:
        reads: the file of each opening; it goes into the record, and so into provenance.
    """

    def __init__(self, opener: Callable[[], T], path: Path) -> None:
        self._opener = opener
        self._path = path
        self.reads: tuple[str, ...] = ()

    def shut(self) -> AbstractContextManager[None]:
        """Return the block in which nobody can open the split, by whatever way: for `choose`."""
        return seal.shut(self._path)

    def open(self) -> T:
        """Return the split.

        Raises:
            RuntimeError: it was opened before.
        """
        if self.reads:
            raise RuntimeError("the test split is read once, and it was read already")
        self.reads = (self._path.as_posix(),)
        return self._opener()


def best(values: Mapping[T, float]) -> T:
    """Return the key of the largest value; of equals, the first."""
    return max(values, key=lambda key: values[key])


def check_train(
    protocol: ModuleType, labels: np.ndarray, targets: np.ndarray | None, path: Path
) -> None:
    """Refuse a train split that this protocol cannot learn from.

    Args:
        protocol: its LABELS say what it needs.
        labels: (num_samples,) class indices, -1 for none.
        targets: (num_samples, num_classes) where images have several labels, else None.
        path: the split's file, for messages.

    Raises:
        UserError: an empty split, labels of the wrong kind or missing, or a single class.
    """
    where = str(path)
    if not len(labels):
        raise UserError("the split is empty", where=where, mend="prepare the dataset again")
    if protocol.LABELS == "none" or (targets is not None and protocol.LABELS != "one"):
        return
    if targets is not None or protocol.LABELS == "several":
        kind = "one label" if targets is None else "several labels"
        mend = f"take {protocol.NAME} or this dataset out of the grid; see `sslbench protocols`"
        what = f"{protocol.NAME} cannot use images with {kind} each"
        raise UserError(what, where=where, mend=mend)
    _refuse_unlabelled(labels, where)
    if len(np.unique(labels)) < 2:
        mend = "a probe needs two classes or more: choose another target dataset"
        raise UserError(f"all labels are class {labels[0]}", where=where, mend=mend)


def check_other(protocol: ModuleType, labels: np.ndarray, train: np.ndarray, path: Path) -> None:
    """Refuse a val or test split that train could not have prepared anybody for.

    Raises:
        UserError: an empty or unlabelled split, or a class that train lacks.
    """
    where = str(path)
    if not len(labels):
        raise UserError("the split is empty", where=where, mend="prepare the dataset again")
    if protocol.LABELS == "none" or (protocol.LABELS != "one" and (train < 0).all()):
        return
    _refuse_unlabelled(labels, where)
    if len(unknown := np.setdiff1d(labels, train)):
        mend = "split the dataset by class, or drop the class"
        raise UserError(f"class {unknown[0]} is not in the train split", where=where, mend=mend)


def check_val(protocol: ModuleType, labels: np.ndarray, path: Path) -> None:
    """Refuse a val split on which every choice of classes looks alike.

    Args:
        protocol: its LABELS say whether it chooses by one class an image.
        labels: (num_samples,) class indices; all -1 where images have several labels.
        path: the split's file, for messages.

    Raises:
        UserError: a single class.
    """
    if protocol.LABELS in ("one", "either") and labels[0] >= 0 and (labels == labels[0]).all():
        what = f"all {len(labels)} labels of val are class {labels[0]}, so it cannot choose"
        raise UserError(what, where=str(path), mend="split the dataset by class")


def _refuse_unlabelled(labels: np.ndarray, where: str) -> None:
    if (missing := int(np.count_nonzero(labels < 0))) > 0:
        mend = "probes need labels: take this dataset out of grid.targets, or label it"
        raise UserError(f"{missing} of {len(labels)} images have no label", where=where, mend=mend)


def layer_row(
    metric: str, value: float, chosen: LayerChoice, role: Role, n: int, notes: Mapping[str, Any]
) -> Measurement:
    """Return one fraction on test at a layer; its detail is the setting, the value on val, notes.

    Args:
        metric: its name.
        value: in [0, 1].
        chosen: the layer, with what was chosen for it.
        role: as in `Measurement`.
        n: how many test images.
        notes: what the fit has to say.
    """
    detail = {**chosen.setting, "val": chosen.val, **notes}
    return Measurement(
        metric=metric, value=value, unit="fraction", n=n, split="test", layer=chosen.layer,
        role=role, detail=detail,
    )  # fmt: skip


def classify_layers(
    choice: Choice,
    predictions: Mapping[str, np.ndarray],
    test: Features,
    notes: Mapping[str, dict[str, Any]],
) -> list[Measurement]:
    """Return a classification probe's measurements.

    Args:
        choice: what was chosen on val.
        predictions: layer -> (num_samples,) predicted labels of the test split.
        test: the test split.
        notes: layer -> what the fit has to say, joined to the measurement's detail.

    Returns:
        Headline top1 and mean_per_class at the layer chosen on val, then one top1 per layer.
    """
    labels = test.labels

    def row(metric: str, value: float, chosen: LayerChoice, role: Role) -> Measurement:
        return layer_row(metric, value, chosen, role, len(labels), notes.get(chosen.layer, {}))

    first = choice.headline
    rows = classified(predictions[first.layer], labels, partial(row, chosen=first, role="headline"))
    for chosen in choice.layers:
        rows.append(row("top1", top1(predictions[chosen.layer], labels), chosen, "layer"))
    return rows


def classified(
    predictions: np.ndarray, labels: np.ndarray, row: Callable[[str, float], Measurement]
) -> list[Measurement]:
    """Return a classifier's top1 with its samples, and its mean_per_class with its error.

    Args:
        predictions: (num_samples,) labels given to the test split.
        labels: the true ones.
        row: makes a measurement of a metric's name and value.
    """
    right = predictions == labels
    first = row("top1", float(right.mean()))
    second = row("mean_per_class", mean_per_class(predictions, labels))
    error = standard_error(
        lambda rows: mean_per_class(predictions[rows], labels[rows]), len(labels)
    )
    return [
        replace(first, per_sample=right),
        replace(second, standard_error=error),
    ]
