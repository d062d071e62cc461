"""Numbers: one row per dataset, method, protocol and metric; their interval; report/numbers.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.core.errors import UserError
from sslbench.reporting.collect import CellRecord, Collected, by_method, headlines, targets

# (values over seeds, number of test samples where it is one for all) -> (low, high, name);
# low and high are None where no interval can be given.
Interval = Callable[[list[float], int | None], tuple[float | None, float | None, str]]
# values over seeds per method -> rank group per method, 1 the best, None where one cannot be told
RankGroups = Callable[[dict[str, list[float]]], Mapping[str, int | None]]
# id -> (value in the number's unit, where it was published)
References = Mapping[str, tuple[float, str]]

COLUMNS = (
    "id",
    "dataset",
    "method",
    "protocol",
    "metric",
    "unit",
    "value",
    "ci_low",
    "ci_high",
    "n_seeds",
    "seeds",
    "rank_group",
    "reference",
    "reference_source",
    "fingerprints",
    "labels",
)
_BASELINES = ("random_init", "supervised")


@dataclass(frozen=True, kw_only=True)
class Number:
    """One reported number: the mean over seeds and what it stands on.

    Attributes:
        metric: such as `top1`; `is_main` marks the first metric of its protocol.
        unit: such as `fraction`, which is shown in percent.
        value: mean over seeds.
        low: lower end of the interval, or None.
        high: upper end of the interval, or None.
        interval: the interval's name; empty when read back from the CSV.
        seeds: the seeds, in the grid's order.
        values: one value per seed; empty when read back from the CSV.
        samples: number of test samples, or None when the seeds differ or it is not said.
        rank_group: 1 is the best; a later group is worse than the leader of an earlier one; None
            where no test can tell, as with one seed.
        reference: a published value in the same unit, or None.
        fingerprints: one per seed.
        labels: how many labels pretraining saw: "none", "some" or "all"; empty if not recorded.
    """

    dataset: str
    method: str
    protocol: str
    metric: str
    unit: str
    value: float
    low: float | None
    high: float | None
    interval: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    samples: int | None
    rank_group: int | None
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
    return method.startswith(_BASELINES)


def mean(values: Sequence[float]) -> float:
    """Return the mean, summed exactly so that the order of seeds does not matter."""
    return math.fsum(values) / len(values)


def numbers(
    collected: Collected, interval: Interval, rank_groups: RankGroups, references: References
) -> list[Number]:
    """Return every headline number, in the order of the grid.

    References of numbers that this grid does not make are left aside: one list of published
    values serves small grids and large ones.
    """
    columns = _columns(collected.cells)
    labels = {cell.method: str(cell.record["labels"]) for cell in collected.pretraining}
    made: list[Number] = []
    for cells in columns.values():
        for index, entry in enumerate(headlines(cells[0].record)):
            metric, is_main = str(entry["metric"]), index == 0
            made += _column(cells, metric, is_main, labels, interval, rank_groups, references)
    place = {method: index for index, method in enumerate(collected.grid["methods"])}
    datasets = targets(collected.grid)
    return sorted(made, key=lambda n: (datasets.index(n.dataset), place[n.method]))


def _columns(cells: Sequence[CellRecord]) -> dict[tuple[str, str], list[CellRecord]]:
    columns: dict[tuple[str, str], list[CellRecord]] = {}
    for cell in cells:
        columns.setdefault((cell.dataset, cell.protocol), []).append(cell)
    return columns


def _column(
    cells: Sequence[CellRecord],
    metric: str,
    is_main: bool,
    labels: Mapping[str, str],
    interval: Interval,
    rank_groups: RankGroups,
    references: References,
) -> list[Number]:
    """Return one metric of one protocol for all methods, ranked against one another."""
    methods = by_method(cells)
    groups = rank_groups({name: _values(seeds, metric) for name, seeds in methods.items()})
    return [
        _number(seeds, metric, is_main, labels[name], interval, groups[name], references)
        for name, seeds in methods.items()
    ]


def _number(
    cells: Sequence[CellRecord],
    metric: str,
    is_main: bool,
    labels: str,
    interval: Interval,
    rank_group: int | None,
    references: References,
) -> Number:
    first = cells[0]
    values = _values(cells, metric)
    samples = _samples(cells, metric)
    low, high, name = interval(values, samples)
    identity = f"{first.dataset}/{first.method}/{first.protocol}/{metric}"
    reference, source = references.get(identity, (None, ""))
    return Number(
        dataset=first.dataset,
        method=first.method,
        protocol=first.protocol,
        metric=metric,
        unit=_texts(cells, metric, "unit")[0],
        value=mean(values),
        low=_finite(low),
        high=_finite(high),
        interval=name,
        seeds=tuple(cell.seed for cell in cells),
        values=tuple(values),
        samples=samples,
        rank_group=rank_group,
        reference=reference,
        reference_source=source,
        fingerprints=tuple(str(cell.record["fingerprint"]) for cell in cells),
        is_main=is_main,
        labels=labels,
    )


def _values(cells: Sequence[CellRecord], metric: str) -> list[float]:
    return [
        float(entry["value"])
        for cell in cells
        for entry in headlines(cell.record)
        if entry["metric"] == metric
    ]


def _texts(cells: Sequence[CellRecord], metric: str, key: str) -> list[str]:
    found = (e.get(key) for c in cells for e in headlines(c.record) if e["metric"] == metric)
    return [str(value) for value in found]


def _samples(cells: Sequence[CellRecord], metric: str) -> int | None:
    found = set(_texts(cells, metric, "n"))
    text = found.pop() if len(found) == 1 else ""
    return int(text) if text.isdigit() else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def csv_text(rows: Sequence[Number]) -> str:
    """Return the text of numbers.csv: values in the unit of each row, eight digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_csv_row(row) for row in rows)
    return buffer.getvalue()


