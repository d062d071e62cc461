"""Exactly the records that the grid names: none missing, none stray, none stale, none damaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sslbench.core.errors import UserError
from sslbench.core.pipeline import EVALUATIONS
from sslbench.reporting.records import (
    EXTRACT,
    PREPARE,
    PRETRAIN,
    columns_of,
    fault,
    headlines,
    with_main,
)

ROOT = "metrics"
RERUN = "run `dvc repro`, or `make snakemake`"
PRUNE = "run `sslbench prune` to remove what the grid does not name"
_AXES = (
    "methods",
    "seeds",
    *(axis for pair in EVALUATIONS.items() for axis in (pair[0], *pair[1])),
)


@dataclass(frozen=True, kw_only=True)
class ExpectedCell:
    """One record that the grid asks for.

    Attributes:
        dataset: the dataset it is about; the source for `pretrain`.
        method: the method, or None for `prepare`.
        protocol: the protocol, or `prepare`, `pretrain`, `extract`.
        seed: the seed, or None for `prepare`.
        path: the record, from the project's root, such as `metrics/digits/knn/byol/seed0.json`.
    """

    dataset: str
    method: str | None
    protocol: str
    seed: int | None
    path: str


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """One record that was read and found sound; fields as in `ExpectedCell`."""

    dataset: str
    method: str
    protocol: str
    seed: int
    path: str
    record: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """All that a report is made of.

    Attributes:
        grid: the axes, as in params.yaml.
        cells: the records of all probes and transfers, in the grid's order; the headline that
            the data set is reported by comes first.
        pretraining: the records of all pretrainings, in the grid's order.
    """

    grid: Mapping[str, Any]
    cells: tuple[CellRecord, ...]
    pretraining: tuple[CellRecord, ...]


def expected_cells(grid: Mapping[str, Any]) -> list[ExpectedCell]:
    """Return every record that a grid asks for, in a fixed order.

    Args:
        grid: lists `methods`, `seeds` and those of `EVALUATIONS`, and the text `source`.

    Raises:
        UserError: the grid lacks an axis.
    """
    if missing := [axis for axis in (*_AXES, "source") if axis not in grid]:
        raise UserError(f"missing key {missing[0]!r}", where="params.yaml: grid")
    prepared = [
        _cell(dataset, PREPARE) for dataset in dict.fromkeys([grid["source"], *targets(grid)])
    ]
    pretrained = list(_column(grid, grid["source"], PRETRAIN))
    measured = [
        cell
        for dataset, protocols in _evaluations(grid)
        for protocol in protocols
        for cell in _column(grid, dataset, protocol)
    ]
    return prepared + pretrained + measured


def targets(grid: Mapping[str, Any]) -> list[str]:
    """Return every data set that is evaluated on, in the grid's order."""
    return list(dict.fromkeys(dataset for axis in EVALUATIONS for dataset in grid[axis]))


