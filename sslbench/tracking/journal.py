"""A stage's journal: JSON lines that the recorder replays into MLflow. No mlflow here.

Whoever writes a journal holds its file lock, so that a reader on any machine and after any crash
knows whether the writer lives; a process id would say so on one machine until its next start.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path("logs/journal")
SWITCH = "SSLBENCH_TRACKING"


def is_enabled() -> bool:
    """Whether runs are tracked; SSLBENCH_TRACKING=off switches it off."""
    return os.environ.get(SWITCH, "on") != "off"


class Journal:
    """Append-only event file of one executed stage; every line is on its way to the disk at once.

    The stage holds a lock on it for as long as it lives: that tells the recorder, which may run on
    another node of a cluster, where a process id would not.

    A disk that takes no more ends the tracking, never the run: `sslbench publish` makes up for it.
    """

    def __init__(self, start: Mapping[str, Any], folder: Path = FOLDER) -> None:
        stamp = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        self.path = folder / f"{stamp}.jsonl"
        self._handle: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = self._create()
        except OSError as error:
            self._stop(error)
        here = {"host": platform.node(), "pid": os.getpid()}
        self._write({"event": "start", **here, **start})

    def _create(self) -> int:
        """Make the file; it gets its name once it is locked, so no reader sees it without."""
        unseen = self.path.with_suffix(".tmp")
        handle = os.open(unseen, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        unseen.rename(self.path)
        return handle

    @property
    def is_open(self) -> bool:
        """Whether events are being written."""
        return self._handle is not None

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers at a step."""
        self._write({"event": "metrics", "step": step, "values": dict(values)})

    def finish(self, status: str, **details: Any) -> None:
        """Record the end; status is FINISHED or FAILED, MLflow's words."""
        self._write({"event": "finish", "status": status, **details})
        if self._handle is not None:
            os.close(self._handle)

    def _write(self, event: Mapping[str, Any]) -> None:
        if self._handle is None:
            return
        line = (json.dumps({"time": time.time(), **event}, sort_keys=True) + "\n").encode()
        try:
            while line:  # a disk that fills up takes a part and refuses the rest
                line = line[os.write(self._handle, line) :]
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        why = f"{self.path}: cannot write ({error.strerror})"
        print(f"tracking stopped, the run goes on; {why}; later: sslbench publish", file=sys.stderr)
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None


def start_recorder() -> None:
    """Start the recorder in the background; it leaves at once if one is running already."""
    command = [sys.executable, "-m", "sslbench.tracking.recorder"]
    path = FOLDER.parent / "recorder.log"
    try:
        with path.open("a", encoding="utf-8") as log:
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        print(f"{path}: no recorder ({error.strerror}); later: sslbench publish", file=sys.stderr)


def has_writer(path: Path) -> bool:
    """Whether the process that writes a journal lives."""
    with path.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as dotted names: {"a": {"b": 1}} as {"a.b": "1"}."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            flat.update(flatten(value, name))
        else:
            flat[name] = str(value)
    return flat


def flatten_epoch(row: dict[str, Any]) -> dict[str, float]:
    """Return one history row as flat metric names: loss, parts/x, health/x, learning_rate."""
    flat = {"loss": row["loss"], "learning_rate": row["learning_rate"]}
    for group in ("parts", "health"):
        flat |= {f"{group}/{name}": value for name, value in row.get(group, {}).items()}
    return flat


def logged(row: Mapping[str, Any]) -> tuple[str, int, float] | None:
    """Return a measurement's key, step and value in the store.

    What is no headline has a key of its own. Single epochs make a curve; its end, which has no
    number, is a headline too and gives None.
    """
    role = row.get("role", "headline")
    key = f"{row.get('split', 'test')}/{row['metric']}"
    if role == "headline":
        return key, 0, row["value"]
    if role == "epoch":
        epoch = row["detail"]["epoch"]
        return None if epoch is None else (f"{key}/epoch", epoch, row["value"])
    return f"{key}/{row['layer'] if role == 'layer' else role}", 0, row["value"]
