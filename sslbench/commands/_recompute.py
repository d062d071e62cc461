"""Rebuild one number from nothing, in a scratch copy of the tree, and compare stage by stage.

The tree is today's, or that of a commit with its own requirements.lock. It is compared with the
artifacts on disk, or with what that commit's dvc.lock records.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sslbench import lineage, past
from sslbench.commands import _environment
from sslbench.core import git, provenance, records
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell

CODE = ("sslbench", "stages", "dvc.yaml", "params.yaml", "requirements.lock")
TABLES = "docs/tables"
DIGITS = 1e-7  # a value's relative error, at most, in report/numbers.csv, which has eight digits


@dataclass(frozen=True)
class Recorded:
    """What a rebuilt number is compared with.

    Attributes:
        cells: every cell below the number, in running order.
        hashes: the md5 of every out.
        fingerprints: of the cells whose records give the values, one per seed.
        values: the number's value for each seed, or [its mean] where only that is at hand.
        rounding: how far `values` may lie from what was computed: 0 but for a published mean.
    """

    cells: Sequence[Cell]
    hashes: Mapping[str, str]
    fingerprints: Sequence[str]
    values: Sequence[float]
    rounding: float = 0.0


def recompute(identifier: str, tolerance: float) -> int:
    """Rebuild a number of today's tree; print the verdict; return 0 unless it is different."""
    cells = lineage.ancestry_of(identifier)
    tops = lineage.cells_of(identifier)
    told = [records.read(Path(cell.record)) for cell in tops if cell.record]
    recorded = Recorded(
        cells=cells,
        hashes={out: provenance.md5(Path(out)) for cell in cells for out in cell.outs},
        fingerprints=[record["fingerprint"] for record in told],
        values=[_value(record, identifier) for record in told],
    )
    with tempfile.TemporaryDirectory(prefix="sslbench-recompute-") as folder:
        copy = Path(folder)
        _copy_code(copy)
        return _rebuild(identifier, recorded, copy, _environment.PYTHON, tolerance)


def recompute_at(identifier: str, name: str, tolerance: float, *, install: bool) -> int:
    """Rebuild a number as a commit has it; nothing of it need be on disk.

    Args:
        identifier: dataset/method/protocol/metric.
        name: any name of a commit.
        tolerance: largest absolute difference that is no fault.
        install: whether to install the commit's requirements.lock where it differs from what is
            installed here; else it is rebuilt with the packages of this interpreter.

    Raises:
        UserError: no such commit or number, its values are nowhere at hand, or a stage failed.
    """
    commit = git.commit(name, Path())
    if commit is None:
        raise UserError(f"git knows no commit {name!r}", mend="see `git log -- dvc.lock`")
    with tempfile.TemporaryDirectory(prefix="sslbench-recompute-") as folder:
        copy = past.export(commit, Path(folder))
        recorded = _recorded_at(identifier, copy)
        python = _environment.python_for(copy, install=install)
        return _rebuild(identifier, recorded, copy, python, tolerance)


def _recorded_at(identifier: str, copy: Path) -> Recorded:
    """Return what the dvc.lock of an exported commit tells of a number."""
    locked = provenance.lock(copy)
    cells = lineage.ancestry_of(identifier, copy)
    if missing := [cell.name for cell in cells if cell.name not in locked]:
        what = f"{provenance.LOCK} of that commit does not know {missing[0]}"
        raise UserError(what, mend="choose a commit that recorded a run")
    hashes = {out["path"]: out["md5"] for cell in cells for out in locked[cell.name]["outs"]}
    tops = lineage.cells_of(identifier, copy)
    fingerprints = [provenance.fingerprint_from_lock(c.name, locked[c.name]) for c in tops]
    told = [past.record(cell, hashes, Path()) for cell in tops]
    if all(told):
        values = [_value(record, identifier) for record in told]
        return Recorded(cells, hashes, fingerprints, values)
    published = _published(identifier, fingerprints)
    return Recorded(cells, hashes, fingerprints, [published], DIGITS * abs(published))


def _published(identifier: str, fingerprints: Sequence[str]) -> float:
    """Return a number's mean from the tables in docs, by its id and fingerprints.

    Raises:
        UserError: no table has it.
    """
    for path in sorted(Path(TABLES).glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                told = row.get("fingerprints", "")  # tables of layers and costs have none
                if row.get("id") == identifier and set(told.split(";")) == set(fingerprints):
                    return float(row["value"])
    what = f"the recorded values of {identifier} are not at hand"
    raise UserError(what, where=TABLES, mend="`dvc fetch` brings its records")


def _copy_code(copy: Path) -> None:
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in CODE:
        source = Path(name)
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=skip)
        elif source.exists():
            shutil.copy2(source, copy / name)


def _rebuild(identifier: str, recorded: Recorded, copy: Path, python: str, tolerance: float) -> int:
    for cell in recorded.cells:
        print(f"  {cell.name}", flush=True)
        _run(cell, copy, python)
    return _compare(identifier, recorded, copy, tolerance)


def _run(cell: Cell, copy: Path, python: str) -> None:
    command = [python, "-m", f"stages.{cell.program}", *cell.arguments]
    environment = {**os.environ, "SSLBENCH_TRACKING": "off", "PYTHONPATH": str(copy)}
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(lines[-1] if lines else "failed without a word", where=cell.name)


def _compare(identifier: str, recorded: Recorded, copy: Path, tolerance: float) -> int:
    """Print the verdict: on files by their bits, on records by their values."""
    tops = lineage.cells_of(identifier, copy)
    told = [records.read(copy / cell.record) for cell in tops if cell.record]
    if [record["fingerprint"] for record in told] != list(recorded.fingerprints):
        print("its code, parameters or inputs are not those of the recorded run")
    values = [_value(record, identifier) for record in told]
    if len(recorded.values) != len(values):
        values = [fmean(values)]
    worst = max(abs(old - new) for old, new in zip(recorded.values, values, strict=True))
    first = next((cell for cell in recorded.cells if _differing(cell, recorded, copy)), None)
    if first is None and worst <= recorded.rounding:
        print(f"{identifier}: identical, bit for bit")
        return 0
    if first is not None:
        print(f"first stage that differs: {first.name}")
    verdict = "within tolerance" if worst <= tolerance else "different"
    print(f"{identifier}: {verdict}, largest difference {worst:.6f} (tolerance {tolerance:g})")
    return 0 if worst <= tolerance else 1


def _differing(cell: Cell, recorded: Recorded, copy: Path) -> list[str]:
    """Return the outs with other bits; a record also tells of the processor, so it is left out."""
    return [
        out
        for out in cell.outs
        if out != cell.record and provenance.md5(copy / out) != recorded.hashes[out]
    ]


def _value(record: Mapping[str, Any], identifier: str) -> float:
    metric = identifier.split("/")[3]
    rows = record.get("measurements", ())
    return float(
        next(r["value"] for r in rows if r["metric"] == metric and r.get("role") == "headline")
    )