def _evaluations(grid: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield data sets and what is run on each: features first where probes read them."""
    for targets_axis, axes in EVALUATIONS.items():
        for dataset in grid[targets_axis]:
            first = [EXTRACT] if "probes" in axes else []
            yield dataset, [*first, *(name for axis in axes for name in grid[axis])]


def _column(grid: Mapping[str, Any], dataset: str, protocol: str) -> Iterator[ExpectedCell]:
    for method in grid["methods"]:
        for seed in grid["seeds"]:
            yield _cell(dataset, protocol, method, seed)


def _cell(
    dataset: str, protocol: str, method: str | None = None, seed: int | None = None
) -> ExpectedCell:
    tail = f"{protocol}.json" if method is None else f"{protocol}/{method}/seed{seed}.json"
    path = f"{ROOT}/{dataset}/{tail}"
    return ExpectedCell(dataset=dataset, method=method, protocol=protocol, seed=seed, path=path)


def collect(
    metrics_dir: Path, grid: Mapping[str, Any], fingerprints: Mapping[str, str]
) -> Collected:
    """Return the records that the grid names, after refusing anything that does not fit it.

    Args:
        metrics_dir: the folder `metrics`.
        grid: see `expected_cells`.
        fingerprints: for each record's path, the fingerprint of today's inputs.

    Raises:
        UserError: a record is missing, damaged or stale, a file is stray, or two records of
            one column disagree on protocol version, metrics, samples or draws.
    """
    wanted = expected_cells(grid)
    _refuse_missing(metrics_dir, wanted)
    records = [_read(metrics_dir, cell) for cell in wanted]
    _refuse_stale(wanted, records, fingerprints)
    _refuse_stray(metrics_dir, wanted)
    pairs = list(zip(wanted, records, strict=True))
    made = [_made(cell, record) for cell, record in pairs if cell.method]
    pretraining = tuple(cell for cell in made if cell.protocol == PRETRAIN)
    own = {cell.dataset: str(record.get("metric", "")) for cell, record in pairs if not cell.method}
    cells = tuple(
        replace(cell, record=with_main(cell.record, own[cell.dataset]))
        for cell in made
        if cell.protocol not in (PRETRAIN, EXTRACT)
    )
    _refuse_unequal_columns(cells)
    return Collected(grid=grid, cells=cells, pretraining=pretraining)


def _made(cell: ExpectedCell, record: Mapping[str, Any]) -> CellRecord:
    assert cell.method is not None
    assert cell.seed is not None
    return CellRecord(
        dataset=cell.dataset,
        method=cell.method,
        protocol=cell.protocol,
        seed=cell.seed,
        path=cell.path,
        record=record,
    )


def by_method(cells: Iterable[CellRecord]) -> dict[str, list[CellRecord]]:
    """Return the cells of each method, in their order."""
    groups: dict[str, list[CellRecord]] = {}
    for cell in cells:
        groups.setdefault(cell.method, []).append(cell)
    return groups


def _file(metrics_dir: Path, path: str) -> Path:
    return metrics_dir / Path(path).relative_to(ROOT)


def _refuse_missing(metrics_dir: Path, wanted: Sequence[ExpectedCell]) -> None:
    missing = [cell.path for cell in wanted if not _file(metrics_dir, cell.path).is_file()]
    if missing:
        raise UserError(f"missing cell{_more(missing)}", where=missing[0], mend=RERUN)


def _refuse_stale(
    wanted: Sequence[ExpectedCell],
    records: Sequence[Mapping[str, Any]],
    fingerprints: Mapping[str, str],
) -> None:
    stale = [
        cell.path
        for cell, record in zip(wanted, records, strict=True)
        if fingerprints.get(cell.path) != record["fingerprint"]
    ]
    if stale:
        what = f"stale cell{_more(stale)}: its fingerprint is not that of today's inputs"
        raise UserError(what, where=stale[0], mend=RERUN)


def _refuse_stray(metrics_dir: Path, wanted: Sequence[ExpectedCell]) -> None:
    known = {cell.path for cell in wanted}
    # Names with a leading dot belong to tools: DVC's .gitignore, a writer's temporary file.
    found = (p for p in metrics_dir.rglob("*") if not p.is_dir() and not p.name.startswith("."))
    paths = sorted(f"{ROOT}/{path.relative_to(metrics_dir).as_posix()}" for path in found)
    if stray := [path for path in paths if path not in known]:
        raise UserError(f"stray file{_more(stray)}", where=stray[0], mend=PRUNE)


def _refuse_unequal_columns(cells: Sequence[CellRecord]) -> None:
    first: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for cell in cells:
        found = columns_of(cell.record)
        path, expected = first.setdefault((cell.dataset, cell.protocol), (cell.path, found))
        for verb, thing in found.items():
            if thing != expected[verb]:
                what = f"{verb} {thing}, but {path} {verb} {expected[verb]}"
                raise UserError(what, where=cell.path, mend=RERUN)


def _more(paths: Sequence[str]) -> str:
    return f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""


def _read(metrics_dir: Path, cell: ExpectedCell) -> Mapping[str, Any]:
    try:
        record = json.loads(_file(metrics_dir, cell.path).read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise _damaged(cell.path, f"not readable as JSON ({error})") from None
    if what := fault(cell.protocol, record):
        raise _damaged(cell.path, what)
    return dict(record)


def _damaged(path: str, what: str) -> UserError:
    return UserError(f"damaged cell: {what}", where=path, mend=f"delete it, then {RERUN}")


def number_ids(collected: Collected) -> list[str]:
    """Return the ids `dataset/method/protocol/metric` of all headline numbers."""
    ids = (
        f"{cell.dataset}/{cell.method}/{cell.protocol}/{entry['metric']}"
        for cell in collected.cells
        for entry in headlines(cell.record)
    )
    return list(dict.fromkeys(ids))
