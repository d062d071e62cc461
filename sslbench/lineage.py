"""From a number to everything it stands on, and whether all of that is still so.

Each cell leaves a record: its fingerprint and the md5 of its outs. A number is sound when, along
its whole ancestry, every fingerprint is today's and every out on disk is the recorded one.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.core import params, pipeline, provenance, records
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell

NUMBERS = Path("report/numbers.csv")
RERUN = "run `dvc repro` (or `make snakemake`)"
MEND = "run `make mend`"  # DVC does not read again what it knows by date and size


@dataclass(frozen=True)
class Fault:
    """One thing that does not hold: where, what, and what to do."""

    cell: str
    what: str
    mend: str

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.cell}: {self.what}; {self.mend}"


def fingerprints(root: Path = Path()) -> dict[str, str]:
    """Return today's fingerprint of every cell that leaves a record, by the record's path."""
    return {
        cell.record: provenance.fingerprint(cell, root)
        for cell in pipeline.cells(root)
        if cell.record is not None
    }


def check_cell(cell: Cell, root: Path = Path()) -> list[Fault]:
    """Return what is wrong with one cell's own record, inputs and outs."""
    if cell.record is None:
        return []
    if not (root / cell.record).exists():
        return [Fault(cell.name, f"{cell.record} is missing", RERUN)]
    try:
        record = records.read(root / cell.record)
        today = provenance.fingerprint(cell, root)
    except UserError as error:
        return [Fault(cell.name, str(error), RERUN)]
    if strange := set(record.get("outs", {})) - set(cell.outs):
        what = f"its record names {min(strange)!r}, which it does not write"
        return [Fault(cell.name, what, RERUN)]
    faults = _check_lock_hash(cell, record, root)
    if record.get("fingerprint") != today:
        what = "its code, parameters or inputs changed since it ran"
        faults.append(Fault(cell.name, what, RERUN))
    for path, recorded in record.get("outs", {}).items():
        faults += _check_out(cell, path, recorded, root)
    return faults


def _check_out(cell: Cell, path: str, recorded: str, root: Path) -> list[Fault]:
    if not (root / path).exists():
        return [Fault(cell.name, f"{path} is missing", "run `dvc checkout`, or " + RERUN)]
    if provenance.md5(root / path) != recorded:
        return [Fault(cell.name, f"{path} is not the file that the cell wrote", MEND)]
    return []


def _check_lock_hash(cell: Cell, record: Mapping[str, Any], root: Path) -> list[Fault]:
    requirements = root / provenance.REQUIREMENTS
    recorded = record.get("environment", {}).get("lock_md5")
    if requirements.exists() and recorded != provenance.md5(requirements):
        what = f"made with another {provenance.REQUIREMENTS}"
        return [Fault(cell.name, what, f"force it with `dvc repro -f {cell.name}`")]
    return []


def check_against_lock(cell: Cell, locked: Mapping[str, Any], root: Path = Path()) -> list[Fault]:
    """Return where a cell's outs differ from what dvc.lock promises."""
    entry = locked.get(cell.name)
    if entry is None:
        return [Fault(cell.name, "dvc.lock does not know it", "run `dvc repro` or `dvc commit`")]
    faults: list[Fault] = []
    if cell.record is not None and (root / cell.record).exists():
        record = records.read(root / cell.record)
        if record.get("fingerprint") != provenance.fingerprint_from_lock(cell.name, entry):
            what = "its record and dvc.lock tell of different runs"
            faults.append(Fault(cell.name, what, RERUN))
    for out in entry.get("outs", ()):
        path = root / out["path"]
        if not path.exists():
            faults.append(Fault(cell.name, f"{out['path']} is missing", "run `dvc checkout`"))
        elif provenance.md5(path) != out["md5"]:
            what = f"{out['path']} is not what dvc.lock records"
            faults.append(Fault(cell.name, what, MEND))
    return faults


def check(cells: list[Cell], root: Path = Path(), *, lock: bool = True) -> list[Fault]:
    """Return every fault of some cells: records and, if asked, dvc.lock."""
    locked = provenance.lock(root) if lock else {}
    faults: list[Fault] = []
    for cell in cells:
        faults += check_cell(cell, root)
        if lock:
            faults += check_against_lock(cell, locked, root)
    return faults


