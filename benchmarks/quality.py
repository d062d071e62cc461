"""Whether faster is as good: kNN after the same number of epochs, ours and lightly's example.

example: python -m benchmarks.quality --data cifar10_jpeg --table
         python -m benchmarks.quality --data cifar10_jpeg --seeds 2 --epochs 2 --images 1000

Both sides train the same network on the same images, as in benchmarks.throughput, one seed after
the other; a seed sets weights, order and views of its side. Then the network's last features of
the train images vote on test images (k = 20, temperature .1). The bar is the issue's: the mean of
ours within lightly's interval, or above it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslbench.core import artifacts, seeding
from sslbench.core.errors import UserError

THREADS, K, TEMPERATURE = 2, 20, 0.1
CHUNK = 500  # images through the network at a time
CONFIDENCE = 0.95


def main() -> None:
    """Measure what is asked for and print or write it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--methods", nargs="+", default=["simclr"])
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=4000, help="to train on, and of the bank")
    parser.add_argument("--queries", type=int, default=2000, help="test images")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the records here")
    parser.add_argument("--table", action="store_true", help="print a Markdown table")
    arguments = parser.parse_args()
    seeding.pin_threads(THREADS)
    seeding.seed_torch(0, THREADS)
    try:
        records = [record for method in arguments.methods for record in compare(method, arguments)]
    except UserError as error:
        sys.exit(f"benchmarks.quality: {error}")
    if arguments.json:
        artifacts.write_json(arguments.json, records)
    print(table(records) if arguments.table else json.dumps(records, indent=2))


def compare(method: str, arguments: argparse.Namespace) -> list[dict]:
    """Return one record for each precision of ours, all against the same runs of lightly's."""
    from benchmarks.throughput import ours, peers
    from benchmarks.throughput.recipes import Case

    case = Case(
        method, 32, arguments.images, arguments.batch_size, arguments.data / "train", THREADS
    )
    found: dict[str, list[float]] = {side: [] for side in ("lightly", *arguments.precisions)}
    for seed in range(arguments.seeds):
        network, work = peers.example(case, 0, seed=seed)
        for _ in range(arguments.epochs):
            work()
        found["lightly"].append(top1(network, arguments))
        for precision in arguments.precisions:
            loop = ours.make_loop(case, precision, seed=seed)
            for epoch in range(arguments.epochs):
                loop.epoch(epoch)
            found[precision].append(top1(loop.method.backbone, arguments))
        print(f"{method} seed {seed}: {found}", file=sys.stderr)
    return [record(method, p, found[p], found["lightly"]) for p in arguments.precisions]


def top1(network: Any, arguments: argparse.Namespace) -> float:
    """Return the share of test images on which the train images vote for the right class."""
    from sslbench.evaluation.protocols.parts import neighbours

    bank, labels = _features(network, arguments.data / "train", arguments.images)
    queries, truth = _features(network, arguments.data / "test", arguments.queries)
    setting = (K, TEMPERATURE)
    return float((neighbours.predict(queries, bank, labels, [setting])[setting] == truth).mean())


def _features(network: Any, folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return last features (count, dim) and labels (count,); classes are the folders' names."""
    import torch

    from benchmarks.throughput import images
    from benchmarks.throughput.ours import NORM
    from sslbench.views.apply import plain

    mean, std = (torch.tensor(values) for values in NORM)
    pixels = torch.from_numpy(images.load(folder, count, 32)).permute(0, 3, 1, 2)
    network.eval()
    with torch.inference_mode():
        parts = [network(plain(part, mean, std)).numpy() for part in pixels.split(CHUNK)]
    network.train()
    names = [path.parent.name for path in images.chosen(folder, count)]
    return np.concatenate(parts), np.unique(names, return_inverse=True)[1]


def record(method: str, precision: str, mine: list[float], theirs: list[float]) -> dict:
    """Return means, intervals and every value."""
    sides = {"ours": _summary(mine), "peer": _summary(theirs)}
    return {
        "name": f"quality/{method}",
        "precision": precision,
        **sides,
        "is_equal_or_better": sides["ours"]["mean"] >= sides["peer"]["interval"][0],
        "values": {"ours": mine, "peer": theirs},
    }


def _summary(values: list[float]) -> dict:
    from sslbench.evaluation.statistics.intervals import t_interval

    interval = t_interval(values, CONFIDENCE)
    return {"mean": float(np.mean(values)), "interval": [interval.low, interval.high]}


def table(records: Sequence[dict]) -> str:
    """Return the records as Markdown, in percent."""
    head = [
        "| method | precision | ours | lightly | seeds | within or better |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    return "\n".join(
        head
        + [
            f"| {row['name'].split('/')[1]} | {row['precision']} | {_shown(row['ours'])}"
            f" | {_shown(row['peer'])} | {len(row['values']['ours'])}"
            f" | {'yes' if row['is_equal_or_better'] else 'no'} |"
            for row in records
        ]
    )


def _shown(side: dict) -> str:
    low, high = side["interval"]
    return f"{100 * side['mean']:.1f} ± {50 * (high - low):.1f}"


if __name__ == "__main__":
    main()
