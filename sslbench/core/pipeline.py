"""dvc.yaml and params.yaml -> flat cells: what runs, what it reads, what it writes.

The graph is written once, in dvc.yaml. DVC reads it there; the Snakefile, the fingerprints, the
report and `sslbench trace` read it through this module, in milliseconds and without DVC.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sslbench.core import params as parameters
from sslbench.core.errors import UserError

GRAPH = "dvc.yaml"
PARAMS = "params.yaml"
# Axis of data sets -> the axes of protocols that are run on each of them.
EVALUATIONS = {
    "targets": ("probes", "transfers"),
    "dense_targets": ("dense_transfers",),
    "video_targets": ("video_transfers",),
}
_HOLE = re.compile(r"\$\{([a-z0-9_.]+)\}")
# What may stand in a hole: it becomes part of paths and of shell commands.
_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, eq=False)
class Cell:
    """One runnable unit of the graph.

    Attributes:
        name: DVC's name, such as `pretrain@simclr-0`.
        stage: the part before `@`.
        item: the values of the matrix axes, or one entry of a `foreach` mapping.
        command: the shell command, the same in both engines.
        deps: files and folders read, data and code alike.
        params: dotted keys of params.yaml that the stage may read.
        outs: files written; the record (a file under metrics/) comes last where there is one.
    """

    name: str
    stage: str
    item: Mapping[str, Any]
    command: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]

    @property
    def program(self) -> str:
        """The module in stages/ that runs it; two stages of the graph may share one."""
        return shlex.split(self.command)[2].removeprefix("stages.")

    @property
    def arguments(self) -> list[str]:
        """The command's arguments after `python -m stages.<stage>`."""
        return shlex.split(self.command)[3:]

    @property
    def record(self) -> str | None:
        """The small JSON that tells of this cell, or None for the report."""
        return next((out for out in self.outs if out.startswith("metrics/")), None)


def cells(root: Path = Path()) -> list[Cell]:
    """Return every cell of the graph in `root`, in DVC's order.

    Raises:
        UserError: a file is missing or names a key that params.yaml lacks.
    """
    return list(_cells(str(root.resolve()), _stamp(root / GRAPH), _stamp(root / PARAMS)))


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file does, to key the cache."""
    status = path.stat() if path.exists() else None
    return (status.st_mtime_ns, status.st_size) if status else (0, 0)


@lru_cache(maxsize=8)
def _cells(root: str, _graph: tuple[int, int], _params: tuple[int, int]) -> tuple[Cell, ...]:
    graph = parameters.load(Path(root) / GRAPH)
    values = parameters.load(Path(root) / PARAMS)
    stages = parameters.select(graph, "stages")
    return tuple(cell for name, stage in stages.items() for cell in _expand(name, stage, values))


def _expand(stage: str, entry: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[Cell]:
    template = entry.get("do", entry)
    for label, item in _items(entry, values).items():
        scope = {**values, "item": item}
        yield Cell(
            name=f"{stage}@{label}" if label else stage,
            stage=stage,
            item=item,
            command=" ".join(_fill(template["cmd"], scope).split()),
            deps=_fill_all(template.get("deps", ()), scope),
            params=_fill_all(template.get("params", ()), scope),
            outs=_fill_all(template.get("outs", ()), scope),
        )


def _items(entry: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the items of a stage by DVC's label: of its `foreach`, else of its `matrix`."""
    if "foreach" in entry:
        found: dict[str, Mapping[str, Any]] = _resolve(entry["foreach"], values, dict)
        return found
    axes = {axis: _resolve(text, values, list) for axis, text in entry.get("matrix", {}).items()}
    items = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
    return {"-".join(map(str, item.values())): item for item in items}


def _resolve(text: Any, values: Mapping[str, Any], kind: type) -> Any:
    if isinstance(text, kind):
        return text
    match = _HOLE.fullmatch(text)
    found = parameters.select(values, match.group(1)) if match else None
    if not isinstance(found, kind):
        raise UserError(f"{text} is no {kind.__name__}", where=GRAPH, mend="see `sslbench compose`")
    return found


def _fill(text: str, scope: Mapping[str, Any]) -> str:
    return _HOLE.sub(lambda match: _name(match.group(1), scope), text)


