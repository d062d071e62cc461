"""The ancestry of a number as an earlier commit recorded it, from git and dvc.lock alone.

Needs no artifact on disk: hashes, parameters and fingerprints stand in dvc.lock. Values are added
where DVC's cache, or the work tree, still has the record with the recorded hash.
"""

from __future__ import annotations

import configparser
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslbench import lineage
from sslbench.core import git, pipeline, provenance, records
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell

_CACHE = Path(".dvc/cache")
_FILES = (pipeline.GRAPH, pipeline.PARAMS, provenance.LOCK)


def trace(identifier: str, commit: str, root: Path = Path()) -> dict[str, Any]:
    """Return the whole ancestry of a number as plain data, as `lineage.trace` does.

    Args:
        identifier: dataset/method/protocol/metric.
        commit: any name of a commit that git knows.
        root: the project's root.

    Raises:
        UserError: no such commit, no graph in it, or no such number in its grid.
    """
    found = git.commit(commit, root)
    if found is None:
        raise UserError(f"git knows no commit {commit!r}", mend="see `git log -- dvc.lock`")
    with tree(found, root) as then:
        locked = provenance.lock(then)
        cells = [_describe(cell, locked, root) for cell in lineage.ancestry_of(identifier, then)]
    return {"id": identifier, "commit": found, "cells": cells}


def _describe(cell: Cell, locked: Mapping[str, Any], root: Path) -> dict[str, Any]:
    entry = locked.get(cell.name)
    if entry is None:
        what = f"{provenance.LOCK} of that commit does not know {cell.name}"
        raise UserError(what, mend="choose a commit that recorded a run")
    outs = {out["path"]: out["md5"] for out in entry.get("outs", ())}
    told = record(cell, outs, root)
    return {
        "cell": cell.name,
        "command": entry["cmd"],
        "params": entry.get("params", {}).get(pipeline.PARAMS, {}),
        "deps": {dep["path"]: dep["md5"] for dep in entry.get("deps", ())},
        "fingerprint": provenance.fingerprint_from_lock(cell.name, entry),
        "environment": told.get("environment", {}),
        "outs": outs,
        "record": cell.record,
        "values": [
            {"metric": row["metric"], "value": row["value"]}
            for row in told.get("measurements", ())
            if row.get("role", "headline") == "headline"
        ],
    }


def record(cell: Cell, outs: Mapping[str, str], root: Path = Path()) -> dict[str, Any]:
    """Return a cell's record if a file with its hash is at hand, else nothing.

    Args:
        cell: the cell.
        outs: md5 by path, as dvc.lock has them.
        root: the project's root; its tree and DVC's cache are looked into.
    """
    if cell.record is None or cell.record not in outs:
        return {}
    digest = outs[cell.record]
    here = root / cell.record
    if here.exists() and provenance.md5(here) == digest:
        return records.read(here)
    cached = cache(root) / "files" / "md5" / digest[:2] / digest[2:]
    if cached.exists() and provenance.md5(cached) == digest:
        return records.read(cached)
    return {}


def cache(root: Path = Path()) -> Path:
    """Return the folder of DVC's cache: cache.dir of its configuration, else .dvc/cache."""
    place = root / _CACHE
    for name in ("config", "config.local"):
        read = configparser.RawConfigParser()
        try:
            read.read(root / ".dvc" / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise UserError(f"not readable ({error})", where=f".dvc/{name}") from None
        if told := read.get("cache", "dir", fallback=None):
            place = root / ".dvc" / told  # absolute paths stay as they are
    return place


@contextmanager
def tree(commit: str, root: Path) -> Iterator[Path]:
    """Yield a folder with the graph, parameters and lock of a commit.

    Raises:
        UserError: the commit lacks one of them.
    """
    with tempfile.TemporaryDirectory(prefix="sslbench-past-") as folder:
        for name in _FILES:
            content = git.ask(root, "show", f"{commit}:./{name}")
            if content is None:
                raise UserError(f"commit {commit[:12]} has no {name}", mend="choose a later one")
            (Path(folder) / name).write_text(content, encoding="utf-8")
        yield Path(folder)


def export(commit: str, folder: Path, root: Path = Path()) -> Path:
    """Write the whole tree of a commit into an empty folder; return where the project is in it.

    Raises:
        UserError: git cannot read the commit.
    """
    top = git.ask(root, "rev-parse", "--show-toplevel") or str(root.resolve())
    below = git.ask(root, "rev-parse", "--show-prefix") or ""
    clone = ("clone", "--quiet", "--shared", "--no-checkout", "--", top, str(folder))
    checkout = ("checkout", "--quiet", "--detach", commit)
    if git.ask(root, *clone) is None or git.ask(folder, *checkout) is None:
        raise UserError(f"git cannot export commit {commit[:12]}", mend="run `git fsck`")
    return folder / below
