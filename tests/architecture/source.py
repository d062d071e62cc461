"""Reading our own source: files, what they import, and what an import drags in."""

import ast
from functools import cache
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


def module_file(name):
    """Return the file of a module of ours, or None."""
    base = ROOT / Path(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def _is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _nodes(tree):
    """Walk a tree without what only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if _is_type_checking(node):
            continue
        yield node
        yield from _nodes(node)


@cache
def direct_imports(path):
    """Return the files of ours that a file imports, at any depth of its functions."""
    found = set()
    for node in _nodes(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in PACKAGES and (file := module_file(name)):
                found.add(file)
                found |= _package_inits(file)
    return frozenset(found)


def _package_inits(file):
    inits = {parent / "__init__.py" for parent in file.parents if parent.is_relative_to(ROOT)}
    return {init for init in inits if init.exists() and init.parent != ROOT}


def closure(*starts):
    """Return every file of ours that running some files can import."""
    seen, queue = set(), list(starts)
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            queue.extend(direct_imports(path))
    return seen


def has_only_a_docstring(path):
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in ast.parse(path.read_text()).body
    )
