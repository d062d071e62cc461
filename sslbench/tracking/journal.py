"""A stage's journal: JSON lines that the recorder replays into MLflow. No mlflow here."""

from __future__ import annotations

import json
import os
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
    """Append-only event file of one executed stage; every line is flushed at once."""

    def __init__(self, start: Mapping[str, Any], folder: Path = FOLDER) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stamp = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        self.path = folder / f"{stamp}.jsonl"
        self._handle = self.path.open("a", encoding="utf-8")
        self._write({"event": "start", "pid": os.getpid(), **start})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers at a step."""
        self._write({"event": "metrics", "step": step, "values": dict(values)})

    def finish(self, status: str, **details: Any) -> None:
        """Record the end; status is FINISHED or FAILED, MLflow's words."""
        self._write({"event": "finish", "status": status, **details})
        self._handle.close()

    def _write(self, event: Mapping[str, Any]) -> None:
        line = {"time": time.time(), **event}
        self._handle.write(json.dumps(line, sort_keys=True) + "\n")
        self._handle.flush()


def start_recorder() -> None:
    """Start the recorder in the background; it leaves at once if one is running already."""
    FOLDER.parent.mkdir(exist_ok=True)
    with (FOLDER.parent / "recorder.log").open("a", encoding="utf-8") as log:
        subprocess.Popen(
            [sys.executable, "-m", "sslbench.tracking.recorder"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )


def flatten_epoch(row: dict[str, Any]) -> dict[str, float]:
    """Return one history row as flat metric names: loss, parts/x, health/x, learning_rate."""
    flat = {"loss": row["loss"], "learning_rate": row["learning_rate"]}
    for group in ("parts", "health"):
        flat |= {f"{group}/{name}": value for name, value in row.get(group, {}).items()}
    return flat
