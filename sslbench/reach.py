"""From a data set, file, parameter or commit forward to the numbers that it touches.

What a number stands on is found by `lineage`; this is the same graph read the other way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sslbench import past
from sslbench.core import git, pipeline
from sslbench.core import params as parameters
from sslbench.core.errors import UserError
from sslbench.core.pipeline import Cell

_EVALUATIONS = ("probe", "transfer", "dense", "video")


@dataclass(frozen=True)
class Reach:
    """What is touched.

    Attributes:
        what: as it was asked for.
        kind: "file", "data set", "parameter" or "commit".
        first: names of the cells that read it themselves.
        cells: names of these and of all cells below them, in running order.
        numbers: `dataset/method/protocol` of the evaluations among them, sorted, seeds joined.
    """

    what: str
    kind: str
    first: tuple[str, ...]
    cells: tuple[str, ...]
    numbers: tuple[str, ...]


def reach(what: str, root: Path = Path()) -> Reach:
    """Return what a data set, file, folder, dotted parameter or commit touches in today's grid.

    Raises:
        UserError: it is none of these, or no cell reads it.
    """
    kind, first = _readers(what, root)
    reached = _below(first, root)
    numbers = {
        "/".join(str(cell.item[axis]) for axis in ("dataset", "method", "protocol"))
        for cell in reached
        if cell.stage in _EVALUATIONS
    }
    names = tuple(cell.name for cell in reached)
    return Reach(what, kind, tuple(cell.name for cell in first), names, tuple(sorted(numbers)))


def _readers(what: str, root: Path) -> tuple[str, list[Cell]]:
    """Return what `what` is, and the cells that read or write it themselves."""
    if what.split(".")[0] == "grid":
        said = f"{what} decides which cells there are, not what one of them computes"
        raise UserError(said, where="params.yaml", mend="`git diff` and `snakemake -n` show those")
    cells = pipeline.cells(root)
    path = Path(what).as_posix()
    if found := [cell for cell in cells if _touches_path(cell, path)]:
        return "file", found
    if found := [cell for cell in cells if cell.stage == "prepare" and what in cell.item.values()]:
        return "data set", found
    if found := [cell for cell in cells if any(_overlap(what, key) for key in cell.params)]:
        parameters.select(parameters.load(root / pipeline.PARAMS), what)  # refuses one too deep
        return "parameter", found
    if commit := git.commit(what, root):
        return "commit", _changed_by(commit, cells, root)
    mend = "give a file or folder of the tree, a data set, a key of params.yaml or a commit"
    raise UserError(f"no cell reads {what!r}", where="dvc.yaml", mend=mend)


def _touches_path(cell: Cell, path: str) -> bool:
    """Whether a cell reads a file, reads the folder it is in, or reads or writes what is below."""
    if any(out == path or out.startswith(f"{path}/") for out in cell.outs):
        return True
    return any(
        dep == path or path.startswith(f"{dep}/") or dep.startswith(f"{path}/")
        for dep in cell.deps
    )  # fmt: skip


def _overlap(asked: str, declared: str) -> bool:
    """Whether one dotted key lies at or below the other."""
    return f"{asked}.".startswith(f"{declared}.") or f"{declared}.".startswith(f"{asked}.")


def _below(first: list[Cell], root: Path) -> list[Cell]:
    """Return some cells and all that stand on them, in the graph's order."""
    writers = pipeline.producers(root)
    readers: dict[str, list[Cell]] = {}
    for cell in pipeline.cells(root):
        for path in pipeline.expand_inputs(cell, writers):
            readers.setdefault(path, []).append(cell)
    found: dict[str, Cell] = {}
    waiting = list(first)
    while waiting:
        cell = waiting.pop()
        if cell.name not in found:
            found[cell.name] = cell
            waiting += [reader for out in cell.outs for reader in readers.get(out, ())]
    return [cell for cell in pipeline.cells(root) if cell.name in found]


def _changed_by(commit: str, cells: list[Cell], root: Path) -> list[Cell]:
    """Return the cells of today's grid that read a file or parameter which a commit changed."""
    listing = git.ask(
        root, "diff-tree", "-r", "--root", "--no-commit-id", "--name-only", "-m", commit
    )
    paths = set((listing or "").splitlines())
    keys = set(_changed_keys(commit, root)) if pipeline.PARAMS in paths else set()
    rewired = _rewired(commit, root) if pipeline.GRAPH in paths else set()
    return [
        cell
        for cell in cells
        if cell.name in rewired
        or any(_reads(cell, path) for path in paths)
        or any(_overlap(key, declared) for key in keys for declared in cell.params)
    ]


def _reads(cell: Cell, path: str) -> bool:
    return any(dep == path or path.startswith(f"{dep}/") for dep in cell.deps)


def _changed_keys(commit: str, root: Path) -> Iterator[str]:
    """Yield the dotted keys of params.yaml whose values differ from the parent's."""
    new, old = (
        dict(_flat(yaml.safe_load(git.ask(root, "show", f"{name}:{pipeline.PARAMS}") or "{}")))
        for name in (commit, f"{commit}^")
    )
    for key in new.keys() | old.keys():
        if new.get(key) != old.get(key):
            yield key


def _rewired(commit: str, root: Path) -> set[str]:
    """Return the names of cells whose command, inputs, parameters or outs a commit changed."""
    after, before = (_wiring(name, root) for name in (commit, f"{commit}^"))
    return {name for name in after if before.get(name) != after[name]}


def _wiring(name: str, root: Path) -> dict[str, tuple[Any, ...]]:
    commit = git.commit(name, root)
    if commit is None or git.ask(root, "cat-file", "-e", f"{commit}:./{pipeline.GRAPH}") is None:
        return {}
    with past.tree(commit, root) as folder:
        cells = pipeline.cells(folder)
    return {cell.name: (cell.command, cell.deps, cell.params, cell.outs) for cell in cells}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value
