"""What cells cost, as far as tracking kept it on this machine; read without mlflow (4 s).

A record holds no time and no memory, so that a second run gives the same bytes. The stage frame
sends both to tracking: they lie in a journal, and once it is replayed in the local store, whose
three tables read here have kept their shape over many versions of MLflow (a test writes one with
MLflow's own client). A server is not asked, nor does a cell that came from `dvc pull` have a cost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.tracking.journal import FOLDER
from sslbench.tracking.store import DATABASE, FINGERPRINT

_SECONDS, _PEAK = "system/stage_wall_seconds", "system/stage_peak_rss_mib"
_QUERY = """
SELECT tag.value, seconds.value, peak.value
FROM tags AS tag
JOIN latest_metrics AS seconds ON seconds.run_uuid = tag.run_uuid AND seconds.key = ?
JOIN latest_metrics AS peak ON peak.run_uuid = tag.run_uuid AND peak.key = ?
JOIN runs ON runs.run_uuid = tag.run_uuid
WHERE tag.key = ? AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'
"""


@dataclass(frozen=True)
class Cost:
    """What one cell took.

    Attributes:
        seconds: wall clock, imports included.
        peak_mib: largest resident memory of the process; a GPU's own is not in it.
    """

    seconds: float
    peak_mib: float


def costs(fingerprints: Collection[str], root: Path = Path()) -> dict[str, Cost]:
    """Return fingerprint -> cost of those cells whose run was tracked here; none is no error."""
    found = {**_of_store(root / DATABASE), **_of_journals(root / FOLDER)}
    return {name: found[name] for name in fingerprints if name in found}


def _of_store(path: Path) -> dict[str, Cost]:
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as store:
            rows = store.execute(_QUERY, (_SECONDS, _PEAK, FINGERPRINT)).fetchall()
    except sqlite3.Error:
        return {}  # locked for long, or of a shape that we do not know: then costs are not known
    return {fingerprint: Cost(seconds, peak) for fingerprint, seconds, peak in rows}


def _of_journals(folder: Path) -> dict[str, Cost]:
    found: dict[str, Cost] = {}
    for path in sorted(folder.glob("*.jsonl")):
        fingerprint = ""
        for event in _events(path):
            fingerprint = event.get("fingerprint", fingerprint)
            usage = event.get("system") or {}
            if event.get("status") == "FINISHED" and _SECONDS in usage and _PEAK in usage:
                found[fingerprint] = Cost(usage[_SECONDS], usage[_PEAK])
    return found


def _events(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:  # the recorder has just replayed it
        return
    for line in lines:
        if line.endswith("\n"):  # else it is being written
            yield json.loads(line)
