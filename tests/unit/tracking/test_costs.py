"""Costs: from a store that MLflow wrote, from journals not replayed yet, from neither."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

from sslbench.commands import leaderboard
from sslbench.commands._costs import cost_rows, to_csv
from sslbench.commands.leaderboard import cost_text
from sslbench.core.errors import UserError
from sslbench.reporting.tables import Number
from sslbench.tracking import journal, recorder, store
from sslbench.tracking.costs import Cost, costs


def start(fingerprint):
    return {
        "cell": f"probe@{fingerprint}",
        "stage": "probe",
        "item": {"method": "simclr", "seed": 0},
        "command": "python -m stages.probe",
        "fingerprint": fingerprint,
        "params": {},
        "git": {},
        "deps": {},
    }


def usage(seconds, peak):
    return {"system/stage_wall_seconds": seconds, "system/stage_peak_rss_mib": peak}


def write(fingerprint, seconds, peak, status="FINISHED"):
    book = journal.Journal(start(fingerprint))
    book.metrics({"loss": 1.0}, 0)
    book.finish(status, record=None, system=usage(seconds, peak))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_nothing_tracked_is_no_error(folder):
    assert costs(["a"]) == {}
    store.DATABASE.write_bytes(b"no database")
    assert costs(["a"]) == {}
    store.DATABASE.unlink()
    assert costs(["a"]) == {}
    assert not store.DATABASE.exists()


def test_costs_of_journals_that_nobody_replayed_yet(folder):
    write("a", 3.0, 200.0)
    write("b", 1.0, 100.0, status="FAILED")
    book = journal.Journal(start("c"))
    with book.path.open("a") as handle:
        handle.write('{"event": "fin')
    assert costs(["a", "b", "c", "d"]) == {"a": Cost(3.0, 200.0)}
    assert costs(["d"]) == {}


@pytest.mark.slow
def test_costs_of_the_store_that_mlflow_wrote(folder):
    write("a", 3.0, 200.0)
    write("b", 5.0, 100.0, status="FAILED")
    recorder.drain(store.Store(), until_quiet=False)
    assert costs(["a", "b"]) == {"a": Cost(3.0, 200.0)}
    write("a", 4.0, 300.0)  # run again
    assert costs(["a"]) == {"a": Cost(4.0, 300.0)}
    recorder.drain(store.Store(), until_quiet=False)
    assert costs(["a"]) == {"a": Cost(4.0, 300.0)}


def number(protocol, method, fingerprints):
    return Number(
        dataset="scenes", method=method, protocol=protocol, version=1, metric="top1",
        unit="fraction", better="higher", value=0.5, low=None, high=None, interval="", seeds=(0, 1),
        values=(), samples=None, rank_group=None, told_from=frozenset(), test="", reference=None,
        reference_source="", fingerprints=fingerprints, is_main=True, labels="none",
    )  # fmt: skip


def test_a_table_of_costs_has_the_median_and_the_peak_of_each_protocol(folder, monkeypatch):
    monkeypatch.setattr("sslbench.core.pipeline.cells", lambda root: [])
    numbers = [number("knn", "simclr", ("a", "b")), number("knn", "byol", ("c", "d"))]
    assert cost_text(cost_rows(numbers)).startswith("cost of protocols: not known here")
    for fingerprint, seconds, peak in (("a", 1.0, 90.0), ("b", 2.0, 120.4), ("c", 9.0, 100.0)):
        write(fingerprint, seconds, peak)
    rows = cost_rows(numbers)
    row = next(line for line in cost_text(rows).splitlines() if "knn" in line)
    assert row.split() == ["scenes", "knn", "2.0", "9.0", "120", "3", "of", "4"]
    assert to_csv(rows).splitlines() == [
        "dataset,protocol,seconds,longest,peak_mib,tracked,cells",
        "scenes,knn,2.0,9.0,120.4,3,4",
    ]


def test_extraction_is_a_row_of_its_own(folder, monkeypatch):
    path = folder / "metrics/scenes/extract/simclr/seed0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"fingerprint": "e"}))

    class Cell:
        stage, item = "extract", {"dataset": "scenes"}
        record = "metrics/scenes/extract/simclr/seed0.json"

    monkeypatch.setattr("sslbench.core.pipeline.cells", lambda root: [Cell()])
    write("e", 2.5, 700.0)
    assert "scenes extract" in cost_text(cost_rows([number("knn", "simclr", ("a", "b"))]))


def test_costs_are_written_where_they_are_known_and_refused_where_not(folder, monkeypatch, capsys):
    monkeypatch.setattr("sslbench.core.pipeline.cells", lambda root: [])
    monkeypatch.setattr(
        "sslbench.commands.leaderboard.read_csv", lambda path: [number("knn", "simclr", ("a", "b"))]
    )
    (folder / "report").mkdir()
    (folder / "report/numbers.csv").touch()
    arguments = Namespace(costs=Path("costs.csv"))
    with pytest.raises(UserError, match="no run of these cells was tracked here"):
        leaderboard.execute(arguments)
    assert not arguments.costs.exists()
    write("a", 1.0, 90.0)
    assert leaderboard.execute(arguments) == 0
    assert capsys.readouterr().out.endswith("costs: costs.csv\n")
    assert arguments.costs.read_text().endswith("scenes,knn,1.0,1.0,90.0,1,2\n")
