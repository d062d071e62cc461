"""Files of a folder found by name: nothing is registered, so one file's edit touches one file."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

from sslbench.core.errors import UserError

# A folder's contract is in base.py; parts that its files share are in a folder of their own.
_NOT_LISTED = ("__init__", "base")


def names(package: str) -> list[str]:
    """Return the names of a package's files, such as the methods of `sslbench.methods`."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    files = sorted(Path(spec.origin).parent.glob("*.py"))
    return [file.stem for file in files if file.stem not in _NOT_LISTED]


def load(package: str, name: str, kind: str) -> ModuleType:
    """Return the module `<package>.<name>`.

    Args:
        package: the folder, such as `sslbench.methods`.
        name: a file's name without `.py`.
        kind: what the folder holds, for the message.

    Raises:
        UserError: no such file.
    """
    known = names(package)
    if not re.fullmatch(r"[a-z0-9_]+", name) or name not in known:
        raise UserError(f"unknown {kind} {name!r}", mend="known: " + ", ".join(known))
    return importlib.import_module(f"{package}.{name}")
