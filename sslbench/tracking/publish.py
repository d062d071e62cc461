"""Make the MLflow store reflect the artifacts on disk; twice is once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench import artifacts, pipeline, provenance
from sslbench import params as parameters
from sslbench.pipeline import Cell
from sslbench.tracking import recorder, store
from sslbench.tracking.journal import flatten_epoch


@dataclass(frozen=True)
class Published:
    """What a call did: runs made, runs that were there, cells without a record on disk."""

    created: int
    present: int
    absent: int


def publish(root: Path = Path()) -> Published:
    """Drain the journals, then add a run for every cell whose record no run carries.

    Waits for a running recorder. Works on an empty store after `dvc pull`.
    """
    with store.locked(recorder.RECORDER_LOCK), store.locked():
        mirror = store.Store()
        recorder.drain(mirror, until_quiet=False)
        known = mirror.fingerprints()
        created = present = absent = 0
        for cell in pipeline.cells(root):
            if cell.record is None:
                continue
            path = root / cell.record
            if not path.exists():
                absent += 1
                continue
            record = artifacts.read_json(path)
            if record["fingerprint"] in known:
                present += 1
                continue
            _publish_cell(mirror, cell, path, record)
            created += 1
    return Published(created, present, absent)


def _publish_cell(mirror: store.Store, cell: Cell, path: Path, record: dict[str, Any]) -> None:
    values = parameters.load(Path(pipeline.PARAMS))
    event = {
        "cell": cell.name,
        "stage": cell.stage,
        "item": cell.item,
        "command": cell.command,
        "fingerprint": record["fingerprint"],
        "params": {key: parameters.select(values, key) for key in cell.params},
        "deps": provenance.hash_deps(cell),
        "time": time.time(),
    }
    run = mirror.open_run(event)
    mirror.log_metrics(run, _curves(record))
    mirror.log_record(run, record, path)
    mirror.finish(run, "FINISHED", time.time())


def _curves(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the loss curve of a pretraining record as metric events."""
    return [
        {"time": time.time(), "step": row["epoch"], "values": flatten_epoch(row)}
        for row in record.get("history", ())
    ]
