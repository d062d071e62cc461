"""Raw data -> memory-mapped splits: data/<dataset>/{train,val,test}.arrow and dataset.json.

example: python -m stages.prepare --dataset scenes --out data/scenes
"""

import argparse
from pathlib import Path

from sslbench.core import artifacts
from stages._run import Outcome, Run, run


def describe(parser: argparse.ArgumentParser) -> None:
    """Add this stage's options."""
    parser.add_argument("--dataset", required=True, help="a key under `data` in params.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder for the splits")


def work(context: Run) -> Outcome:
    """Prepare one data set; the measurements are its counts."""
    from sslbench.data.prepare import prepare

    arguments = context.arguments
    info = prepare(arguments.dataset, context.params(f"data.{arguments.dataset}"), arguments.out)
    counts = [
        {"metric": "images", "value": count, "unit": "images", "n": count, "split": split}
        for split, count in info["counts"].items()
    ]
    names = [*(f"{split}.arrow" for split in artifacts.SPLITS), artifacts.DATASET]
    outs = [arguments.out / name for name in names]
    return Outcome(counts, {"metric": info["metric"]}, outs)


if __name__ == "__main__":
    run("prepare", describe, work, __doc__)