def _name(key: str, scope: Mapping[str, Any]) -> str:
    """Return what a hole is filled with.

    Raises:
        UserError: anything but an id, which could leave its folder or end its shell command.
    """
    value = parameters.select(scope, key)
    if isinstance(value, bool) or not _NAME.fullmatch(str(value)):
        what = f"{key.removeprefix('item.')} {value!r} is no name of a-z, 0-9 and _"
        raise UserError(what, where=f"{PARAMS}: grid", mend="do not run it before that is mended")
    return str(value)


def _fill_all(texts: Sequence[Any], scope: Mapping[str, Any]) -> tuple[str, ...]:
    # An out may be a mapping {path: {cache: false}}; only its path matters here.
    plain = (next(iter(text)) if isinstance(text, Mapping) else text for text in texts)
    return tuple(_fill(text, scope) for text in plain)


def find(name: str, root: Path = Path()) -> Cell:
    """Return the cell of that name.

    Raises:
        UserError: no such cell.
    """
    for cell in cells(root):
        if cell.name == name:
            return cell
    raise UserError(f"no cell {name!r} in the graph", where=GRAPH, mend="see `dvc stage list`")


def find_by_arguments(program: str, arguments: Sequence[str], root: Path = Path()) -> Cell | None:
    """Return the cell of a program with these arguments, or None for a run by hand."""
    if not (root / GRAPH).exists() or not (root / PARAMS).exists():
        return None
    wanted = list(arguments)
    matching = (c for c in cells(root) if c.program == program and c.arguments == wanted)
    return next(matching, None)


def producers(root: Path = Path()) -> dict[str, Cell]:
    """Return who writes each path.

    Raises:
        UserError: a path has two writers.
    """
    return dict(_producers(tuple(cells(root))))


@lru_cache(maxsize=4)
def _producers(graph: tuple[Cell, ...]) -> dict[str, Cell]:
    writers: dict[str, Cell] = {}
    for cell in graph:
        for out in cell.outs:
            if out in writers:
                raise UserError(f"{out} is written by {writers[out].name} and {cell.name}")
            writers[out] = cell
    return writers


def ancestors(cell: Cell, root: Path = Path()) -> list[Cell]:
    """Return every cell that `cell` stands on, itself last, in running order."""
    writers = producers(root)
    ordered: dict[str, Cell] = {}

    def visit(current: Cell) -> None:
        for path in expand_inputs(current, writers):
            if path in writers and writers[path].name not in ordered:
                visit(writers[path])
        ordered.setdefault(current.name, current)

    visit(cell)
    return list(ordered.values())


def expand_inputs(cell: Cell, writers: Mapping[str, Cell]) -> list[str]:
    """Return the cell's inputs with a folder replaced by the outs below it."""
    inputs: list[str] = []
    for dep in cell.deps:
        is_file = dep in writers or "." in dep.rsplit("/", 1)[-1]
        below = [] if is_file else [path for path in writers if path.startswith(f"{dep}/")]
        inputs.extend(below or [dep])
    return inputs


def find_by_item(stage: str, item: Mapping[str, str], root: Path = Path()) -> Cell:
    """Return a stage's cell by the values of its axes, given as text.

    Raises:
        UserError: the grid has no such cell.
    """
    cell = _by_item(tuple(cells(root))).get((stage, frozenset(item.items())))
    if cell is not None:
        return cell
    raise UserError(f"the grid has no {stage} of {dict(item)}", where=f"{PARAMS}: grid")


@lru_cache(maxsize=4)
def _by_item(graph: tuple[Cell, ...]) -> dict[tuple[str, frozenset[tuple[str, str]]], Cell]:
    return {(c.stage, frozenset((k, str(v)) for k, v in c.item.items())): c for c in graph}


def folder_files(cell: Cell, root: Path = Path()) -> list[str]:
    """Return the Python files of the folders of code that a cell depends on."""
    folders = [root / dep for dep in cell.deps if (root / dep).is_dir() and dep != "metrics"]
    files = (path for folder in folders for path in sorted(folder.rglob("*.py")))
    return [path.relative_to(root).as_posix() for path in files]
