"""Reading our own source: files and what they import."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("sslbench", "stages")


def library_files():
    return [p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py"))]


def label(path):
    return path.relative_to(ROOT).as_posix()


def imported_names(path):
    """Return the top-level names of everything a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
