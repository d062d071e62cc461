"""Put right what a crash or a bad disk left, so that the next run goes on by itself.

Without --hash, in a moment: a dvc.lock or a DVC lock file that was cut short in mid-write is set
aside, and files from the future, which Snakemake would make again and again, get today's date.
With --hash: every file of the grid and every object of DVC's cache is read; damaged ones are
removed, for `dvc repro` to bring back or make again; `make mend` does both.

examples: sslbench mend
          sslbench mend --hash
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from sslbench.commands import _damaged
from sslbench.core import params, pipeline, provenance
from sslbench.core.errors import UserError

RWLOCK = Path(".dvc/tmp/rwlock")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--hash", action="store_true", help="read every file and object")


def execute(arguments: argparse.Namespace) -> int:
    """Mend, and say what was mended."""
    mended = [*_torn_lock(), *_stale_rwlock(), *_future_files()]
    if arguments.hash:
        mended += [f"{path}: damaged, removed" for path in _damaged.remove()]
    for line in mended:
        print(line)
    return 0


def _torn_lock() -> list[str]:
    """Set aside a dvc.lock that is cut short: DVC writes it in place, after every stage."""
    lock = Path(provenance.LOCK)
    if not lock.exists() or _is_whole(lock):
        return []
    aside = lock.with_suffix(".damaged")
    lock.replace(aside)
    return [f"{lock}: cut short, now {aside}; DVC's run cache knows what was done"]


def _is_whole(lock: Path) -> bool:
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(params.load(lock))
    except (UserError, Invalid):
        return False
    return True


def _stale_rwlock() -> list[str]:
    """Remove DVC's list of busy files if it is cut short or names no DVC that lives.

    DVC itself forgets the dead, but not where their process ids were given to others since.
    """
    try:
        busy = json.loads(RWLOCK.read_text())
        holders = list(busy.get("write", {}).values())
        holders += [holder for several in busy.get("read", {}).values() for holder in several]
        pids = {int(holder["pid"]) for holder in holders}
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError):
        pids = {-1}  # cut short
    if not pids or any(map(_is_dvc, pids)):
        return []
    RWLOCK.unlink()
    return [f"{RWLOCK}: of a DVC that is gone, removed"]


def _is_dvc(pid: int) -> bool:
    import psutil

    try:
        return any("dvc" in word for word in psutil.Process(pid).cmdline())
    except (psutil.Error, ValueError):
        return False


def _future_files() -> list[str]:
    """Date back to now what was written while the clock was ahead."""
    now, found = time.time(), []
    for path in {name for cell in pipeline.cells() for name in (*cell.deps, *cell.outs)}:
        for file in (path, *_below(path)):
            try:
                ahead = Path(file).stat().st_mtime > now
            except FileNotFoundError:
                continue
            if ahead:
                os.utime(file, (now, now))
                found.append(file)
    return [f"{len(found)} files from the future: dated back to now"] if found else []


def _below(path: str) -> list[str]:
    return [str(file) for file in Path(path).rglob("*")] if Path(path).is_dir() else []
