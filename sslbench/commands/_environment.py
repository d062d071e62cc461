"""A Python that has what a requirements.lock pins: this one, or one installed for it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from sslbench.core import provenance
from sslbench.core.errors import UserError

PYTHON = sys.executable


def python_for(copy: Path, *, install: bool) -> str:
    """Return the interpreter that a copy of the tree is to be run with.

    Args:
        copy: the tree, with its requirements.lock.
        install: whether to install the lock, some minutes, where it is not what is installed here.

    Raises:
        UserError: it cannot be installed.
    """
    others = differences(copy / provenance.REQUIREMENTS)
    if not others:
        return PYTHON
    told = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
    if not install:
        print(f"not the recorded packages, {len(others)} differ: {told}", flush=True)
        return PYTHON
    print(f"installing the recorded packages, {len(others)} differ: {told}", flush=True)
    _call(PYTHON, "-m", "venv", "--without-pip", str(copy / ".venv"))
    python = str(copy / ".venv/bin/python")
    lock = str(copy / provenance.REQUIREMENTS)
    _call(PYTHON, "-m", "pip", "--python", python, "install", "-q", "-r", lock)
    return python


def differences(lock: Path) -> list[str]:
    """Return `name recorded, here installed` for each package that is not as a lock pins it."""
    pins = (line.split("==") for line in lock.read_text(encoding="utf-8").splitlines())
    found = []
    for name, pinned in (pin for pin in pins if len(pin) == 2):
        here = _installed(name)
        if here != pinned.strip():
            found.append(f"{name} {pinned.strip()}, here {here or 'none'}")
    return found


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        mend = "`--this-environment` rebuilds with what is installed here"
        raise UserError(f"cannot install the recorded packages: {lines[-1]}", mend=mend)
