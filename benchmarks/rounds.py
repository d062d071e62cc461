"""Side-by-side measurement: contestants take turns, and only ratios within a round are compared.

A machine that others use is slow for minutes at a time. Within one round it is slow for everybody,
so each round gives one ratio, and the median and range over rounds are what is reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Does a contestant's work once and returns how many items (images, queries ...) it got through;
# work that keeps its own time returns (items, seconds).
Work = Callable[[], int | tuple[int, float]]
WARM_UP = 1


@dataclass(frozen=True)
class Record:
    """One comparison.

    Attributes:
        name: what is measured, and on what: `pretrain/simclr`, `views/simclr`, `knn/lightly`.
        size: side of the images in pixels; 0 where there are none.
        precision: ours: `fp32` or `bf16`. The peer's is said in `details` where it differs.
        ours, peer: items per second, medians over rounds.
        ratio_median, ratio_low, ratio_high: ours over the peer's rate, of the same round.
        rounds: how many were counted.
        details: more figures by name, such as shares of a step or the peer's settings.
    """

    name: str
    size: int
    precision: str
    ours: float
    peer: float
    ratio_median: float
    ratio_low: float
    ratio_high: float
    rounds: int
    details: dict[str, Any] = field(default_factory=dict)


def alternate(
    works: Mapping[str, Work], rounds: int, warm_up: int = WARM_UP
) -> dict[str, list[float]]:
    """Return each contestant's items per second, one figure a round.

    Every other round runs in reverse order, so that nobody always follows the same neighbour.

    Args:
        works: contestants by name.
        rounds: how many are counted.
        warm_up: rounds before them that are not.
    """
    rates: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm_up + rounds):
        for name in list(works)[:: 1 if number % 2 == 0 else -1]:
            started = time.perf_counter()
            done = works[name]()
            items, seconds = (
                done if isinstance(done, tuple) else (done, time.perf_counter() - started)
            )
            rates[name].append(items / seconds)
    return {name: found[warm_up:] for name, found in rates.items()}


def compare(
    name: str,
    ours: Sequence[float],
    peer: Sequence[float],
    *,
    size: int,
    precision: str,
    details: Mapping[str, Any] | None = None,
) -> Record:
    """Return the comparison of two contestants' rates, paired by round."""
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    return Record(
        name=name,
        size=size,
        precision=precision,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        ratio_median=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        rounds=len(ratios),
        details=dict(details or {}),
    )


def add_options(parser: argparse.ArgumentParser, rounds: int = 5) -> None:
    """Add the options that every benchmark of this kind has."""
    parser.add_argument("--rounds", type=int, default=rounds, help="counted rounds (default 5)")
    parser.add_argument("--json", type=Path, help="write the records to this file")
    parser.add_argument("--table", action="store_true", help="print Markdown, for docs")


def emit(records: Sequence[Record], arguments: argparse.Namespace) -> None:
    """Write the JSON file if one is asked for, else print a table."""
    if arguments.json is not None:
        text = json.dumps([asdict(record) for record in records], indent=1)
        arguments.json.write_text(text + "\n")
    if arguments.json is None or arguments.table:
        print(markdown(records) if arguments.table else plain(records))


_HEADINGS = ("what", "px", "precision", "ours /s", "peer /s", "ratio", "range", "rounds")


def _cells(record: Record) -> tuple[str, ...]:
    return (
        record.name,
        str(record.size or "-"),
        record.precision,
        f"{record.ours:,.0f}",
        f"{record.peer:,.0f}",
        f"{record.ratio_median:.2f}",
        f"{record.ratio_low:.2f} to {record.ratio_high:.2f}",
        str(record.rounds),
    )


def markdown(records: Sequence[Record]) -> str:
    """Return the records as a Markdown table, details left out."""
    rows = [_HEADINGS, ("---",) * 3 + ("---:",) * 5, *map(_cells, records)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def plain(records: Sequence[Record]) -> str:
    """Return the records in aligned columns, each followed by its details."""
    rows = [_HEADINGS, *map(_cells, records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for number, record in reversed(list(enumerate(records))):
        if record.details:
            said = ", ".join(f"{name} {_short(value)}" for name, value in record.details.items())
            lines.insert(number + 2, f"    {said}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
