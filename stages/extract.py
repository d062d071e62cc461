"""A checkpoint and a data set -> frozen features of every named layer.

example: python -m stages.extract --checkpoint runs/simclr/seed0/checkpoint
             --data data/digits --out /tmp/features
"""

import argparse
from pathlib import Path

from sslbench.core import artifacts, params, seeding
from stages._run import Outcome, Run, run


def describe(parser: argparse.ArgumentParser) -> None:
    """Add this stage's options."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for the features")


def work(context: Run) -> Outcome:
    """Extract all splits."""
    seeding.seed_torch(0, context.threads)
    from sslbench.data.store import Dataset
    from sslbench.evaluation.features.extract import extract_features
    from sslbench.evaluation.features.model import load_backbone
    from sslbench.evaluation.features.settings import Extract

    arguments = context.arguments
    settings = params.build(Extract, context.params("extract"), "extract")
    backbone, info = load_backbone(arguments.checkpoint)
    dataset = Dataset.open(arguments.data)
    written = [
        extract_features(
            backbone,
            dataset.split(name),
            info,
            arguments.out,
            max_dim=settings.max_dim,
            batch_size=settings.batch_size,
            device=context.device,
            precision=settings.precision,
        )
        for name in artifacts.SPLITS
    ]
    return Outcome(outs=written)


if __name__ == "__main__":
    run("extract", describe, work, __doc__)