def _csv_row(row: Number) -> list[str]:
    return [
        row.id,
        row.dataset,
        row.method,
        row.protocol,
        row.metric,
        row.unit,
        _digits(row.value),
        _digits(row.low),
        _digits(row.high),
        str(len(row.seeds)),
        ";".join(map(str, row.seeds)),
        "" if row.rank_group is None else str(row.rank_group),
        _digits(row.reference),
        row.reference_source,
        ";".join(row.fingerprints),
        row.labels,
    ]


def _digits(value: float | None) -> str:
    return "" if value is None else format(value, ".8g")


def read_csv(path: Path) -> list[Number]:
    """Return the numbers of a report made earlier, for `make reproduce` to print.

    Raises:
        UserError: the file is absent or is not a numbers.csv.
    """
    mend = "run `make reproduce`"
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        return _restored(rows)
    except FileNotFoundError:
        raise UserError("file not found", where=str(path), mend=mend) from None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"not a numbers.csv ({error})", where=str(path), mend=mend) from None


def _restored(rows: Sequence[Mapping[str, str]]) -> list[Number]:
    seen: set[tuple[str, str, str]] = set()
    made: list[Number] = []
    for row in rows:
        key = (row["dataset"], row["method"], row["protocol"])
        made.append(_restored_number(row, key not in seen))
        seen.add(key)
    return made


def _restored_number(row: Mapping[str, str], is_main: bool) -> Number:
    return Number(
        dataset=row["dataset"],
        method=row["method"],
        protocol=row["protocol"],
        metric=row["metric"],
        unit=row["unit"],
        value=float(row["value"]),
        low=float(row["ci_low"]) if row["ci_low"] else None,
        high=float(row["ci_high"]) if row["ci_high"] else None,
        interval="",
        seeds=tuple(int(seed) for seed in row["seeds"].split(";")),
        values=(),
        samples=None,
        rank_group=int(row["rank_group"]) if row["rank_group"] else None,
        reference=float(row["reference"]) if row["reference"] else None,
        reference_source=row["reference_source"],
        fingerprints=tuple(row["fingerprints"].split(";")),
        is_main=is_main,
        labels=row["labels"],
    )
