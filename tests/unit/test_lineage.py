"""When report/numbers.csv counts as the means of the records."""

import json
from types import SimpleNamespace

import pytest

from sslbench import lineage


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two cells of a figure whose mean, 128.41845099, the report has in eight digits."""
    cells = []
    for seed, value in enumerate((128.0, 128.83690198)):
        row = {"metric": "rankme", "value": value, "role": "headline"}
        path = tmp_path / f"seed{seed}.json"
        path.write_text(json.dumps({"measurements": [row]}))
        cells.append(SimpleNamespace(record=path.name))
    monkeypatch.setattr(lineage, "cells_of", lambda *_: cells)
    monkeypatch.setattr(lineage.records, "read", lambda path: json.loads(path.read_text()))
    (tmp_path / lineage.NUMBERS).parent.mkdir()
    return tmp_path


def _faults(root, value):
    (root / lineage.NUMBERS).write_text(f"id,value\nscenes/mae/label_free/rankme,{value}\n")
    return lineage.check_report(root)


def test_eight_digits_of_a_large_value_are_enough(root):
    assert _faults(root, "128.41845") == []


def test_another_value_is_a_fault(root):
    (fault,) = _faults(root, "128.41855")
    assert "says 128.41855, its records say 128.41845; run the report stage" in str(fault)


def test_one_number_can_be_asked_for(root):
    assert _faults(root, "1")
    assert lineage.check_report(root, "scenes/mae/label_free/rankme")
