"""Where a step of ours spends its time: views, model, optimiser, and what is left, the host."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.throughput import ours
from benchmarks.throughput.recipes import Case
from sslbench.pretraining.batches import Batches
from sslbench.pretraining.loop import Loop

PARTS = ("views", "model", "optimiser", "health", "host")


class Stopwatch:
    """Seconds by part. On a device that runs ahead of the host, each part is waited for."""

    def __init__(self, device: str = "cpu") -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time added to a part."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = function(*args, **kwargs)
            self._wait()
            self.seconds[part] += time.perf_counter() - started
            return result

        return wrapped


def of_a_step(case: Case, precision: str) -> Callable[[], dict[str, float]]:
    """Return work that trains for one epoch and returns each part's share of it, summing to 1."""
    watch = Stopwatch()
    loop = ours.make_loop(case, precision, batches_class=_timed_batches(watch))
    attach(loop, watch)
    train = ours.rounds_of(loop)

    def work() -> dict[str, float]:
        watch.seconds.clear()
        started = time.perf_counter()
        train()
        return split(watch, time.perf_counter() - started)

    return work


def attach(loop: Loop, watch: Stopwatch) -> None:
    """Time the loop's parts from outside; the loop itself knows nothing of it."""
    method = loop.method
    method.forward = watch.timed("model", method.forward)
    loop.fabric.backward = watch.timed("model", loop.fabric.backward)
    for stepper in loop.steppers.values():
        stepper.step = watch.timed("optimiser", stepper.step)
    method.before_step = watch.timed("optimiser", method.before_step)
    loop._row = watch.timed("health", loop._row)


def split(watch: Stopwatch, whole: float) -> dict[str, float]:
    """Return the shares of a time; the host has what no part had."""
    found = {part: watch.seconds[part] / whole for part in PARTS[:-1]}
    return {**found, "host": 1.0 - sum(found.values())}


def _timed_batches(watch: Stopwatch) -> type[Batches]:
    class TimedBatches(Batches):
        finish = watch.timed("views", Batches.finish)

    return TimedBatches
