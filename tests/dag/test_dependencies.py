"""Caching is right only if a stage's declared code covers all the code that it can import."""

import shutil
import tempfile
from pathlib import Path

import pytest

from sslbench import methods, presets
from sslbench.core import pipeline
from sslbench.evaluation import protocols
from tests.architecture import source

ROOT = Path(__file__).parents[2]

# What a stage imports but no result can depend on.
EXEMPT = {
    "sslbench/tracking": "a mirror: writes journals, never an out",
    "sslbench/schema.py": "checks params.yaml at the door; no stage runs it",
}


def _dynamic(cell):
    """Return the files that a cell loads by name."""
    files = []
    if "method" in cell.item and cell.program == "pretrain":
        files.append(ROOT / f"sslbench/methods/{cell.item['method']}.py")
    if "protocol" in cell.item:
        files.append(ROOT / f"sslbench/evaluation/protocols/{cell.item['protocol']}.py")
    if cell.program in ("pretrain", "extract", "transfer"):
        files += sorted((ROOT / "sslbench/backbones").glob("*.py"))
    if cell.stage == "prepare":
        files += sorted((ROOT / "sslbench/data").glob("*.py"))
    return files


AXES = {
    "probe": ("targets", "probes"),
    "transfer": ("targets", "transfers"),
    "dense": ("dense_targets", "dense_transfers"),
    "video": ("video_targets", "video_transfers"),
}


def _one_cell_per_kind():
    """Return a cell of each stage for each method and protocol, over all that exist."""
    everything = [f"grid.methods=[{', '.join(methods.names())}]"]
    for kind, (targets, axis) in AXES.items():
        named = [name for name in protocols.names() if kind == protocols.load(name).KIND]
        everything += [f"grid.{axis}=[{', '.join(named)}]", f"grid.{targets}=[scenes]"]
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy2(ROOT / "dvc.yaml", folder)
        text = presets.compose("default", everything, ROOT / "conf")
        (Path(folder) / "params.yaml").write_text(text)
        graph = pipeline.cells(Path(folder))
    for cell in graph:
        key = (cell.stage, cell.item.get("method"), cell.item.get("protocol"))
        seen.setdefault(key, cell)
    return list(seen.values())


CELLS = _one_cell_per_kind()


def _undeclared(cell):
    start = ROOT / "stages" / f"{cell.program}.py"
    needed = source.closure(start, *_dynamic(cell))
    declared = [ROOT / dep for dep in cell.deps]
    exempt = [ROOT / path for path in EXEMPT]
    return sorted(
        source.label(file)
        for file in needed
        if not any(file == d or file.is_relative_to(d) for d in (*declared, *exempt))
        and not source.has_only_a_docstring(file)
    )


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_declared_code_covers_the_import_closure(cell):
    assert _undeclared(cell) == []


def test_an_undeclared_import_would_be_seen():
    cell = next(c for c in CELLS if c.stage == "pretrain")
    import dataclasses

    fewer = tuple(d for d in cell.deps if d != "sslbench/pretraining")
    assert "sslbench/pretraining/loop.py" in _undeclared(dataclasses.replace(cell, deps=fewer))


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_declared_code_exists(cell):
    missing = [d for d in cell.deps if d.endswith(".py") and not (ROOT / d).exists()]
    assert missing == []
