"""What the graph itself costs: both engines with nothing to do, at grids of a few hundred cells.

example: python -m benchmarks.graph_cost --cells 300 1000 --table
         python -m benchmarks.graph_cost --cells 300 --profile

A copy of the project gets a preset's grid with as many seeds as make about that many cells. Every
out is a stand-in of a few bytes, each record has the fingerprint of its inputs, so that both
engines, and `sslbench sync`, take the grid for done. Wall and CPU seconds of whole commands, the
medians of some rounds.

touch           snakemake --touch --forceall, once: it lets Snakemake accept the stand-ins
record          sslbench sync dvc on them, once: check, dvc commit, check
dvc repro       and the commands below it: nothing is left to do
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sslbench.core import artifacts, pipeline, provenance

PARTS = (
    "dvc.yaml", "Snakefile", "workflow", "conf", "stages", "sslbench", "requirements.lock",
    ".dvcignore", ".gitignore",
)  # fmt: skip
SNAKEMAKE = ("snakemake", "--profile", "workflow/profiles/local")
SSLBENCH = (sys.executable, "-m", "sslbench.cli")
ONCE = {
    "touch": (*SNAKEMAKE, "--touch", "--forceall"),
    "record": (*SSLBENCH, "sync", "dvc"),
}
NO_OPS = {
    "dvc repro": ("dvc", "repro"),
    "dvc status": ("dvc", "status"),
    "snakemake -n": (*SNAKEMAKE, "-n"),
    "sslbench sync dvc": (*SSLBENCH, "sync", "dvc"),
}
SHOWN = 15  # lines of the profile


@dataclass(frozen=True)
class Cost:
    """What a command costs on a grid.

    Attributes:
        command: a key of `ONCE` or `NO_OPS`.
        cells: of the grid.
        lock_lines: lines of its dvc.lock, once there is one.
        wall, cpu: seconds, medians over rounds.
        rounds: how many.
    """

    command: str
    cells: int
    lock_lines: int
    wall: float
    cpu: float
    rounds: int


def main() -> None:
    """Measure what is asked for and print or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--preset", default="default", help="whose grid gets more seeds")
    parser.add_argument("--rounds", type=int, default=3, help="of the commands that do nothing")
    parser.add_argument("--json", type=Path, help="write the records to this file")
    parser.add_argument("--table", action="store_true", help="print Markdown, for docs")
    parser.add_argument("--profile", action="store_true", help="say what dvc repro spends it on")
    arguments = parser.parse_args()
    found = []
    for cells in arguments.cells:
        with tempfile.TemporaryDirectory(prefix="graph_cost.") as name:
            found += measure(Path(name), arguments.preset, cells, arguments.rounds)
            if arguments.profile:
                print(profile(Path(name)))
    if arguments.json:
        content = [asdict(record) for record in found]
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    if arguments.table or not arguments.json:
        print(table(found))


def measure(folder: Path, preset: str, num_cells: int, rounds: int) -> list[Cost]:
    """Return what each command costs on a grid of about that many cells, made in the folder."""
    copy_project(folder)
    compose(folder, preset, num_cells)
    stand_in(folder)
    cells = len(pipeline.cells(folder))
    lock = folder / provenance.LOCK
    found = []
    for name, command in (ONCE | NO_OPS).items():
        times = [run(folder, command) for _ in range(1 if name in ONCE else rounds)]
        wall, cpu = (statistics.median(values) for values in zip(*times, strict=True))
        lines = len(lock.read_text().splitlines()) if lock.exists() else 0
        found.append(Cost(name, cells, lines, wall, cpu, len(times)))
    return found


def copy_project(folder: Path) -> None:
    """Copy what a run reads, as a git repository of its own."""
    for name in PARTS:
        if Path(name).is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(name, folder / name, ignore=skip)
        else:
            shutil.copy2(name, folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy2(".dvc/config", folder / ".dvc/config")
    run(folder, ("git", "init", "-q"))


def compose(folder: Path, preset: str, num_cells: int) -> None:
    """Compose a grid of as near to that many cells as whole seeds allow."""
    counts = []
    for seeds in (1, 2):
        _compose(folder, preset, seeds)
        counts.append(len(pipeline.cells(folder)))
    more = counts[1] - counts[0]
    _compose(folder, preset, 1 + max(0, round((num_cells - counts[0]) / more)))


def _compose(folder: Path, preset: str, seeds: int) -> None:
    run(folder, (*SSLBENCH, "compose", preset, f"--set=grid.seeds={list(range(seeds))}"))


def stand_in(folder: Path) -> None:
    """Write every out of the grid: its own path, and records as a stage would leave them."""
    for cell in pipeline.cells(folder):
        outs = [out for out in cell.outs if out != cell.record]
        for out in outs:
            is_folder = not Path(out).suffix
            artifacts.write_text(folder / out / "stand_in.svg" if is_folder else folder / out, out)
        if cell.record is not None:
            record = {
                "fingerprint": provenance.fingerprint(cell, folder),
                "environment": {"lock_md5": provenance.md5(folder / provenance.REQUIREMENTS)},
                "outs": {out: provenance.md5(folder / out) for out in outs},
            }
            artifacts.write_json(folder / cell.record, record)


def run(folder: Path, command: Sequence[str]) -> tuple[float, float]:
    """Run a command in the folder and return its wall and CPU seconds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SSLBENCH_TRACKING": "off"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        sys.exit(f"benchmarks.graph_cost: `{' '.join(command)}` failed: {lines[-1]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def profile(folder: Path) -> str:
    """Return the functions that take most of `dvc repro` with nothing to do."""
    import io
    import pstats

    stored = folder / ".scratch" / "repro.prof"
    stored.parent.mkdir(exist_ok=True)
    run(folder, (sys.executable, "-m", "cProfile", "-o", str(stored), "-m", "dvc", "repro"))
    text = io.StringIO()
    stats = pstats.Stats(str(stored), stream=text).strip_dirs()
    stats.sort_stats("cumulative").print_stats(4 * SHOWN)
    stats.sort_stats("tottime").print_stats(SHOWN)
    return text.getvalue()


def table(records: Sequence[Cost]) -> str:
    """Return Markdown."""
    rows = [
        ("command", "cells", "lines of dvc.lock", "wall s", "CPU s", "rounds"),
        ("---",) + ("---:",) * 5,
        *(
            (
                record.command, f"{record.cells:,}", f"{record.lock_lines:,}",
                f"{record.wall:.1f}", f"{record.cpu:.1f}", str(record.rounds),
            )
            for record in records
        ),
    ]  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
