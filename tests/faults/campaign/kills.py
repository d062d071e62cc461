"""Processes that are killed: a stage, its engine, or all of a session, at random moments."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.faults.campaign.project import (
    CELLS,
    ENGINES,
    PRETRAIN,
    Bench,
    Try,
    end_all_in,
    stages_in,
    start,
)  # fmt: skip

VICTIMS = ("the stage", "the engine", "both at once")
PATIENCE = 180


def every_stage(engine: str, bench: Bench, tries: int) -> Iterator[Try]:
    """kill -9 of each stage, of its engine and of both, at random and while it writes."""
    for place, cell in enumerate(CELLS):
        for number in range(tries):
            victim = VICTIMS[(number + place) % len(VICTIMS)]
            writes = number % 2 == 1
            yield _one(bench, engine, cell, victim, signal.SIGKILL, writes=writes)


def schedulers(engine: str, bench: Bench, tries: int) -> Iterator[Try]:
    """SIGTERM, as schedulers send it, and Ctrl-C."""
    for _ in range(min(tries, 2)):
        for victim in VICTIMS:
            yield _one(bench, engine, PRETRAIN, victim, signal.SIGTERM)
        yield _one(bench, engine, PRETRAIN, "both at once", signal.SIGINT)


def storm(engine: str, bench: Bench, tries: int) -> Iterator[Try]:
    """One run of the whole grid, killed again and again."""
    folder, kills = bench.copy(*CELLS), 0
    for _ in range(4 * tries):
        process = start(folder, ENGINES[engine])
        try:
            process.wait(bench.random.uniform(2, 25))
            break  # done before the kill
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    title = f"{kills} times kill -9 of everything in one run of the grid, {engine}"
    yield bench.mend(title, folder, ENGINES[engine])


def _one(
    bench: Bench, engine: str, cell: str, victim: str, how: signal.Signals, *, writes: bool = False
) -> Try:
    share = bench.random.random()
    for _ in range(3):
        folder = bench.copy(cell)
        process = start(folder, ENGINES[engine])
        stage = _wait_for(folder, cell.split("@")[0], process)
        seconds = share * bench.life[cell]
        if stage and (_written(folder, stage) if writes else _alive(stage, seconds)):
            break
        share /= 2  # the stage was done before its time had come
        process.wait()
        end_all_in(folder)
    _hit(process, stage, victim, how)
    name = {signal.SIGKILL: "kill -9"}.get(how, how.name)
    title = f"{name} of {victim} in {cell.split('@')[0]}, {engine}"
    moment = "while it wrote" if writes else f"at {share:.0%} of its life"
    return bench.mend(title, folder, ENGINES[engine], moment)


def _wait_for(folder: Path, stage: str, engine: subprocess.Popen) -> psutil.Process | None:
    program = "pretrain" if stage == "continue_pretraining" else stage
    deadline = time.monotonic() + PATIENCE
    while engine.poll() is None and time.monotonic() < deadline:
        for process in stages_in(folder):
            try:
                if process.cmdline()[2] == f"stages.{program}":
                    return process
            except (psutil.Error, IndexError):
                continue
        time.sleep(0.02)
    return None


def _alive(stage: psutil.Process, seconds: float) -> bool:
    """Wait; return whether the stage still runs."""
    try:
        stage.wait(seconds)
    except psutil.TimeoutExpired:
        return True
    return False


def _written(folder: Path, stage: psutil.Process) -> bool:
    """Wait for a half-written file of the stage; return whether one was seen."""
    while stage.is_running() and stage.status() != psutil.STATUS_ZOMBIE:
        for name in ("data", "runs", "metrics", "report", ".scratch"):
            if next((folder / name).rglob("*.tmp"), None):
                return True
    return False


def _hit(engine: subprocess.Popen, stage: psutil.Process | None, victim: str, how: int) -> None:
    """Send a signal, and wait for the engine's end: an orphan may live on."""
    try:
        if victim == "the stage" and stage is not None:
            stage.send_signal(how)
        elif victim == "the engine":
            engine.send_signal(how)
        else:
            os.killpg(engine.pid, how)
    except (psutil.NoSuchProcess, ProcessLookupError):
        pass
    engine.wait(PATIENCE)


def kill_once_resumable(folder: Path) -> None:
    """Kill a run as soon as its training can be resumed."""
    process = start(folder, ENGINES["dvc"])
    while not list((folder / ".scratch/pretrain").rglob("state.safetensors")):
        assert process.poll() is None, (folder / "said.log").read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
