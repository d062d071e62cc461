"""Caching is right only if a stage's declared code covers all the code that it can import."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import pytest

from sslbench import declared, methods, presets
from sslbench.core import pipeline
from sslbench.evaluation import protocols

ROOT = Path(__file__).parents[2]

AXES = {
    "probe": ("targets", "probes"),
    "transfer": ("targets", "transfers"),
    "dense": ("dense_targets", "dense_transfers"),
    "video": ("video_targets", "video_transfers"),
}


def _one_cell_per_kind():
    """Return a cell of each stage for each method and protocol, over all that exist."""
    everything = [f"grid.methods=[{', '.join(methods.names())}]", "pretrain.keep_every_epochs=1"]
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


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_declared_code_covers_the_import_closure(cell):
    assert declared.undeclared(cell, ROOT) == []


def test_an_undeclared_import_would_be_seen():
    cell = next(c for c in CELLS if c.stage == "pretrain")
    fewer = tuple(d for d in cell.deps if d != "sslbench/pretraining")
    bare = dataclasses.replace(cell, deps=fewer)
    assert "sslbench/pretraining/loop.py" in declared.undeclared(bare, ROOT)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_declared_code_exists(cell):
    missing = [d for d in cell.deps if d.endswith(".py") and not (ROOT / d).exists()]
    assert missing == []
