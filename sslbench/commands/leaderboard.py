"""Print the report's leaderboard, what each protocol cost, and where the report is.

example: sslbench leaderboard
         sslbench leaderboard --costs docs/tables/default.costs.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sslbench.commands import _costs
from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.reporting.csv_file import read_csv
from sslbench.reporting.terminal import aligned, leaderboard_text

REPORT = Path("report")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add --costs."""
    parser.add_argument("--costs", type=Path, metavar="FILE", help="write the costs to a CSV, too")


def execute(arguments: argparse.Namespace) -> int:
    """Print it."""
    path = REPORT / "numbers.csv"
    if not path.exists():
        raise UserError("no report yet", where=str(path), mend="run `make reproduce`")
    numbers = read_csv(path)
    rows = _costs.cost_rows(numbers)
    print(leaderboard_text(numbers))
    print(cost_text(rows))
    print(f"report: {REPORT / 'index.html'}")
    if arguments.costs is not None:
        _write_costs(arguments.costs, rows)
    return 0


def _write_costs(path: Path, rows: Sequence[_costs.CostRow]) -> None:
    if not rows:
        mend = "run the cells here; those that came from a remote have no cost"
        raise UserError("no run of these cells was tracked here", where=str(path), mend=mend)
    artifacts.write_text(path, _costs.to_csv(rows))
    print(f"costs: {path}")


def cost_text(rows: Sequence[_costs.CostRow]) -> str:
    """Return a table of what one cell of each protocol costs, or a line that it is not known."""
    if not rows:
        return (
            "cost of protocols: not known here, no run of these cells was tracked on this machine\n"
        )
    heads = [
        ["", "seconds", "longest", "peak", "tracked"],
        ["one cell of", "median", "", "MiB", "cells"],
    ]
    lines = [
        [f"{row.dataset} {row.protocol}", f"{row.seconds:.1f}", f"{row.longest:.1f}",
         f"{row.peak_mib:.0f}", f"{row.tracked} of {row.cells}"]
        for row in rows
    ]  # fmt: skip
    note = (
        f"Wall clock and memory of the process (no GPU's), as tracked here; {_costs.SHARED}: the "
        "features that probes share."
    )
    return f"cost\n{aligned([*heads, *lines])}\n\n{note}\n"
