"""What unfrozen weights would have reached from random ones: each number beside its twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sslbench.reporting.collect import Collected
from sslbench.reporting.inference import Inference
from sslbench.reporting.leaderboard import interval_text, show, show_spread
from sslbench.reporting.records import twins
from sslbench.reporting.tables import Number, mean

NOTE = (
    "Beside each value what the same training gives from random weights, seed by seed: the gain is "
    "what pretraining was worth."
)


@dataclass(frozen=True, kw_only=True)
class TwinRow:
    """One number and its twin.

    Attributes:
        number: what the pretrained weights reached.
        twin: what random weights reached, mean over seeds.
        gain: mean over seeds of the difference; above 0 the pretrained weights have more.
        low, high: its interval over seeds, in which seeds are paired; None for one seed.
    """

    number: Number
    twin: float
    gain: float
    low: float | None
    high: float | None

    def shown(self) -> tuple[str, str, str]:
        """Return value, twin and gain, with the intervals of value and gain."""
        unit, value = self.number.unit, self.number.value
        spread = interval_text(self.gain, self.low, self.high, unit)
        sign = "+" if self.gain >= 0 else ""
        return (
            f"{show(value, unit)} {show_spread(self.number)}".strip(),
            show(self.twin, unit, like=value),
            f"{sign}{show(self.gain, unit)} {spread}".strip(),
        )


def twin_rows(
    collected: Collected, numbers: Sequence[Number], inference: Inference
) -> list[TwinRow]:
    """Return a row for each number whose cells measured a twin: methods beneath each other."""
    found = _twins(collected)
    beside = [number for number in numbers if number.id in found]
    columns = list(dict.fromkeys((n.dataset, n.protocol, n.metric) for n in beside))
    beside.sort(key=lambda n: columns.index((n.dataset, n.protocol, n.metric)))
    return [_row(number, found[number.id], inference) for number in beside]


def _twins(collected: Collected) -> dict[str, list[float]]:
    """Return the twin's value of each seed for each number's id."""
    found: dict[str, list[float]] = {}
    for cell in collected.cells:
        for entry in twins(cell.record):
            identity = f"{cell.dataset}/{cell.method}/{cell.protocol}/{entry['metric']}"
            found.setdefault(identity, []).append(float(entry["value"]))
    return found


def _row(number: Number, twin: Sequence[float], inference: Inference) -> TwinRow:
    gains = [own - other for own, other in zip(number.values, twin, strict=True)]
    low, high, _ = inference.interval(gains, None)
    return TwinRow(number=number, twin=mean(twin), gain=mean(gains), low=low, high=high)
