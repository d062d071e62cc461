"""What spans columns: average ranks of methods, and where the spread of numbers comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sslbench.reporting.collect import CellRecord, Collected
from sslbench.reporting.inference import AverageRanks, Components, Inference
from sslbench.reporting.leaderboard import NONE, show, show_unit
from sslbench.reporting.records import drawn, draws_of, epochs
from sslbench.reporting.tables import Number, competes

NO_RANKS = (
    "Average ranks are left out: they take three blocks (a data set, a protocol, a seed) and three "
    "methods, floor, ceiling and methods that saw labels aside."
)
NEGATIVE = "‡"


@dataclass(frozen=True, kw_only=True)
class SpreadRow:
    """Where the spread of one number comes from.

    Attributes:
        metric: the first that is a mean over draws.
        num_draws: draws of labels or probe seeds behind each seed's value.
    """

    dataset: str
    protocol: str
    method: str
    metric: str
    unit: str
    num_seeds: int
    num_draws: int
    components: Components

    @property
    def number_id(self) -> str:
        """The number whose records hold the draws."""
        return f"{self.dataset}/{self.method}/{self.protocol}/{self.metric}"

    def shown(self) -> tuple[str, str, str]:
        """Return the three standard deviations as read by people, in the number's unit."""
        parts = {"seeds": self.components.seeds, "draws": self.components.draws}
        texts = (
            show(value, self.unit) + (f" {NEGATIVE}" if name in self.components.truncated else "")
            for name, value in parts.items()
        )
        seeds, draws = texts
        return seeds, draws, show(self.components.rest, self.unit)


@dataclass(frozen=True, kw_only=True)
class Across:
    """Average ranks (None where there is too little) and spread rows (none without draws)."""

    ranks: AverageRanks | None
    spread: tuple[SpreadRow, ...]


def across(collected: Collected, numbers: Sequence[Number], inference: Inference) -> Across:
    """Return what spans the columns of a report.

    A protocol that follows training has no blocks: its last epoch is another protocol's number.
    """
    followed = {(c.dataset, c.protocol) for c in collected.cells if epochs(c.record)}
    scores = block_scores([n for n in numbers if (n.dataset, n.protocol) not in followed])
    groups: dict[tuple[str, str, str], list[CellRecord]] = {}
    for cell in collected.cells:
        groups.setdefault((cell.dataset, cell.protocol, cell.method), []).append(cell)
    rows = (_spread_row(cells, inference) for cells in groups.values())
    return Across(
        ranks=inference.average_ranks(scores) if scores else None,
        spread=tuple(row for row in rows if row is not None),
    )


def block_scores(numbers: Sequence[Number]) -> Mapping[str, Mapping[str, Sequence[float]]]:
    """Return each data set's scores of competing methods, one per protocol and seed, higher better.

    Of each protocol the main metric counts; figures that only describe do not.
    """
    scores: dict[str, dict[str, list[float]]] = {}
    for number in sorted(numbers, key=lambda n: (n.dataset, n.protocol)):
        if number.is_main and number.better != "neither" and competes(number.method, number.labels):
            sign = -1.0 if number.better == "lower" else 1.0
            column = scores.setdefault(number.dataset, {}).setdefault(number.method, [])
            column.extend(sign * value for value in number.values)
    return scores


def _spread_row(cells: Sequence[CellRecord], inference: Inference) -> SpreadRow | None:
    draws = [draws_of(cell.record) for cell in cells]
    components = inference.components(draws) if all(draws) else None
    if components is None:
        return None
    main = drawn(cells[0].record)
    return SpreadRow(
        dataset=cells[0].dataset,
        protocol=cells[0].protocol,
        method=cells[0].method,
        metric=str(main["metric"]),
        unit=str(main["unit"]),
        num_seeds=len(cells),
        num_draws=len(draws[0]),
        components=components,
    )


def ranks_text(ranks: AverageRanks) -> str:
    """Return how a picture of average ranks is to be read, and what it cannot say."""
    blocks = f"{ranks.num_blocks} blocks (each a data set, a protocol, a seed; main metrics)"
    if ranks.p_value is None:
        return (
            f"Rank of each method, averaged over {blocks}, 1 the best. "
            f"No test, so no bars: the blocks are of {ranks.num_datasets} data set"
            f"{'' if ranks.num_datasets == 1 else 's'}, a test takes three. The rank groups of "
            "columns are the tests."
        )
    return (
        f"Rank of each method in a data set, averaged over {ranks.num_datasets} data sets, 1 the "
        f"best; in each, methods are ranked by their mean rank over its part of {blocks}. "
        "A bar joins methods that are not told apart (differences of these averages with Holm's "
        f"correction, after Friedman's test that all are alike: p = {ranks.p_value:.2g}). It "
        "speaks of other data sets, with these runs."
    )


def spread_text(rows: Sequence[SpreadRow]) -> str:
    """Return what the table of spread shows."""
    units = ", ".join(dict.fromkeys(show_unit(row.unit) for row in rows))
    marks = {name for row in rows for name in row.components.truncated}
    note = f" {NEGATIVE}: estimated below 0, shown as 0." if marks else ""
    alone = any(row.components.seeds is None for row in rows)
    note += f" {NONE}: one pretraining seed cannot tell." if alone else ""
    return (
        f"Standard deviations in {units or 'the metric'}, of a value from one seed and one draw: "
        "between pretraining seeds; between draws of labels or probe seeds that all seeds share; "
        f"between draws of one seed, beyond that. By analysis of variance.{note}"
    )
