"""Pretraining beside lightly's published examples, in alternating rounds on one machine.

example: python -m benchmarks.throughput --json throughput.json
         python -m benchmarks.throughput --methods simclr --sizes 32 --images 1024 --rounds 3
         python -m benchmarks.throughput --cpu --images 512      (where other jobs run)

Every case is run by both sides, each in a process of its own: ours as `stages.pretrain` runs it,
in fp32 and in bf16, the peer as its example is written, in fp32, with the number of loader
workers (0, 1 or 2) that is best here. Rates are images per second of whole epochs, or views per
second for `views/...`, where nothing trains. Shares are of one epoch of ours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import rounds
from benchmarks.rounds import Record, Work
from benchmarks.throughput.processes import Side
from benchmarks.throughput.recipes import METHODS, SIZES, Case
from sslbench.core.errors import UserError

WORKERS = (0, 1, 2)
TRIAL_ROUNDS = 2


def main() -> None:
    """Run the command."""
    arguments = parse()
    try:
        wanted = cases(arguments)
        with both_sides(arguments) as (ours, peer):
            records = [record for case in wanted for record in measure(case, ours, peer, arguments)]
    except UserError as error:
        sys.exit(f"benchmarks.throughput: {error}")
    rounds.emit(records, arguments)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rounds.add_options(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="sides in pixels")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=None)
    parser.add_argument("--images", type=int, default=2048, help="images of a round")
    parser.add_argument("--batch-size", type=int, default=256, help="the examples' is 256")
    parser.add_argument("--data", type=Path, help="folder of images (default: embedded scenes)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="rates per second of CPU, one thread, no workers: for a machine that others use",
    )
    arguments = parser.parse_args()
    if arguments.cpu:
        arguments.threads = 1
    return arguments


def cases(arguments: argparse.Namespace) -> list[Case]:
    """Return what to measure."""
    if arguments.images < arguments.batch_size:
        mend = "raise --images or lower --batch-size"
        raise UserError("not one whole batch", where="--images", mend=mend)
    shared = (arguments.images, arguments.batch_size, arguments.data, arguments.threads)
    return [Case(method, size, *shared) for size in arguments.sizes for method in arguments.methods]


@contextmanager
def both_sides(arguments: argparse.Namespace) -> Iterator[tuple[Side, Side]]:
    """Yield our process and the peer's."""
    sides = tuple(Side(is_ours, arguments.threads, arguments.cpu) for is_ours in (True, False))
    try:
        yield sides
    finally:
        for side in sides:
            side.close()


def measure(case: Case, ours: Side, peer: Side, arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the comparisons of one case: views alone, then pretraining in each precision."""
    print(f"measuring {case.method} at {case.size} px", file=sys.stderr)
    for what in ("views", "pretrain"):
        workers = 0 if arguments.cpu else best(what, case, peer)
        contestants: dict[str, Work] = {"peer": peer.work(what, case, workers)}
        precisions = arguments.precisions or ("fp32", "bf16")
        if what == "views":  # views are fp32 whatever the network computes in
            precisions = ("fp32",)
        contestants |= {p: ours.work(what, case, p) for p in precisions}
        rates = rounds.alternate(contestants, arguments.rounds)
        for precision in precisions:
            details: dict[str, object] = {
                "clock": "cpu" if arguments.cpu else "wall",
                "threads": case.threads,
                "batch_size": case.batch_size,
                "peer_workers": workers,
                "peer_precision": "fp32",
            }
            if what == "pretrain":
                ours.ask("shares", case, precision)  # a first epoch, to warm up
                details |= ours.ask("shares", case, precision)
            yield rounds.compare(
                f"{what}/{case.method}",
                rates[precision],
                rates["peer"],
                size=case.size,
                precision=precision,
                details=details,
            )


def best(what: str, case: Case, peer: Side) -> int:
    """Return the number of workers with which the peer is fastest."""
    trial = {str(count): peer.work(what, case, count) for count in WORKERS}
    rates = rounds.alternate(trial, TRIAL_ROUNDS)
    return int(max(rates, key=lambda name: statistics.median(rates[name])))


if __name__ == "__main__":
    main()
