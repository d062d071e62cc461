"""Make the MLflow store reflect the artifacts on disk; twice is once."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.core import artifacts, pipeline, provenance
from sslbench.core import params as parameters
from sslbench.core.pipeline import Cell
from sslbench.core.records import read as read_record
from sslbench.tracking import locks, recorder, store
from sslbench.tracking.journal import FOLDER, flatten_epoch

STAMP = Path("logs/published.json")


@dataclass(frozen=True)
class Published:
    """What a call did: runs made, runs that were there, cells without a record on disk."""

    created: int
    present: int
    absent: int


def publish(root: Path = Path()) -> Published:
    """Drain the journals, then add a run for every cell whose record no run carries.

    Waits for a running recorder. Works on an empty store after `dvc pull`. Where neither the
    records nor the local store changed since the last call, mlflow is not even imported (4 s).

    Raises:
        UserError: the store does not answer, or is locked; another call goes on from there.
    """
    records = _records(root)
    absent = sum(cell.record is not None for cell in pipeline.cells(root)) - len(records)
    if _is_published(records):
        return Published(0, len(records), absent)
    with locks.locked(locks.RECORDER), locks.locked(locks.STORE):
        mirror = store.Store()
        recorder.drain(mirror, until_quiet=False)
        with store.reachable():
            known = mirror.fingerprints()
            new = [found for found in records if found[2]["fingerprint"] not in known]
            for cell, path, record in new:
                _publish_cell(mirror, cell, path, record)
            if new:
                mirror.settle()
        if store.DATABASE.exists():
            artifacts.write_json(STAMP, _stamp(records))
    return Published(len(new), len(records) - len(new), absent)


def _records(root: Path) -> list[tuple[Cell, Path, dict[str, Any]]]:
    """Return each cell whose record is on disk, with the record."""
    paths = [(cell, root / cell.record) for cell in pipeline.cells(root) if cell.record]
    return [(cell, path, read_record(path)) for cell, path in paths if path.exists()]


def _stamp(records: list[tuple[Cell, Path, dict[str, Any]]]) -> dict[str, Any]:
    """Return what changes when a record or the local store does."""
    status = store.DATABASE.stat()
    return {
        "fingerprints": {cell.name: record["fingerprint"] for cell, _, record in records},
        "store": [status.st_ino, status.st_size, status.st_mtime_ns],
    }


def _is_published(records: list[tuple[Cell, Path, dict[str, Any]]]) -> bool:
    """Return whether the last call left nothing to do; a server must always be asked."""
    if os.environ.get("MLFLOW_TRACKING_URI") or any(FOLDER.glob("*.jsonl")):
        return False
    if not store.DATABASE.exists() or not STAMP.exists():
        return False
    return bool(artifacts.read_json(STAMP) == _stamp(records))


def _publish_cell(mirror: store.Store, cell: Cell, path: Path, record: dict[str, Any]) -> None:
    values = parameters.load(Path(pipeline.PARAMS))
    event = {
        "cell": cell.name,
        "stage": cell.program,
        "item": cell.item,
        "command": cell.command,
        "fingerprint": record["fingerprint"],
        "params": {key: parameters.select(values, key) for key in cell.params},
        "deps": _data(cell),
        "time": time.time(),
    }
    run = mirror.open_run(event)
    mirror.log_metrics(run, _curves(record))
    mirror.log_record(run, record, path)
    mirror.finish(run, "FINISHED", time.time())


def _data(cell: Cell) -> dict[str, str]:
    """Return the md5 of the data sets that a cell reads, as far as they are on disk."""
    names = [dep for dep in cell.deps if dep.endswith(".arrow") and Path(dep).exists()]
    return {name: provenance.md5(Path(name)) for name in names}


def _curves(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the loss curve of a pretraining record as metric events."""
    return [
        {"time": time.time(), "step": row["epoch"], "values": flatten_epoch(row)}
        for row in record.get("history", ())
    ]
