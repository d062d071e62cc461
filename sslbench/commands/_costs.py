"""What one cell of each protocol cost here: the rows, and their CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

from sslbench.core import pipeline, records
from sslbench.reporting.tables import Number
from sslbench.tracking.costs import costs

SHARED = "extract"  # what all probes of a data set share


@dataclass(frozen=True)
class CostRow:
    """What the cells of one protocol on one data set cost.

    Attributes:
        dataset, protocol: which; protocol `extract` makes the features that probes share.
        seconds: wall clock of a cell, the median.
        longest: of the slowest cell.
        peak_mib: largest resident memory of a cell's process; a GPU's own is not in it.
        tracked: the number of cells whose run was tracked here.
        cells: the number of cells behind the report.
    """

    dataset: str
    protocol: str
    seconds: float
    longest: float
    peak_mib: float
    tracked: int
    cells: int


def cost_rows(numbers: Sequence[Number], root: Path = Path()) -> list[CostRow]:
    """Return a row for each protocol of which a cell was tracked on this machine."""
    groups = {**_extractions(root), **_evaluations(numbers)}
    known = costs({name for names in groups.values() for name in names}, root)
    rows = []
    for (dataset, protocol), names in sorted(groups.items()):
        cells = [known[name] for name in names if name in known]
        if cells:
            seconds = [cell.seconds for cell in cells]
            peak = max(cell.peak_mib for cell in cells)
            counts = len(cells), len(names)
            rows.append(CostRow(dataset, protocol, median(seconds), max(seconds), peak, *counts))
    return rows


def to_csv(rows: Sequence[CostRow]) -> str:
    """Return the text of a CSV whose columns are CostRow's, times and memory to a tenth."""
    buffer = io.StringIO()
    names = [field.name for field in fields(CostRow)]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = asdict(row).items()
        writer.writerow({k: f"{v:.1f}" if isinstance(v, float) else v for k, v in values})
    return buffer.getvalue()


def _evaluations(numbers: Sequence[Number]) -> dict[tuple[str, str], set[str]]:
    """Return the fingerprints behind the numbers, by data set and protocol."""
    groups: dict[tuple[str, str], set[str]] = {}
    for number in numbers:
        groups.setdefault((number.dataset, number.protocol), set()).update(number.fingerprints)
    return groups


def _extractions(root: Path) -> dict[tuple[str, str], set[str]]:
    groups: dict[tuple[str, str], set[str]] = {}
    for cell in pipeline.cells(root):
        if cell.stage == SHARED and cell.record and (root / cell.record).exists():
            fingerprint = records.read(root / cell.record)["fingerprint"]
            groups.setdefault((str(cell.item["dataset"]), SHARED), set()).add(fingerprint)
    return groups
