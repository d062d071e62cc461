"""One GPU: how fast SimCLR trains, how near to the device's own limits, and beside lightly.

example: python -m benchmarks.gpu > gpu.json

SimCLR on ResNet-18 with the small stem, 32 px, batch 512, bf16, from images in memory; the peer is
lightly's example as published (fp32, all cores as loader workers). Prints one JSON object. Limits
are measured here: a bf16 matrix product and a copy. Bytes count every tensor that an operation
reads or writes, as without fusion.

UNMEASURED: written without a GPU at hand; only its run with --device cpu is tested.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks import rounds
from benchmarks.throughput.recipes import Case
from sslbench.core import seeding
from sslbench.core.errors import UserError

if TYPE_CHECKING:
    from sslbench.pretraining.loop import Loop

SIZE = 32
MATRIX_SIDE, COPY_BYTES = {"cuda": 8192, "cpu": 512}, {"cuda": 2**31, "cpu": 2**25}
REPEATS = 10


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda:0", help="cpu: only to see whether it runs")
    parser.add_argument("--images", type=int, default=16_384, help="images of a round")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    seeding.pin_threads(cores)
    seeding.seed_torch(0, cores)
    try:
        refuse_absent(arguments.device)
        print(json.dumps(measure(arguments, cores), indent=1))
    except UserError as error:
        sys.exit(f"benchmarks.gpu: {error}")


def refuse_absent(device: str) -> None:
    """Raise if the device is not there.

    Raises:
        UserError: says so.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("no CUDA device is here", mend="run it where one is, or give --device cpu")


def measure(arguments: argparse.Namespace, cores: int) -> dict[str, Any]:
    """Return the device, its limits, our rate with its shares of them, and the comparison."""
    from benchmarks.throughput import ours, peers

    device = arguments.device
    case = Case("simclr", SIZE, arguments.images, arguments.batch_size, None, cores, is_large=True)
    if case.images < case.batch_size:
        raise UserError("not one whole batch", where="--images", mend="raise it")
    loop = ours.make_loop(case, "bf16", device)
    work = work_per_image(loop)
    limits = {"matrix_flops": matrix_rate(device), "copy_bytes": copy_rate(device)}
    contestants = {
        "ours": waited(device, ours.rounds_of(loop)),
        "peer": waited(device, peers.pretrain(case, cores, device)),
    }
    forget_peak(device)
    contestants["ours"]()
    peak = peak_gib(device)
    rates = rounds.alternate(contestants, arguments.rounds)
    details = {"peer_workers": cores, "peer_precision": "fp32"}
    record = rounds.compare(
        "pretrain/simclr-resnet18",
        rates["ours"],
        rates["peer"],
        size=SIZE,
        precision="bf16",
        details=details,
    )
    return {
        "device": device_name(device),
        "limits_per_second": limits,
        "work_per_image": work,
        "share_of_matrix_rate": record.ours * work["flops"] / limits["matrix_flops"],
        "share_of_copy_rate": record.ours * work["bytes"] / limits["copy_bytes"],
        "peak_memory_gib": peak,
        "batch_size": case.batch_size,
        "records": [asdict(record)],
    }


def waited(device: str, work: rounds.Work) -> rounds.Work:
    """Return work that ends when the device has ended it."""

    def until_done() -> int:
        items = work()
        wait(device)
        return items

    return until_done


def wait(device: str) -> None:
    """Wait for all that the device was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def work_per_image(loop: Loop) -> dict[str, float]:
    """Return floating-point operations and bytes that one step spends on an image."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    from sslbench.methods.base import Progress

    class Traffic(TorchDispatchMode):
        """Counts the bytes of every tensor that an operation reads or writes."""

        moved = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            if not operation.is_view:
                leaves = torch.utils._pytree.tree_leaves((args, kwargs, result))
                self.moved += sum(x.nbytes for x in leaves if isinstance(x, torch.Tensor))
            return result

    per_epoch = loop.batches.per_epoch
    progress = Progress(0, loop.budget.epochs * per_epoch, per_epoch)
    pending = next(loop.batches.steps(0, 1))
    with FlopCounterMode(display=False) as flops:
        loop._step(progress, pending)
    with Traffic() as traffic:
        loop._step(progress, pending)
    return {
        "flops": flops.get_total_flops() / loop.batches.size,
        "bytes": traffic.moved / loop.batches.size,
    }


def matrix_rate(device: str) -> float:
    """Return floating-point operations per second of a square bf16 matrix product."""
    import torch

    side = MATRIX_SIDE[device.split(":")[0]]
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds(device, lambda: left @ right)


def copy_rate(device: str) -> float:
    """Return bytes per second, read and written, of a copy within the device's memory."""
    import torch

    source = torch.zeros(COPY_BYTES[device.split(":")[0]], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(device, lambda: target.copy_(source))


def seconds(device: str, call: Callable[[], object]) -> float:
    """Return the median time of a call after one that is not counted."""
    found = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        call()
        wait(device)
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def forget_peak(device: str) -> None:
    """Count the peak of memory from here on; a CPU process cannot."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: str) -> float:
    """Return the most memory held so far: the device's, or the process's on a CPU."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def device_name(device: str) -> str:
    """Return what the device is called."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"


if __name__ == "__main__":
    main()
