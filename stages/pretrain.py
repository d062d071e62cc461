"""Data, method and seed -> a pretrained backbone with its history.

example: python -m stages.pretrain --method simclr --seed 0 --data data/scenes --out /tmp/simclr

A killed run goes on from its last saved epoch when the same command is given again.
"""

import argparse
from pathlib import Path
from typing import Any

from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts, seeding
from sslbench.tracking.journal import flatten_epoch
from stages._run import Outcome, Run, run


def describe(parser: argparse.ArgumentParser) -> None:
    """Add this stage's options."""
    parser.add_argument("--method", required=True, help="see `sslbench methods`")
    parser.add_argument("--seed", type=int, required=True, help="of weights, order and views")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set")
    parser.add_argument("--predecessor", type=Path, help="checkpoint folder that it starts from")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder")


def work(context: Run) -> Outcome:
    """Pretrain one method with one seed; the last epoch's figures are its measurements."""
    arguments = context.arguments
    seeding.seed_torch(arguments.seed, context.threads)
    from sslbench.pretraining.pretrain import Request, pretrain

    request = Request(
        name=arguments.method,
        seed=arguments.seed,
        data=arguments.data,
        predecessor=arguments.predecessor,
        budget=context.params("pretrain"),
        recipe=context.params(f"recipes.{arguments.method}"),
        method_params=context.params(f"methods.{arguments.method}"),
        device=context.device,
        scratch=context.scratch,
        out=arguments.out,
    )

    def report(row: dict[str, Any]) -> None:
        context.log(flatten_epoch(row), row["epoch"])

    history, written = pretrain(request, report)
    labels = ModelInfo.read(arguments.out / artifacts.MODEL).labels
    detail = {"history": history, "labels": labels, "protocol": _PROTOCOL}
    return Outcome(_last(history), detail, written)


_PROTOCOL = {"name": "pretrain", "version": 1}


def _last(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not history:
        return []
    return [
        {"metric": name, "value": value, "unit": "1", "n": None, "split": "train"}
        for name, value in flatten_epoch(history[-1]).items()
    ]


if __name__ == "__main__":
    run("pretrain", describe, work, __doc__)
