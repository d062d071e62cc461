"""Frozen features -> numbers, by one protocol.

example: python -m stages.probe --protocol linear --checkpoint runs/simclr/seed0/checkpoint
             --features runs/simclr/seed0/features/scenes
"""

import argparse
from pathlib import Path

from sslbench.core import artifacts, params
from stages._run import Outcome, Run, run


def describe(parser: argparse.ArgumentParser) -> None:
    """Add this stage's options."""
    parser.add_argument("--protocol", required=True, help="see `sslbench protocols`")
    parser.add_argument("--checkpoint", type=Path, required=True, help="for the layers' order")
    parser.add_argument("--features", type=Path, required=True, help="folder of extracted splits")


def work(context: Run) -> Outcome:
    """Run one probe protocol; the test split is read once, after every choice is made."""
    from sslbench.evaluation import protocols
    from sslbench.evaluation.protocols.parts.probe import run_probe

    arguments = context.arguments
    protocol = protocols.load(arguments.protocol)
    layers = artifacts.read_json(arguments.checkpoint / artifacts.MODEL)["layers"]
    key = f"probe.{arguments.protocol}"
    settings = params.build(protocol.Params, context.params(key), key)
    return Outcome(extra=run_probe(protocol, arguments.features, layers, settings).to_json())


if __name__ == "__main__":
    run("probe", describe, work, __doc__)
