"""Which published value a number is compared with, where its record is not at hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sslbench.commands import _recompute
from sslbench.core.errors import UserError


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Two tables of numbers, and those of costs and layers beside the first."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / _recompute.TABLES
    folder.mkdir(parents=True)
    (folder / "a.costs.csv").write_text("dataset,protocol,seconds\nscenes,knn,1.0\n")
    (folder / "a.csv").write_text("id,value,fingerprints\nscenes/simclr/knn/top1,0.4,x;y\n")
    (folder / "a.layers.csv").write_text("id,layer,value\nscenes/simclr/knn/top1,stem,0.3\n")
    (folder / "b.csv").write_text("id,value,fingerprints\nscenes/simclr/knn/top1,0.5,z;y\n")
    return Path(_recompute.TABLES)


def test_a_published_value_is_found_by_id_and_fingerprints(tables):
    assert _recompute._published("scenes/simclr/knn/top1", ["y", "x"]) == 0.4
    assert _recompute._published("scenes/simclr/knn/top1", ["y", "z"]) == 0.5


@pytest.mark.parametrize(
    ("values", "rounding", "says"),
    [
        ([0.5], 0.0, "identical, bit for bit"),
        ([0.500000004], 0.0, "within tolerance"),
        ([0.500000004], 5e-8, "identical, bit for bit"),
    ],
)
def test_bit_for_bit_is_said_of_equal_values_alone(
    monkeypatch, tmp_path, capsys, values, rounding, says
):
    """A published mean has eight digits, a record has all."""
    record = {
        "fingerprint": "x",
        "measurements": [{"metric": "top1", "value": 0.5, "role": "headline"}],
    }
    cell = SimpleNamespace(record="r.json", outs=("r.json",), name="knn")
    (tmp_path / cell.record).write_text(json.dumps(record))
    monkeypatch.setattr(_recompute.lineage, "cells_of", lambda *_: [cell])
    monkeypatch.setattr(_recompute.records, "read", lambda path: json.loads(path.read_text()))
    recorded = _recompute.Recorded([cell], {}, ["x"], values, rounding)
    assert _recompute._compare("scenes/simclr/knn/top1", recorded, tmp_path, 0.02) == 0
    assert says in capsys.readouterr().out


@pytest.mark.parametrize("number", ["scenes/simclr/linear/top1", "scenes/simclr/knn/top1"])
def test_what_no_table_has_is_refused(tables, number):
    with pytest.raises(UserError, match=r"recorded values of .* are not at hand"):
        _recompute._published(number, ["w"])
