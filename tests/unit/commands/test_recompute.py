"""Which published value a number is compared with, where its record is not at hand."""

from pathlib import Path

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


@pytest.mark.parametrize("number", ["scenes/simclr/linear/top1", "scenes/simclr/knn/top1"])
def test_what_no_table_has_is_refused(tables, number):
    with pytest.raises(UserError, match=r"recorded values of .* are not at hand"):
        _recompute._published(number, ["w"])
