"""Check that numbers are what they claim to be.

Without --recompute: re-hashes every artifact, checks that each record's fingerprint is that of
today's inputs, that dvc.lock and the objects of DVC's cache agree, and that dvc.yaml names all
code that a cell can import; for all cells, or for the ancestry of one number.
With --recompute: rebuilds one number from nothing in a scratch copy, and says identical, within
tolerance or different, with the first stage that differs. With --at it rebuilds the number as a
commit recorded it, with that commit's code and packages (installed into the copy where others are
here, some minutes); none of its artifacts need be on disk.

examples: sslbench verify
          sslbench verify scenes/simclr/linear/top1 --recompute
          sslbench verify scenes/simclr/linear/top1 --recompute --at HEAD
"""

from __future__ import annotations

import argparse

from sslbench import declared, lineage
from sslbench.commands import _damaged
from sslbench.core import pipeline
from sslbench.core.errors import UserError

FAULTS_SHOWN = 20


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("id", metavar="ID", nargs="?", help="dataset/method/protocol/metric")
    parser.add_argument("--recompute", action="store_true", help="rebuild the number")
    parser.add_argument("--at", metavar="COMMIT", help="the number as that commit recorded it")
    parser.add_argument(
        "--this-environment",
        action="store_true",
        help="with --at: the packages installed here, whatever that commit's lock says",
    )
    parser.add_argument("--no-lock", action="store_true", help="leave dvc.lock out of it")
    parser.add_argument(
        "--tolerance", type=float, default=0.02, help="for other hardware, absolute (default 0.02)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check, print, and return 1 if anything does not hold."""
    _refuse_half_a_question(arguments)
    if arguments.at:
        from sslbench.commands._recompute import recompute_at

        install = not arguments.this_environment
        return recompute_at(arguments.id, arguments.at, arguments.tolerance, install=install)
    if arguments.id:
        lineage.find_number(arguments.id)
    cells = pipeline.cells() if arguments.id is None else lineage.ancestry_of(arguments.id)
    faults = lineage.check(cells, lock=not arguments.no_lock) + declared.check(cells)
    faults += lineage.check_report(only=arguments.id)
    if arguments.id is None and not arguments.no_lock:
        faults += _spoilt_objects()
    for fault in faults[:FAULTS_SHOWN]:
        print(fault)
    if len(faults) > FAULTS_SHOWN:
        print(f"and {len(faults) - FAULTS_SHOWN} more")
    if faults:
        return 1
    print(f"verified: {len(cells)} cells, every hash and fingerprint as recorded")
    if arguments.recompute:
        from sslbench.commands._recompute import recompute

        return recompute(arguments.id, arguments.tolerance)
    return 0


def _spoilt_objects() -> list[lineage.Fault]:
    """Return what is wrong in DVC's cache: DVC believes an object that is read-only."""
    mend = "`make mend` removes it and makes it again"
    return [
        lineage.Fault("DVC's cache", f"{path} is not what its name says", mend)
        for path in _damaged.spoilt_objects()
    ]


def _refuse_half_a_question(arguments: argparse.Namespace) -> None:
    if arguments.recompute and not arguments.id:
        raise UserError("--recompute needs the ID of one number", mend="see report/numbers.csv")
    if arguments.at and not arguments.recompute:
        raise UserError("--at goes with --recompute", mend="`sslbench trace ID --at` only shows")
    if arguments.this_environment and not arguments.at:
        raise UserError("--this-environment goes with --at", mend="name a commit")
