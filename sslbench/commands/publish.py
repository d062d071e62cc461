"""Make the MLflow store reflect the artifacts on disk; doing it twice changes nothing.

example: sslbench publish
"""

from __future__ import annotations

import argparse

from sslbench.tracking.publish import publish


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--quiet", action="store_true", help="print nothing")


def execute(arguments: argparse.Namespace) -> int:
    """Publish and say what was done."""
    done = publish()
    if not arguments.quiet:
        absent = f", {done.absent} cells not on disk" if done.absent else ""
        print(f"MLflow: {done.created} runs made, {done.present} were there{absent}")
    return 0
