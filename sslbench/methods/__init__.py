"""One file per method; a method is found by its file's name and nothing is registered."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sslbench.errors import UserError

if TYPE_CHECKING:
    from types import ModuleType

# Files of shared parts; every other file in this folder is a method.
PARTS = ("__init__", "base", "clustering", "inpainting", "memory", "teacher", "untrained")


def names() -> list[str]:
    """Return the method names, found by listing this folder."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if file.stem not in PARTS]


def load(name: str) -> ModuleType:
    """Return the module `sslbench.methods.<name>`, which holds `METHOD` and `Params`.

    Raises:
        UserError: no such method.
    """
    if not re.fullmatch(r"[a-z0-9_]+", name) or name not in names():
        raise UserError(f"unknown method {name!r}", mend="known: " + ", ".join(names()))
    return importlib.import_module(f"sslbench.methods.{name}")
