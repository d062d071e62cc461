"""Rebuild one number from nothing, in a copy of the tree, and compare stage by stage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sslbench import lineage
from sslbench.core import records
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell

CODE = ("sslbench", "stages", "dvc.yaml", "params.yaml", "requirements.lock")


def recompute(identifier: str, tolerance: float) -> int:
    """Re-run every cell below a number; print the verdict; return 0 unless it is different."""
    cells = lineage.ancestry_of(identifier)
    with tempfile.TemporaryDirectory(prefix="sslbench-recompute-") as folder:
        copy = Path(folder)
        _copy_code(copy)
        for cell in cells:
            print(f"  {cell.name}", flush=True)
            _run(cell, copy)
        return _compare(identifier, cells, copy, tolerance)


def _copy_code(copy: Path) -> None:
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in CODE:
        source = Path(name)
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=skip)
        elif source.exists():
            shutil.copy2(source, copy / name)


def _run(cell: Cell, copy: Path) -> None:
    command = [sys.executable, "-m", f"stages.{cell.program}", *cell.arguments]
    environment = {**os.environ, "SSLBENCH_TRACKING": "off", "PYTHONPATH": str(copy)}
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(lines[-1] if lines else "failed without a word", where=cell.name)


def _compare(identifier: str, cells: list[Cell], copy: Path, tolerance: float) -> int:
    first = next((cell for cell in cells if not _is_identical(cell, copy)), None)
    if first is None:
        print(f"{identifier}: identical, bit for bit")
        return 0
    print(f"first stage that differs: {first.name}")
    dataset, _, protocol, metric = identifier.split("/")
    pairs = [
        (_value(Path(cell.record), metric), _value(copy / cell.record, metric))
        for cell in cells
        if cell.record and cell.item.get("protocol") == protocol and cell.item["dataset"] == dataset
    ]
    worst = max(abs(old - new) for old, new in pairs)
    verdict = "within tolerance" if worst <= tolerance else "different"
    print(f"{identifier}: {verdict}, largest difference {worst:.6f} (tolerance {tolerance})")
    return 0 if worst <= tolerance else 1


def _is_identical(cell: Cell, copy: Path) -> bool:
    return all(Path(out).read_bytes() == (copy / out).read_bytes() for out in cell.outs)


def _value(record: Path, metric: str) -> float:
    content: dict[str, Any] = records.read(record)
    rows = content.get("measurements", ())
    return float(
        next(r["value"] for r in rows if r["metric"] == metric and r.get("role") == "headline")
    )
