"""Health: what pretraining recorded against collapse, at the last epoch, mean over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sslbench.core.alarms import LEAST, alarms
from sslbench.reporting.collect import CellRecord, by_method
from sslbench.reporting.tables import mean

FIGURES: Mapping[str, str] = {
    "feature_std": "feature std",
    "effective_rank": "effective rank",
    "prototype_entropy": "prototype entropy",
    "teacher_student_gap": "teacher-student gap",
}
MEANINGS: Mapping[str, str] = {
    "feature_std": "Spread of unit features of un-augmented train images, times the root of their "
    "width. 0: collapsed; about 1: like random directions.",
    "effective_rank": "Exp of the entropy of the features' singular values. 1: collapsed.",
    "prototype_entropy": "Of the mean assignment to prototypes or clusters, as a share of the "
    "largest there is. 0: one takes every image; 1: all are used alike.",
    "teacher_student_gap": "1 - mean cosine of the features of both backbones. 0: alike.",
}
NOTHING = "—"
ALARM = "⚠"
_DIGITS = {"effective_rank": 1}


@dataclass(frozen=True, kw_only=True)
class HealthRow:
    """The health of one method.

    Attributes:
        means: of each figure at the last epoch, over seeds; without those that the method lacks.
        alarms: figures that look collapsed for a seed at least.
    """

    method: str
    means: Mapping[str, float]
    alarms: frozenset[str]

    def show(self, figure: str) -> str:
        """Return a figure as read by people, with a mark where it looks collapsed, or a dash."""
        if figure not in self.means:
            return NOTHING
        text = f"{self.means[figure]:.{_DIGITS.get(figure, 3)}f}"
        return f"{text} {ALARM}" if figure in self.alarms else text


def health_rows(pretraining: Sequence[CellRecord]) -> list[HealthRow]:
    """Return a row for each method, in the grid's order; an untrained one has no figures."""
    return [_row(method, cells) for method, cells in by_method(pretraining).items()]


def figures_of(rows: Sequence[HealthRow]) -> list[str]:
    """Return the figures that some method has, in a fixed order."""
    return [name for name in FIGURES if any(name in row.means for row in rows)]


def alarm_text(names: Sequence[str]) -> str:
    """Return what the mark beside figures means."""
    least = ", ".join(f"{FIGURES[name]} below {LEAST[name]:g}" for name in names if name in LEAST)
    return f"{ALARM}: one seed at least looks collapsed ({least})."


def _row(method: str, cells: Sequence[CellRecord]) -> HealthRow:
    last = [_last(cell) for cell in cells]
    found = {name: [seed[name] for seed in last if name in seed] for name in FIGURES}
    return HealthRow(
        method=method,
        means={name: mean(values) for name, values in found.items() if values},
        alarms=frozenset(name for seed in last for name in alarms(seed)),
    )


def _last(cell: CellRecord) -> Mapping[str, float]:
    history = cell.record["history"]
    health = (history[-1].get("health") if history else None) or {}
    return {name: value for name, value in health.items() if value is not None}