@dataclass(frozen=True)
class Number:
    """A row of report/numbers.csv."""

    id: str
    row: Mapping[str, str]

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Dataset, method, protocol and metric."""
        dataset, method, protocol, metric = self.id.split("/")
        return dataset, method, protocol, metric


def numbers(root: Path = Path()) -> list[Number]:
    """Return the rows of the report.

    Raises:
        UserError: there is no report yet.
    """
    path = root / NUMBERS
    if not path.exists():
        raise UserError("no report yet", where=str(path), mend=RERUN)
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            found = [Number(row["id"], row) for row in csv.DictReader(handle)]
        for number in found:
            float(number.row["value"]), number.parts
    except (csv.Error, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"not a numbers.csv ({error})", where=str(path), mend=RERUN) from None
    return found


def find_number(identifier: str, root: Path = Path()) -> Number:
    """Return the row with an id `dataset/method/protocol/metric`.

    Raises:
        UserError: no such id; the message shows ids that look alike.
    """
    import difflib

    rows = numbers(root)
    for number in rows:
        if number.id == identifier:
            return number
    near = difflib.get_close_matches(identifier, [number.id for number in rows], 3, 0.3)
    mend = "alike: " + ", ".join(near) if near else "ids stand in " + str(NUMBERS)
    raise UserError(f"no number {identifier!r} in the report", mend=mend)


def cells_of(identifier: str, root: Path = Path()) -> list[Cell]:
    """Return the cells, one per seed, whose records a number's mean is made of.

    Raises:
        UserError: the id is not `dataset/method/protocol/metric`, or the grid has no such cells.
    """
    parts = identifier.split("/")
    if len(parts) != 4:
        mend = "write dataset/method/protocol/metric"
        raise UserError(f"{identifier!r} is no number's id", mend=mend)
    dataset, method, protocol, _ = parts
    wanted = {"dataset": dataset, "method": method, "protocol": protocol}
    found = [c for c in pipeline.cells(root) if wanted.items() <= dict(c.item).items()]
    if not found:
        raise UserError(f"the grid has no cell for {identifier!r}", where="params.yaml: grid")
    return found


def trace(identifier: str, root: Path = Path()) -> dict[str, Any]:
    """Return the whole ancestry of a number as plain data.

    A cell is `changed` where today's code, parameters and inputs are not those that it ran with.
    """
    ancestry = ancestry_of(identifier, root)
    values = params.load(root / pipeline.PARAMS)
    steps = [describe(cell, values, root) for cell in ancestry]
    for cell, step in zip(ancestry, steps, strict=True):
        today = provenance.fingerprint(cell, root, step["deps"])
        step["changed"] = cell.record is not None and step["fingerprint"] != today
    return {"id": identifier, "cells": steps}


def ancestry_of(identifier: str, root: Path = Path()) -> list[Cell]:
    """Return every cell that a number stands on, in running order."""
    found: dict[str, Cell] = {}
    for top in cells_of(identifier, root):
        found |= {cell.name: cell for cell in pipeline.ancestors(top, root)}
    return list(found.values())


def provenance_of(identifiers: Sequence[str], root: Path = Path()) -> dict[str, Any]:
    """Return {"numbers": {id: [cell names]}, "cells": {name: what it is made of}}."""
    values = params.load(root / pipeline.PARAMS)
    told: dict[str, Any] = {}
    names: dict[str, list[str]] = {}
    for identifier in identifiers:
        ancestry = ancestry_of(identifier, root)
        names[identifier] = [cell.name for cell in ancestry]
        for cell in ancestry:
            if cell.name not in told:
                told[cell.name] = describe(cell, values, root)
    return {"numbers": names, "cells": told}


def describe(cell: Cell, values: Mapping[str, Any], root: Path = Path()) -> dict[str, Any]:
    """Return what one cell is made of: command, parameters, hashes, environment.

    Args:
        cell: the cell.
        values: all of params.yaml.
        root: the project's root.
    """
    record = records.read(root / cell.record) if cell.record else {}
    return {
        "cell": cell.name,
        "command": cell.command,
        "params": {key: params.select(values, key) for key in cell.params},
        "deps": provenance.hash_deps(cell, root),
        "fingerprint": record.get("fingerprint"),
        "environment": record.get("environment", {}),
        "outs": record.get("outs", {}),
        "record": cell.record,
        "values": [
            {"metric": row["metric"], "value": row["value"]}
            for row in record.get("measurements", ())
            if row.get("role", "headline") == "headline"
        ],
    }


def check_report(root: Path = Path(), only: str | None = None) -> list[Fault]:
    """Return where report/numbers.csv, or one number of it, differs from the means of records."""
    faults = []
    for number in numbers(root) if only is None else [find_number(only, root)]:
        metric = number.parts[3]
        values = []
        for cell in cells_of(number.id, root):
            if cell.record is None or not (root / cell.record).exists():
                continue
            rows = records.read(root / cell.record).get("measurements", ())
            found = (r for r in rows if r["metric"] == metric and r.get("role") == "headline")
            values += [float(row["value"]) for row in found]
        mean = sum(values) / len(values) if values else float("nan")
        if not math.isclose(mean, float(number.row["value"]), rel_tol=1e-7):  # it has eight digits
            what = f"{NUMBERS} says {number.row['value']}, its records say {mean:.8g}"
            faults.append(Fault(number.id, what, "run the report stage again"))
    return faults
