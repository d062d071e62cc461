"""Finds files that are not what was written, by reading them: in the tree and in DVC's cache.

DVC believes a file whose date and size it knows, and a cache object that is read-only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sslbench.core import artifacts, pipeline, provenance
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell


def remove() -> list[Path]:
    """Remove every damaged file and object; return them."""
    locked = provenance.lock()
    found = sorted({*_outs(locked), *_objects(locked)})
    for path in found:
        path.unlink()
    return found


def spoilt_objects() -> list[Path]:
    """Return the objects of DVC's cache that dvc.lock needs and that are not what was written."""
    return list(_objects(provenance.lock()))


def _outs(locked: Mapping[str, Any]) -> Iterator[Path]:
    for cell in pipeline.cells():
        entry = locked.get(cell.name, {})
        promised = {out["path"]: out["md5"] for out in entry.get("outs", ())}
        if cell.record is None:
            yield from _differing(promised)
        elif Path(cell.record).exists():
            yield from _of_record(cell, entry, promised)


def _of_record(cell: Cell, entry: Mapping[str, Any], promised: Mapping[str, str]) -> Iterator[Path]:
    """Yield the damaged files of one cell; its record says what the others were."""
    record = Path(cell.record or "")
    try:
        content = artifacts.read_json(record)
        recorded = dict(content["outs"])
    except (UserError, KeyError, TypeError, ValueError):
        yield record
        return
    yield from _differing(recorded)
    # Only the lock can tell of the record itself, and only if it tells of the same run.
    if entry and content.get("fingerprint") == provenance.fingerprint_from_lock(cell.name, entry):
        yield from _differing({str(record): promised[str(record)]})


def _differing(promised: Mapping[str, str]) -> Iterator[Path]:
    for name, md5 in promised.items():
        path = Path(name)
        if not path.exists() or provenance.md5(path) == md5:
            continue
        yield from (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _objects(locked: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the objects of DVC's cache that dvc.lock needs and whose content is not their name."""
    done = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True, check=False)
    if done.returncode:
        return
    cache = Path(done.stdout.strip()) / "files" / "md5"
    names = {out["md5"] for entry in locked.values() for out in entry.get("outs", ())}
    for name in sorted(names):
        path = cache / name[:2] / name[2:]
        if not path.exists():
            continue
        if provenance.md5(path) != name.removesuffix(".dir"):
            yield path
        elif name.endswith(".dir"):
            yield from _objects_of(cache, path)


def _objects_of(cache: Path, listing: Path) -> Iterator[Path]:
    for row in artifacts.read_json(listing):
        path = cache / row["md5"][:2] / row["md5"][2:]
        if path.exists() and provenance.md5(path) != row["md5"]:
            yield path
