"""Epoch by epoch: what the last one gives, and what choosing the best one would have given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sslbench.reporting.collect import CellRecord, Collected
from sslbench.reporting.inference import Inference
from sslbench.reporting.leaderboard import interval_text, show
from sslbench.reporting.records import ON_TEST, ON_VAL, epochs, headlines
from sslbench.reporting.tables import mean

NOTE = (
    "Last epoch: the honest result. Best on val: the epoch chosen on validation data, honest too. "
    "Best on test: the largest value that test has seen, as many published tables have it; never a "
    "result. Inflation is the best on test less the last epoch, seed by seed."
)


# Heads of the table.
HEADS = (
    *("method", "protocol", "metric", "last epoch", "best on val", "best on test"),
    *("inflation", "epochs best on test"),
)


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One method under one protocol that follows training; values are means over seeds.

    Attributes:
        metric: what was measured at each epoch.
        unit: its unit.
        last: at the end of training.
        on_val: at the epoch that did best on val.
        on_test: at the epoch that did best on test.
        inflation: mean over seeds of the best on test less the last.
        low, high: its interval over paired seeds; None for one seed.
        chosen: the best epoch on test of each seed, from 1; None is the last.
        by_epoch: epochs done -> the value of each seed; empty where only the end was measured.
    """

    dataset: str
    protocol: str
    method: str
    metric: str
    unit: str
    last: float
    on_val: float
    on_test: float
    inflation: float
    low: float | None
    high: float | None
    chosen: tuple[int | None, ...]
    by_epoch: Mapping[int, Sequence[float]]

    @property
    def number_id(self) -> str:
        """The number whose records hold these values."""
        return f"{self.dataset}/{self.method}/{self.protocol}/{self.metric}"

    def shown(self) -> tuple[str, ...]:
        """Return last, best on val, best on test, inflation with its interval, and the epochs."""
        spread = interval_text(self.inflation, self.low, self.high, self.unit)
        epochs_text = ", ".join("last" if e is None else str(e) for e in self.chosen)
        return (
            *(show(value, self.unit) for value in (self.last, self.on_val, self.on_test)),
            f"+{show(self.inflation, self.unit, like=self.last)} {spread}".strip(),
            epochs_text,
        )


def epoch_rows(collected: Collected, inference: Inference) -> list[EpochRow]:
    """Return a row for each method and protocol that measured single epochs."""
    groups: dict[tuple[str, str, str], list[CellRecord]] = {}
    for cell in collected.cells:
        if epochs(cell.record):
            groups.setdefault((cell.dataset, cell.protocol, cell.method), []).append(cell)
    trained = {
        (cell.method, cell.seed): len(cell.record["history"]) for cell in collected.pretraining
    }
    return [_row(cells, trained, inference) for cells in groups.values()]


def _row(
    cells: Sequence[CellRecord], trained: Mapping[tuple[str, int], int], inference: Inference
) -> EpochRow:
    first = cells[0]
    metric = str(epochs(first.record)[0]["metric"])
    last, on_val, on_test = (
        [_headline(cell, metric + suffix) for cell in cells] for suffix in ("", ON_VAL, ON_TEST)
    )
    gaps = [peeked - honest for peeked, honest in zip(on_test, last, strict=True)]
    low, high, _ = inference.interval(gaps, None)
    entries = [
        next(e for e in headlines(cell.record) if e["metric"] == metric + ON_TEST) for cell in cells
    ]
    return EpochRow(
        dataset=first.dataset,
        protocol=first.protocol,
        method=first.method,
        metric=metric,
        unit=str(epochs(first.record)[0]["unit"]),
        last=mean(last),
        on_val=mean(on_val),
        on_test=mean(on_test),
        inflation=mean(gaps),
        low=low,
        high=high,
        chosen=tuple(entry["detail"]["epoch"] for entry in entries),
        by_epoch=_by_epoch(cells, trained),
    )


def _headline(cell: CellRecord, metric: str) -> float:
    return next(float(e["value"]) for e in headlines(cell.record) if e["metric"] == metric)


def _by_epoch(
    cells: Sequence[CellRecord], trained: Mapping[tuple[str, int], int]
) -> dict[int, list[float]]:
    """Return each epoch's values; the end of training is the length of its history."""
    found: dict[int, list[float]] = {}
    for cell in cells:
        end = trained[cell.method, cell.seed]
        for entry in epochs(cell.record):
            epoch = entry["detail"]["epoch"] or end
            found.setdefault(epoch, []).append(float(entry["value"]))
    return found if len(found) > 1 else {}
