"""A checkpoint and a data set -> numbers, by a protocol that trains the weights further.

example: python -m stages.transfer --protocol finetune --seed 0
             --checkpoint runs/simclr/seed0/checkpoint --data data/digits
"""

import argparse
from pathlib import Path

from sslbench.core import params, seeding
from stages._run import Outcome, Run, run


def describe(parser: argparse.ArgumentParser) -> None:
    """Add this stage's options."""
    parser.add_argument("--protocol", required=True, help="see `sslbench protocols`")
    parser.add_argument("--seed", type=int, required=True, help="of the new head and the order")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set")


def work(context: Run) -> Outcome:
    """Run one transfer protocol; the test split is read once, after every choice is made."""
    arguments = context.arguments
    seeding.seed_torch(arguments.seed, context.threads)
    from sslbench.evaluation import protocols
    from sslbench.evaluation.protocols.parts.transfer import run_transfer

    protocol = protocols.load(arguments.protocol)
    key = f"transfer.{arguments.protocol}"
    settings = params.build(protocol.Params, context.params(key), key)
    result = run_transfer(
        protocol, arguments.checkpoint, arguments.data, settings, arguments.seed, context.device
    )
    return Outcome(extra=result.to_json())


if __name__ == "__main__":
    run("transfer", describe, work, __doc__)
