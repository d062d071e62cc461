"""Each side in a process of its own, held open, that works when told and reports when done.

Our stage sets the allocator and the determinism switches of its process; a user's script does
not, so the two must not share one. How threads wait for each other is set for both: on a machine
that others use it would decide everything.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.rounds import Work
from benchmarks.throughput.recipes import Case
from sslbench.core import seeding


class Side:
    """A process that keeps the works of one case ready."""

    def __init__(self, is_ours: bool, threads: int, counts_cpu: bool = False) -> None:
        """Start the process.

        Args:
            is_ours: whose code it runs.
            threads: numeric threads.
            counts_cpu: works report the seconds of CPU that the process used; workers of a loader
                are processes of their own and would not be counted.
        """
        self._counts_cpu = counts_cpu
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # Not a daemon: torch's loader starts workers of its own below it.
        self._process = context.Process(target=_serve, args=(theirs, is_ours, threads))
        self._process.start()

    def work(self, what: str, case: Case, setting: Any) -> Work:
        """Return work done over there: `views`, `pretrain` or `shares`, with its last argument."""

        def run() -> int | tuple[int, float]:
            items, seconds = self._exchange(what, case, setting)
            return (items, seconds) if self._counts_cpu else items

        return run

    def ask(self, what: str, case: Case, setting: Any) -> Any:
        """Return what one run of a work gives."""
        return self._exchange(what, case, setting)[0]

    def _exchange(self, *message: Any) -> tuple[Any, float]:
        """Return a work's result and the CPU seconds of its process."""
        self._pipe.send(message)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        result, seconds = answer
        return result, seconds

    def close(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join()


@dataclass
class _Ready:
    """Works made so far, all of one case: another case drops them and their memory."""

    case: Case | None = None
    works: dict[Hashable, Work] = field(default_factory=dict)


def _serve(pipe: Connection, is_ours: bool, threads: int) -> None:
    seeding.pin_threads(threads)
    if is_ours:
        seeding.seed_torch(0, threads)
    ready = _Ready()
    while (message := _next(pipe)) is not None:
        try:
            pipe.send(_answer(ready, is_ours, *message))
        except Exception as error:
            pipe.send(error)
    ready.works.clear()  # ends the workers of loaders


def _next(pipe: Connection) -> Any:
    """Return the next message; None where the other end is gone."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def _answer(ready: _Ready, is_ours: bool, what: str, case: Case, setting: Any) -> tuple[Any, float]:
    if case != ready.case:
        ready.case, ready.works = case, {}
    key = (what, setting)
    if key not in ready.works:
        ready.works[key] = _make(is_ours, what, case, setting)
    started = time.process_time()
    result = ready.works[key]()
    return result, time.process_time() - started


def _make(is_ours: bool, what: str, case: Case, setting: Any) -> Any:
    # Imported here: only after the threads are pinned.
    if not is_ours:
        from benchmarks.throughput import peers

        return {"views": peers.views, "pretrain": peers.pretrain}[what](case, setting)
    from benchmarks.throughput import ours, shares

    if what == "views":
        return ours.views(case)
    return {"pretrain": ours.pretrain, "shares": shares.of_a_step}[what](case, setting)
