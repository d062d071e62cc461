"""Check that numbers are what they claim to be.

Without --recompute: re-hashes every artifact, checks that each record's fingerprint is that of
today's inputs, and that dvc.lock agrees; for all cells, or for the ancestry of one number.
With --recompute: rebuilds one number from nothing in a scratch copy, and says identical, within
tolerance or different, with the first stage that differs.

examples: sslbench verify
          sslbench verify scenes/simclr/linear/top1 --recompute
"""

from __future__ import annotations

import argparse

from sslbench import lineage
from sslbench.core import pipeline
from sslbench.core.errors import UserError

FAULTS_SHOWN = 20


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("id", metavar="ID", nargs="?", help="dataset/method/protocol/metric")
    parser.add_argument("--recompute", action="store_true", help="rebuild the number")
    parser.add_argument("--no-lock", action="store_true", help="leave dvc.lock out of it")
    parser.add_argument(
        "--tolerance", type=float, default=0.02, help="for other hardware, absolute (default 0.02)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check, print, and return 1 if anything does not hold."""
    if arguments.id:
        lineage.find_number(arguments.id)
    elif arguments.recompute:
        raise UserError("--recompute needs the ID of one number", mend="see report/numbers.csv")
    faults = lineage.check(_cells(arguments.id), lock=not arguments.no_lock)
    if arguments.id is None:
        faults += lineage.check_report()
    for fault in faults[:FAULTS_SHOWN]:
        print(fault)
    if len(faults) > FAULTS_SHOWN:
        print(f"and {len(faults) - FAULTS_SHOWN} more")
    if faults:
        return 1
    print(f"verified: {len(_cells(arguments.id))} cells, every hash and fingerprint as recorded")
    if arguments.recompute:
        from sslbench.commands._recompute import recompute

        return recompute(arguments.id, arguments.tolerance)
    return 0


def _cells(identifier: str | None) -> list[pipeline.Cell]:
    if identifier is None:
        return pipeline.cells()
    return lineage.ancestry_of(identifier)
