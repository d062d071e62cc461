"""Records, cards and tables from another hand: numbers and names, never markup or a formula."""

from __future__ import annotations

import json

import pytest

from sslbench import lineage
from sslbench.core import provenance, records
from sslbench.core.pipeline import Cell
from sslbench.exporting import card
from sslbench.reporting.csv_file import read_csv
from tests.faults.test_hostile_artifacts import refused

RECORD = {
    "fingerprint": "a", "environment": {"processor": "x", "versions": {"torch": "2"}},
    "outs": {}, "history": [{"epoch": 0, "loss": 1.0, "parts": {}, "health": {"std": 1}}],
    "measurements": [{"metric": "top1", "value": 0.5, "unit": "fraction", "split": "test"}],
}  # fmt: skip


def _measured(**change):
    return {"measurements": [{**RECORD["measurements"][0], **change}]}


RECORDS = {
    "script": _measured(metric="<script>alert(1)</script>"),
    "formula": _measured(metric="=cmd|' /C calc'!A1"),
    "formula as unit": _measured(unit='=HYPERLINK("http://x","y")'),
    "link as layer": _measured(layer="[x](javascript:alert(1))"),
    "count": _measured(n=[]),
    "role": _measured(role=[]),
    "row": _measured(metric="a|b\n# c"),
    "nan": _measured(value=float("nan")),
    "huge": _measured(value=10**400),
    "text": _measured(value="0.5"),
    "terminal": {"environment": {"processor": "\x1b]0;x\x07"}},
    "long": {"environment": {"processor": "x" * 10_000}},
    "key": {"environment": {"a b=c": "x"}},
    "outs": {"outs": ["/etc/passwd"]},
    "history": {"history": [{"epoch": 0, "loss": "x"}]},
    "health": {"history": [{"epoch": 0, "health": [1]}]},
    "labels": {"labels": "=1+1"},
    "fingerprint": {"fingerprint": 5},
}


def test_the_record_itself_is_sound():
    assert records.fault(RECORD) == ""


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_brings_no_markup_and_no_formula(tmp_path, kind):
    path = tmp_path / "seed0.json"
    path.write_text(json.dumps({**RECORD, **RECORDS[kind]}))
    assert "damaged record" in refused(records.read, path)


def test_a_record_names_no_file_that_is_not_its_cells(tmp_path, monkeypatch):
    """Hashing /dev/zero would never end."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "params.yaml").write_text("a: 1\n")
    (tmp_path / "metrics/a.json").write_text(json.dumps({**RECORD, "outs": {"/dev/zero": "0"}}))
    cell = Cell("a", "a", {}, "python -m stages.a", (), (), ("metrics/a.json",))
    monkeypatch.chdir(tmp_path)
    (fault,) = lineage.check_cell(cell)
    assert "'/dev/zero', which it does not write" in str(fault)


@pytest.mark.parametrize("text", ["[x](javascript:alert(1))", "<img src=x>", "a\n# b", "`x`|*y*"])
def test_a_card_shows_text_and_is_not_written_by_it(text):
    shown = card._plain(text)
    assert "\n" not in shown
    for sign in "[]()<>#`|*":
        assert shown.count(sign) == shown.count(f"\\{sign}")


NUMBERS = "id,value,ci_low\na/b/c/d,{},0\n"


@pytest.mark.parametrize("value", ["x", "", "\x1b[2J", "1" * 200_000, "\x00"])
def test_a_table_of_numbers_is_one_or_one_line(tmp_path, value):
    (tmp_path / "report").mkdir()
    path = tmp_path / lineage.NUMBERS
    path.write_text(NUMBERS.format(value))
    assert "not a numbers.csv" in refused(read_csv, path)
    assert "not a numbers.csv" in refused(lineage.numbers, tmp_path)


@pytest.mark.parametrize(
    "stage",
    [
        {},
        {"cmd": 5},
        {"cmd": "x", "deps": [{"path": 5, "md5": "a"}]},
        {"cmd": "x", "outs": "a"},
        [],
    ],
)
def test_a_lock_that_is_none_of_dvcs(tmp_path, stage):
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": {"a": stage}}))
    assert "dvc.lock" in refused(provenance.lock, tmp_path)


def test_an_exports_configuration_reaches_no_other_name(tmp_path, monkeypatch):
    """config.json names the block: only the two that there are."""
    from sslbench.exporting.loaders import torchvision as loader

    (tmp_path / "config.json").write_text(json.dumps({"block": "load_state_dict_from_url"}))
    with pytest.raises(KeyError):
        loader.load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
