"""Numbers: one per dataset, method, protocol and metric, with its interval and rank group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sslbench.reporting.collect import CellRecord, Collected, by_method, targets
from sslbench.reporting.inference import Inference
from sslbench.reporting.records import draws_of, headlines, samples_of, standard_error_of

# id -> (value in the number's unit, where it was published)
References = Mapping[str, tuple[float, str]]

FLOOR = "random_init"
CEILING = "supervised"


@dataclass(frozen=True, kw_only=True)
class Number:
    """One reported number: the mean over seeds and what it stands on.

    Attributes:
        version: of the protocol.
        metric: such as `top1`; `is_main` marks the first metric of its protocol.
        unit: such as `fraction`, which is shown in percent.
        better: "higher", "lower", or "neither" for a figure that describes and does not rank.
        value: mean over seeds.
        low: lower end of the interval, or None.
        high: upper end of the interval, or None.
        interval: the interval's name.
        seeds: the seeds, in the grid's order.
        values: one value per seed; empty when read back from the CSV.
        samples: number of test samples, or None when the seeds differ or it is not said.
        rank_group: 1 is the best; the leader of a later group is worse than that of the one before;
            None where no test can tell, and for what does not compete.
        told_from: the untrained networks of the column that the test tells it from, by Holm's
            correction over the column's methods.
        test: what told the rank groups apart.
        reference: a published value in the same unit, or None.
        fingerprints: one per seed.
        labels: how many labels pretraining saw: "none", "some" or "all"; empty if not recorded.
    """

    dataset: str
    method: str
    protocol: str
    version: int
    metric: str
    unit: str
    better: str
    value: float
    low: float | None
    high: float | None
    interval: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    samples: int | None
    rank_group: int | None
    told_from: frozenset[str]
    test: str
    reference: float | None
    reference_source: str
    fingerprints: tuple[str, ...]
    is_main: bool
    labels: str

    @property
    def id(self) -> str:
        """The name that `sslbench trace` and `sslbench verify` take."""
        return f"{self.dataset}/{self.method}/{self.protocol}/{self.metric}"


def is_baseline(method: str) -> bool:
    """Return whether a method is there to read the others by: floor or ceiling."""
    return method == CEILING or method.startswith(FLOOR)


def competes(method: str, labels: str) -> bool:
    """Return whether a method is ranked: no baseline, and pretrained without labels."""
    return not is_baseline(method) and labels not in ("some", "all")


def mean(values: Sequence[float]) -> float:
    """Return the mean, summed exactly so that the order of seeds does not matter."""
    return math.fsum(values) / len(values)


def numbers(collected: Collected, inference: Inference, references: References) -> list[Number]:
    """Return every headline number, in the order of the grid.

    References of numbers that this grid does not make are left aside: one list of published
    values serves small grids and large ones.
    """
    labels = {cell.method: str(cell.record["labels"]) for cell in collected.pretraining}
    made: list[Number] = []
    for cells in _columns(collected.cells).values():
        for index, entry in enumerate(headlines(cells[0].record)):
            column = _Column(cells, str(entry["metric"]), labels, is_main=index == 0)
            made += column.numbers(inference, references)
    place = {method: index for index, method in enumerate(collected.grid["methods"])}
    datasets = targets(collected.grid)
    return sorted(made, key=lambda n: (datasets.index(n.dataset), place[n.method]))


def _columns(cells: Sequence[CellRecord]) -> dict[tuple[str, str], list[CellRecord]]:
    columns: dict[tuple[str, str], list[CellRecord]] = {}
    for cell in cells:
        columns.setdefault((cell.dataset, cell.protocol), []).append(cell)
    return columns


class _Column:
    """One metric of one protocol on one data set: methods are ranked against one another."""

    def __init__(
        self, cells: Sequence[CellRecord], metric: str, labels: Mapping[str, str], *, is_main: bool
    ) -> None:
        self._methods = by_method(cells)
        self._labels = labels
        self._metric, self._is_main = metric, is_main
        self._better = str(self._entry(cells[0])["better"])
        self._values = {name: self._values_of(runs) for name, runs in self._methods.items()}
        self._samples = {name: self._samples_of(runs) for name, runs in self._methods.items()}

    def _entry(self, cell: CellRecord) -> Mapping[str, Any]:
        return next(e for e in headlines(cell.record) if e["metric"] == self._metric)

    def _values_of(self, cells: Sequence[CellRecord]) -> list[float]:
        return [float(self._entry(cell)["value"]) for cell in cells]

    def _samples_of(self, cells: Sequence[CellRecord]) -> np.ndarray | None:
        """Return (num_seeds, num_samples) results of one method, or None if not kept."""
        found = [samples_of(cell.record, self._metric) for cell in cells]
        return None if any(row is None for row in found) else np.array(found)

    def numbers(self, inference: Inference, references: References) -> list[Number]:
        """Return the number of each method."""
        groups, test = self._ranking(inference)
        told = self._told_from_floors(inference)
        return [
            self._number(name, groups.get(name), told.get(name, frozenset()), test, inference,
                         references)
            for name in self._methods
        ]  # fmt: skip

    def _ranking(self, inference: Inference) -> tuple[Mapping[str, int | None], str]:
        """Return the groups of the methods that compete, and their test."""
        if self._better == "neither":
            return {}, "none, for no way is better"
        names = [name for name in self._methods if competes(name, self._labels[name])]
        if not names:
            return {}, "none, for no method competes"
        found = inference.ranking(*self._of(names), self._better == "higher")
        held = ", on these draws" if draws_of(self._methods[names[0]][0].record) else ""
        return found.groups, found.test + held

    def _told_from_floors(self, inference: Inference) -> Mapping[str, frozenset[str]]:
        """Return, for each method, the untrained networks that it is told from."""
        floors = [name for name in self._methods if name.startswith(FLOOR)]
        others = [name for name in self._methods if name not in floors]
        apart = {floor: inference.told_from(floor, *self._of([floor, *others])) for floor in floors}
        return {
            name: frozenset(floor for floor in floors if name in apart[floor]) for name in others
        }

    def _of(
        self, names: Sequence[str]
    ) -> tuple[Mapping[str, Sequence[float]], Mapping[str, np.ndarray] | None]:
        """Return the values of some methods, and their results of samples if all kept them."""
        kept = {name: self._samples[name] for name in names}
        samples = {name: rows for name, rows in kept.items() if rows is not None}
        values = {name: self._values[name] for name in names}
        return values, samples if len(samples) == len(names) else None

    def _number(
        self,
        method: str,
        rank_group: int | None,
        told_from: frozenset[str],
        test: str,
        inference: Inference,
        references: References,
    ) -> Number:
        cells, values = self._methods[method], self._values[method]
        first, entry = cells[0], self._entry(cells[0])
        error = standard_error_of(entry)
        low, high, name = inference.interval(values, self._samples[method], error)
        identity = f"{first.dataset}/{method}/{first.protocol}/{self._metric}"
        reference, source = references.get(identity, (None, ""))
        return Number(
            dataset=first.dataset,
            method=method,
            protocol=first.protocol,
            version=int(first.record["protocol"]["version"]),
            metric=self._metric,
            unit=str(entry["unit"]),
            better=self._better,
            value=mean(values),
            low=_finite(low),
            high=_finite(high),
            interval=name,
            seeds=tuple(cell.seed for cell in cells),
            values=tuple(values),
            samples=self._num_samples(cells),
            rank_group=rank_group,
            told_from=told_from,
            test=test,
            reference=reference,
            reference_source=source,
            fingerprints=tuple(str(cell.record["fingerprint"]) for cell in cells),
            is_main=self._is_main,
            labels=self._labels[method],
        )

    def _num_samples(self, cells: Sequence[CellRecord]) -> int | None:
        found = {self._entry(cell).get("n") for cell in cells}
        count = found.pop() if len(found) == 1 else None
        return count if isinstance(count, int) else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
