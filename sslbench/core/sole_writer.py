"""One process at a time makes a cell, also after an engine was killed and its stage lives on.

Such an orphan would write its outs into those of the run that came after it. So a stage holds its
cell's file lock; one that finds it taken ends an orphan, and waits for anything else.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell

FOLDER = Path(".scratch/locks")
_SHELLS = ("sh", "dash", "bash", "zsh", "ksh", "fish")


@contextmanager
def sole_writer(cell: Cell | None) -> Iterator[None]:
    """Hold a cell for this process, and remove what killed ones left half-written beside its outs.

    Args:
        cell: the cell, or None for a run by hand, whose outs are its own matter.
    """
    if cell is None:
        yield
        return
    with _opened(FOLDER / f"{cell.name}.lock") as handle:
        _take(handle)
        for out in cell.outs:
            for path in artifacts.leftovers(Path(out)):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        yield


def _opened(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b", buffering=0)
    except OSError as error:
        mend = "free some space or make the folder writable, then run again"
        raise UserError(f"cannot write ({error.strerror})", where=str(path), mend=mend) from None


def _take(handle: IO[bytes]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _make_room(handle)
        fcntl.flock(handle, fcntl.LOCK_EX)
    with suppress(OSError):  # the lock is what counts; on a full disk it tells of nobody
        handle.truncate(0)
        handle.write(json.dumps(_myself()).encode())


def _myself() -> dict[str, Any]:
    """Return what a lock says of its holder: the machine, its id and who started it."""
    import psutil

    starters = psutil.Process().parents()[:2]
    if starters and starters[0].name() not in _SHELLS:
        del starters[1:]  # an engine itself; else a shell, behind which the engine stands
    pids = [process.pid for process in starters]
    return {"machine": platform.node(), "process": os.getpid(), "starters": pids}


def _make_room(handle: IO[bytes]) -> None:
    """End the holder if those who started it are gone; else say whom we wait for."""
    handle.seek(0)
    try:
        holder = json.loads(handle.read())
    except ValueError:  # it is about to write it
        return
    pid, machine = holder["process"], holder["machine"]
    if machine == platform.node() and _is_orphan(pid, holder["starters"]):
        print(f"ending process {pid}, left of a killed run of this cell", file=sys.stderr)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    else:
        print(f"waiting for process {pid} on {machine}: it makes this cell", file=sys.stderr)


def _is_orphan(pid: int, starters: list[int]) -> bool:
    """Whether a process is a stage in this folder that has outlived one of its starters."""
    import psutil

    try:
        process = psutil.Process(pid)
        is_stage = any(word.startswith("stages.") for word in process.cmdline())
        is_ours = is_stage and Path(process.cwd()) == Path.cwd()
    except psutil.Error:
        return False
    return is_ours and not all(psutil.pid_exists(starter) for starter in starters)
