"""What a report asks of statistics; the stage fills it in, for reporting imports no evaluation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class IntervalOf(Protocol):
    """Gives a result's interval."""

    def __call__(
        self,
        values: Sequence[float],
        samples: np.ndarray | None,
        standard_error: float | None = None,
    ) -> tuple[float | None, float | None, str]:
        """Return low, high and the interval's name; low and high are None where none can be given.

        Args:
            values: one per seed.
            samples: (num_seeds, num_samples) results whose means are the values, or None.
            standard_error: over test samples, of the value of one seed without results.
        """


class Ranking(Protocol):
    """The rank groups of a column."""

    @property
    def groups(self) -> Mapping[str, int | None]:
        """Method -> rank group, 1 the best; None where nothing tells."""

    @property
    def test(self) -> str:
        """What told them apart."""


class AverageRanks(Protocol):
    """Ranks of methods over blocks."""

    @property
    def ranks(self) -> Mapping[str, float]:
        """Method -> average rank, best first."""

    @property
    def num_blocks(self) -> int:
        """How many blocks."""

    @property
    def num_datasets(self) -> int:
        """How many data sets they are of."""

    @property
    def p_value(self) -> float | None:
        """Of Friedman's test over data sets; None with too few."""

    @property
    def cliques(self) -> Sequence[tuple[str, ...]]:
        """Methods not told apart, largest sets; none without a test."""


class Components(Protocol):
    """Standard deviations of the parts of a value; None where one seed cannot tell."""

    @property
    def seeds(self) -> float | None:
        """Between pretraining seeds."""

    @property
    def draws(self) -> float | None:
        """Between draws, in common to all seeds."""

    @property
    def rest(self) -> float:
        """Beyond both."""

    @property
    def truncated(self) -> tuple[str, ...]:
        """Those whose estimated variance was negative."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """The statistics of one report.

    Attributes:
        interval: of a result.
        ranking: (method -> one value per seed, method -> (num_seeds, num_samples) results or
            None, whether higher is better) -> the column's rank groups.
        told_from: (a method, values and results as above, its own among them) -> the others that
            the test tells from it.
        average_ranks: data set -> method -> one score per block, higher better -> their ranks, or
            None where there are too few.
        components: one row per seed with one value per draw -> components, or None without.
    """

    interval: IntervalOf
    ranking: Callable[
        [Mapping[str, Sequence[float]], Mapping[str, np.ndarray] | None, bool], Ranking
    ]
    told_from: Callable[
        [str, Mapping[str, Sequence[float]], Mapping[str, np.ndarray] | None], Collection[str]
    ]
    average_ranks: Callable[[Mapping[str, Mapping[str, Sequence[float]]]], AverageRanks | None]
    components: Callable[[Sequence[Sequence[float]]], Components | None]
