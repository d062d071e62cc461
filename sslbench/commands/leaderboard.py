"""Print the report's leaderboard and where the report is.

example: sslbench leaderboard
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.core.errors import UserError
from sslbench.reporting.csv_file import read_csv
from sslbench.reporting.terminal import leaderboard_text

REPORT = Path("report")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add no option."""


def execute(_: argparse.Namespace) -> int:
    """Print it."""
    numbers = REPORT / "numbers.csv"
    if not numbers.exists():
        raise UserError("no report yet", where=str(numbers), mend="run `make reproduce`")
    print(leaderboard_text(read_csv(numbers)))
    print(f"report: {REPORT / 'index.html'}")
    return 0
