"""Whether dvc.yaml names all the code that a cell can run: what it does not name, no hash covers.

Read from the source alone, by following imports, those within functions too. Modules that are
loaded by name (a method, a protocol, backbones, data sets) are starting points of their own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from sslbench.core import pipeline
from sslbench.core.pipeline import Cell
from sslbench.lineage import Fault

PACKAGES = ("sslbench", "stages")
# What a stage imports but no result can depend on.
EXEMPT = {
    "sslbench/tracking": "a mirror: writes journals, never an out",
    "sslbench/schema.py": "checks params.yaml at the door; no stage runs it",
}


def check(cells: Iterable[Cell], root: Path = Path()) -> list[Fault]:
    """Return a fault for each file of ours that a cell can import and dvc.yaml does not name."""
    found: dict[tuple[str, str], Fault] = {}
    for cell in cells:
        for path in undeclared(cell, root):
            what = f"it imports {path}, which dvc.yaml does not name among its deps"
            mend = f"name it in {pipeline.GRAPH} under {cell.stage}, then run `dvc repro`"
            found.setdefault((cell.stage, path), Fault(cell.name, what, mend))
    return list(found.values())


def undeclared(cell: Cell, root: Path = Path()) -> list[str]:
    """Return the files of ours that a cell can import and that none of its deps covers."""
    root = root.resolve()
    declared = [root / path for path in (*cell.deps, *EXEMPT)]
    starts = [root / "stages" / f"{cell.program}.py", *_loaded_by_name(cell, root)]
    return sorted(
        path.relative_to(root).as_posix()
        for path in _closure(root, tuple(starts))
        if not any(path == d or path.is_relative_to(d) for d in declared)
        and not _has_only_a_docstring(path)
    )


def _loaded_by_name(cell: Cell, root: Path) -> list[Path]:
    """Return the files that a cell loads by their names."""
    files = []
    if "method" in cell.item and cell.program == "pretrain":
        files.append(root / f"sslbench/methods/{cell.item['method']}.py")
    if "protocol" in cell.item:
        files.append(root / f"sslbench/evaluation/protocols/{cell.item['protocol']}.py")
    if cell.program in ("pretrain", "extract", "transfer"):
        files += sorted((root / "sslbench/backbones").glob("*.py"))
    if cell.stage == "prepare":
        files += sorted((root / "sslbench/data").glob("*.py"))
    return [path for path in files if path.exists()]


@cache
def _closure(root: Path, starts: tuple[Path, ...]) -> frozenset[Path]:
    """Return every file of ours that running some files can import."""
    seen: set[Path] = set()
    queue = list(starts)
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            queue.extend(_imports(root, path))
    return frozenset(seen)


@cache
def _imports(root: Path, path: Path) -> frozenset[Path]:
    """Return the files of ours that a file imports, at any depth of its functions."""
    found: set[Path] = set()
    for node in _nodes(_parse(path)):
        for name in _names(node):
            if name.split(".")[0] in PACKAGES and (file := _module_file(root, name)):
                found |= {file, *_package_inits(root, file)}
    return frozenset(found)


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _nodes(node)


def _names(node: ast.AST) -> list[str]:
    """Return the dotted names that an import statement may mean; imports here are absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _module_file(root: Path, name: str) -> Path | None:
    base = root / Path(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.exists()), None)


def _package_inits(root: Path, file: Path) -> set[Path]:
    folders = [parent for parent in file.parents if parent.is_relative_to(root) and parent != root]
    return {path for path in (folder / "__init__.py" for folder in folders) if path.exists()}


def _has_only_a_docstring(path: Path) -> bool:
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in _parse(path).body
    )
