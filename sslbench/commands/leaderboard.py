"""Print the report's leaderboard, what each protocol cost, and where the report is.

example: sslbench leaderboard
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from sslbench.core import pipeline, records
from sslbench.core.errors import UserError
from sslbench.reporting.csv_file import read_csv
from sslbench.reporting.tables import Number
from sslbench.reporting.terminal import aligned, leaderboard_text
from sslbench.tracking.costs import costs

REPORT = Path("report")
SHARED = "extract"  # what all probes of a data set share


def describe(parser: argparse.ArgumentParser) -> None:
    """Add no option."""


def execute(_: argparse.Namespace) -> int:
    """Print it."""
    path = REPORT / "numbers.csv"
    if not path.exists():
        raise UserError("no report yet", where=str(path), mend="run `make reproduce`")
    numbers = read_csv(path)
    print(leaderboard_text(numbers))
    print(cost_text(numbers))
    print(f"report: {REPORT / 'index.html'}")
    return 0


def cost_text(numbers: Sequence[Number], root: Path = Path()) -> str:
    """Return a table of what one cell of each protocol costs, or a line that it is not known."""
    groups = {**_extractions(root), **_evaluations(numbers)}
    known = costs({name for names in groups.values() for name in names}, root)
    rows = []
    for (dataset, protocol), names in sorted(groups.items()):
        cells = [known[name] for name in names if name in known]
        if cells:
            seconds = f"{median(cell.seconds for cell in cells):.1f}"
            peak = f"{max(cell.peak_mib for cell in cells):.0f}"
            place = f"{dataset} {protocol}"
            rows.append([place, seconds, peak, f"{len(cells)} of {len(names)}"])
    if not rows:
        return (
            "cost of protocols: not known here, no run of these cells was tracked on this machine\n"
        )
    heads = [["", "seconds", "peak", "tracked"], ["one cell of", "median", "MiB", "cells"]]
    note = (
        f"Wall clock and memory of the process (no GPU's), as tracked here; {SHARED}: the features "
        "that probes share."
    )
    return f"cost\n{aligned([*heads, *rows])}\n\n{note}\n"


def _evaluations(numbers: Sequence[Number]) -> dict[tuple[str, str], set[str]]:
    """Return the fingerprints behind the numbers, by data set and protocol."""
    groups: dict[tuple[str, str], set[str]] = {}
    for number in numbers:
        groups.setdefault((number.dataset, number.protocol), set()).update(number.fingerprints)
    return groups


def _extractions(root: Path) -> dict[tuple[str, str], set[str]]:
    groups: dict[tuple[str, str], set[str]] = {}
    for cell in pipeline.cells(root):
        if cell.stage == SHARED and cell.record and (root / cell.record).exists():
            fingerprint = records.read(root / cell.record)["fingerprint"]
            groups.setdefault((str(cell.item["dataset"]), SHARED), set()).add(fingerprint)
    return groups
