"""The published table of the default grid and dvc.lock tell of one run."""

import csv
from pathlib import Path

import pytest

from sslbench import lineage
from sslbench.core import provenance

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs/tables/default.csv"
LOCKED = provenance.lock(ROOT)
ROWS = list(csv.DictReader(TABLE.open(encoding="utf-8", newline="")))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_a_published_number_is_that_of_the_lock(row):
    cells = lineage.cells_of(row["id"], ROOT)
    expected = [provenance.fingerprint_from_lock(c.name, LOCKED[c.name]) for c in cells]
    assert row["fingerprints"].split(";") == expected


def test_every_evaluation_of_the_lock_is_published():
    named = {tuple(row["id"].split("/")[:3]) for row in ROWS}
    probes = [name.removeprefix("probe@") for name in LOCKED if name.startswith("probe@")]
    cells = (name.split("-") for name in probes)
    assert {(dataset, method, protocol) for method, _, dataset, protocol in cells} == named
