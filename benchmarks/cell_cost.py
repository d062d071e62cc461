"""What one cell of each kind costs by itself: wall and CPU seconds of its command, median of runs.

example: make bench      (after `make reproduce`; --json for programs)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from sslbench.core import pipeline

STAGES = ("prepare", "extract", "probe", "transfer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [measure(cell, arguments.rounds) for cell in one_of_each()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['cell']:40} {row['wall_median']:6.2f} s wall [{row['wall_low']:.2f}, "
            f"{row['wall_high']:.2f}]  {row['cpu_median']:6.2f} s CPU  {row['rounds']} rounds"
        )


def one_of_each() -> list[pipeline.Cell]:
    """Return the first cell of each stage and protocol."""
    first: dict[tuple[str, str], pipeline.Cell] = {}
    for cell in pipeline.cells():
        if cell.stage in STAGES:
            first.setdefault((cell.stage, str(cell.item.get("protocol"))), cell)
    return list(first.values())


def measure(cell: pipeline.Cell, rounds: int) -> dict[str, object]:
    """Run a cell's command several times, after one warm-up that is not counted."""
    wall, cpu = [], []
    for _ in range(rounds + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        command = [sys.executable, "-m", f"stages.{cell.program}", *cell.arguments]
        environment = {**os.environ, "SSLBENCH_TRACKING": "off"}
        subprocess.run(command, check=True, env=environment)
        wall.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "cell": cell.name,
        "wall_median": statistics.median(wall[1:]),
        "wall_low": min(wall[1:]),
        "wall_high": max(wall[1:]),
        "cpu_median": statistics.median(cpu[1:]),
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
