"""Where a number comes from: hashes as DVC makes them, fingerprints, and the environment.

A fingerprint is sha256 of {stage, command, params slice, md5 of each dep}. The stage computes it
from the work tree; `from_lock` computes the same from dvc.lock alone.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sslbench.core import git, pipeline
from sslbench.core import params as parameters
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell

FORMAT = 1
LOCK = "dvc.lock"
REQUIREMENTS = "requirements.lock"
_LIBRARIES = ("torch", "torchvision", "lightly", "timm", "lightning", "numpy", "scipy", "pyarrow")
_IGNORED = (".gitignore", ".snakemake_timestamp")


def md5(path: Path) -> str:
    """Return DVC's md5 of a file, or of a folder (with its `.dir` ending).

    Raises:
        UserError: the path does not exist.
    """
    if path.is_dir():
        return _md5_folder(path)
    try:
        status = path.stat()
        return _md5_file(str(path.absolute()), status.st_mtime_ns, status.st_size)
    except OSError:
        mend = "run the stage that makes it, or `dvc pull`"
        raise UserError("input not found", where=str(path), mend=mend) from None


@lru_cache(maxsize=100_000)
def _md5_file(path: str, _mtime_ns: int, _size: int) -> str:
    """Return a file's md5, read once per process while its stamp stays."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def _md5_folder(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _is_ignored(p))
    entries = [{"md5": md5(p), "relpath": p.relative_to(folder).as_posix()} for p in files]
    entries.sort(key=lambda entry: entry["relpath"])
    listing = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(listing).hexdigest() + ".dir"  # DVC's own rule; not a security hash


def _is_ignored(path: Path) -> bool:
    """Whether .dvcignore keeps DVC from seeing this file (byte code, temporary files)."""
    parts = path.parts
    return "__pycache__" in parts or path.name in _IGNORED or path.suffix in (".pyc", ".tmp")


def hash_deps(cell: Cell, root: Path = Path()) -> dict[str, str]:
    """Return the md5 of every dep of a cell, by path."""
    return {dep: md5(root / dep) for dep in cell.deps}


def fingerprint(cell: Cell, root: Path = Path(), deps: Mapping[str, str] | None = None) -> str:
    """Return the fingerprint of a cell on today's inputs.

    Args:
        cell: the cell.
        root: the project's root.
        deps: hashes already made by `hash_deps`, to save a second reading.

    Raises:
        UserError: an input or a key of params.yaml is missing.
    """
    values = parameters.load(root / pipeline.PARAMS)
    slices = {key: parameters.select(values, key) for key in cell.params}
    return _digest(cell.name, cell.command, slices, hash_deps(cell, root) if deps is None else deps)


def adhoc_fingerprint(stage: str, argv: Sequence[str], params: Path) -> str:
    """Return a hash for a run by hand, which has no cell: its arguments and all parameters."""
    return _digest(stage, " ".join(argv), {"all": parameters.load(params)}, {})


def fingerprint_from_lock(name: str, entry: Mapping[str, Any]) -> str:
    """Return the fingerprint of a cell as dvc.lock records it.

    Args:
        name: the cell's name.
        entry: its mapping under `stages` in dvc.lock.
    """
    slices = entry.get("params", {}).get(pipeline.PARAMS, {})
    deps = {dep["path"]: dep["md5"] for dep in entry.get("deps", ())}
    return _digest(name, entry["cmd"], slices, deps)


def _digest(name: str, command: str, slices: Mapping[str, Any], deps: Mapping[str, str]) -> str:
    content = {
        "format": FORMAT,
        "stage": name,
        "command": " ".join(command.split()),
        "params": slices,
        "deps": deps,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def lock(root: Path = Path()) -> dict[str, Any]:
    """Return the stages that dvc.lock records, by name; empty without a lock.

    Raises:
        UserError: the file is not a lock as DVC writes it.
    """
    path = root / LOCK
    if not path.exists():
        return {}
    stages = parameters.load(path).get("stages", {})
    if not isinstance(stages, dict) or not all(map(_is_locked, stages.values())):
        mend = "take the committed one: `git checkout dvc.lock`"
        raise UserError("is not a lock of DVC's", where=str(path), mend=mend)
    return stages


def _is_locked(entry: Any) -> bool:
    """Whether an entry of the lock has what is read from it here and in `lineage` and `past`."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), str):
        return False
    params = entry.get("params", {})
    files = [entry.get("deps", []), entry.get("outs", [])]
    if not isinstance(params, dict) or not all(isinstance(found, list) for found in files):
        return False
    return all(
        isinstance(file, dict) and all(isinstance(file.get(key), str) for key in ("path", "md5"))
        for found in files
        for file in found
    )


def environment(device: str, threads: int, root: Path = Path()) -> dict[str, Any]:
    """Return what a result depends on beyond its hashed inputs; no names, times or run ids."""
    requirements = root / REQUIREMENTS
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "processor": processor(device),
        "device": device.split(":")[0],
        "threads": threads,
        "deterministic": True,
        "lock_md5": md5(requirements) if requirements.exists() else None,
        "versions": {name: _version(name) for name in _LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def processor(device: str) -> str:
    """Return the model name of the device that computes."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def git_state(root: Path = Path()) -> dict[str, str | None]:
    """Return the commit and, where the tree is dirty, the sha256 of its diff."""
    commit = git.ask(root, "rev-parse", "HEAD")
    difference = git.ask(root, "diff", "HEAD", "--", ".", f":!{LOCK}") if commit else None
    dirty = hashlib.sha256(difference.encode()).hexdigest() if difference else None
    return {"commit": commit, "dirty_diff_sha256": dirty}


def commit_of(step: Mapping[str, Any], root: Path = Path()) -> str | None:
    """Return the commit whose dvc.lock first held a cell's record, or None if none does.

    Args:
        step: a cell as `lineage.describe` tells it.
        root: the project's root.
    """
    record = step.get("record")
    if not record or not (root / record).exists():
        return None
    log = git.ask(root, "log", "--reverse", "--format=%H", f"-S{md5(root / record)}", "--", LOCK)
    return log.splitlines()[0] if log else None
