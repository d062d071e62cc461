"""Journals into a real sqlite store: live, after a crash, and twice."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sslbench.tracking import journal, locks, recorder, store

pytestmark = pytest.mark.slow

HALF_A_STORE = 500_000  # bytes
START = {
    "cell": "pretrain@simclr-0",
    "stage": "prepare",
    "item": {"method": "simclr", "seed": 0},
    "command": "python -m stages.pretrain",
    "fingerprint": "f" * 64,
    "params": {"pretrain": {"epochs": 2}},
    "git": {"commit": "abc", "dirty_diff_sha256": None},
    "deps": {"data/scenes/train.arrow": "0" * 32},
}


def with_library():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "logs").mkdir()
    return tmp_path


def test_only_headlines_have_the_plain_key(folder):
    """Values on random weights, at layers and at epochs must not take the result's place."""
    common = {"metric": "top1", "split": "test"}
    rows = [
        {"role": "headline", "value": 0.9, "detail": {"epoch": None}},
        {"role": "layer", "layer": "layer1", "value": 0.5},
        {"role": "epoch", "value": 0.3, "detail": {"epoch": 1}},
        {"role": "epoch", "value": 0.6, "detail": {"epoch": 2}},
        {"role": "epoch", "value": 0.9, "detail": {"epoch": None}},
        {"role": "twin", "value": 0.2},
    ]
    record = folder / "record.json"
    record.write_text(json.dumps({"measurements": [{**common, **row} for row in rows]}))
    mirror = store.Store()
    journal.Journal(START).finish("FINISHED", record=str(record), system={})
    recorder.drain(mirror, until_quiet=False)
    run = mirror.find(store.FINGERPRINT, "f" * 64)
    logged = {key: value for key, value in run.data.metrics.items() if key.startswith("test/")}
    assert logged == {
        "test/top1": 0.9, "test/top1/layer1": 0.5, "test/top1/epoch": 0.6, "test/top1/twin": 0.2,
    }  # fmt: skip
    curve = mirror.client.get_metric_history(run.info.run_id, "test/top1/epoch")
    assert [(point.step, point.value) for point in curve] == [(1, 0.3), (2, 0.6)]


def test_a_journal_becomes_one_nested_run_and_twice_is_once(folder):
    mirror = store.Store()
    for _ in range(2):
        book = journal.Journal(START)
        book.metrics({"loss": 2.0}, 0)
        book.metrics({"loss": 1.0}, 1)
        book.finish("FINISHED", record=None, system={"system/stage_wall_seconds": 3.0})
        assert recorder.drain(mirror, until_quiet=False) == 1
    assert list((folder / "logs/journal").iterdir()) == []
    runs = mirror.client.search_runs([mirror.experiment])
    assert len(runs) == 3, "the method, its seed, the stage"
    run = mirror.find(store.FINGERPRINT, "f" * 64)
    assert run.info.status == "FINISHED"
    assert run.data.params["pretrain.epochs"] == "2"
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    assert {m.value for m in mirror.client.get_metric_history(run.info.run_id, "loss")} == {1, 2}


def test_a_killed_writer_leaves_a_killed_run(folder):
    code = (
        "import json, os; from sslbench.tracking.journal import Journal;"
        f"Journal(json.loads({json.dumps(json.dumps(START))})).metrics({{'loss': 1.0}}, 0);"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, cwd=folder, env=with_library())
    mirror = store.Store()
    recorder.drain(mirror, until_quiet=False)
    assert mirror.find(store.FINGERPRINT, "f" * 64).info.status == "KILLED"


def test_a_writer_on_another_machine_is_alive_while_it_writes(folder):
    """On a cluster the recorder runs beside one stage and sees the journals of all of them."""
    # A process id above Linux's highest: what it says there means nothing here.
    elsewhere = {**START, "stage": "pretrain", "host": "another", "pid": 2**22}
    book = journal.Journal(elsewhere)
    book.metrics({"loss": 2.0}, 0)
    mirror = store.Store()
    tail = recorder.Tail(book.path)
    assert tail.replay(mirror) is False
    run = mirror.find(store.FINGERPRINT, "f" * 64)
    assert run.info.status == "RUNNING"
    book.finish("FINISHED", record=None)
    assert tail.replay(mirror) is True
    assert mirror.find(store.FINGERPRINT, "f" * 64).info.status == "FINISHED"


def test_a_store_whose_making_was_killed_is_made_again(folder):
    """MLflow's migrations do not survive that: half of them open never again."""
    code = "from sslbench.tracking import store; store.Store()"
    made = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=with_library())
    while largest(folder) < HALF_A_STORE:
        assert made.poll() is None, "made before it could be killed"
    made.kill()
    made.wait()
    store.Store()
    assert [p.name for p in folder.glob("mlflow.db*")] == ["mlflow.db"]


def largest(folder):
    """Return the size of the largest database; sqlite's journals beside them come and go."""
    databases = [p for p in folder.glob("mlflow.db*") if not p.name.endswith("-journal")]
    return max((p.stat().st_size for p in databases), default=0)


def test_a_half_written_line_is_left_for_later(folder):
    book = journal.Journal(START)
    with book.path.open("a") as handle:
        handle.write('{"event": "met')
    tail = recorder.Tail(book.path)
    assert tail.replay(store.Store()) is False, "the writer lives, nothing is lost"
    assert book.path.exists()


def test_only_one_recorder_works_at_a_time(folder):
    with (
        locks.locked(locks.RECORDER),
        locks.locked(locks.RECORDER, wait=False) as m,
    ):
        assert m is False


METRICS = '{"event": "metrics", "step": 0, "time": 1.0, "values": {"loss": 2.0}}'
TORN = ('{"event": "met', "\0" * 64 + "\n", '{"a": 1}{"event": "finish"}\n')


def test_torn_journals_of_dead_writers_are_replayed_as_far_as_they_go(folder):
    """The writers are dead, though their process id is another's now: ours."""
    (folder / "logs/journal").mkdir()
    for number, torn in enumerate(TORN):
        start = {"event": "start", "time": 1.0, "pid": os.getpid(), **START}
        start["fingerprint"] = str(number) * 64
        path = folder / f"logs/journal/{number}.jsonl"
        path.write_text("\n".join([json.dumps(start), METRICS, torn]))
        os.utime(path, (2**32, 2**32))  # a clock that was ahead
    mirror = store.Store()
    assert recorder.drain(mirror, until_quiet=False) == len(TORN)
    for number in range(len(TORN)):
        run = mirror.find(store.FINGERPRINT, str(number) * 64)
        assert run.info.status == "KILLED"
        assert run.data.metrics["loss"] == 2.0


FILLS_UP = """
import json, resource, sys
from sslbench.tracking.journal import Journal

resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
book = Journal(json.loads(sys.argv[1]))
for step in range(20):
    book.metrics({"loss": float(step)}, step)
book.finish("FINISHED", record=None)
"""


def test_a_disk_that_fills_up_within_a_line_stops_the_journal_and_not_the_recorder(folder):
    command = [sys.executable, "-c", FILLS_UP, json.dumps(START)]
    done = subprocess.run(
        command, check=True, cwd=folder, env=with_library(), capture_output=True, text=True
    )
    assert done.stderr.count("tracking stopped, the run goes on") == 1
    (path,) = (folder / "logs/journal").glob("*.jsonl")
    assert path.stat().st_size == 1500
    assert not path.read_bytes().endswith(b"\n")
    mirror = store.Store()
    assert recorder.drain(mirror, until_quiet=False) == 1
    assert mirror.find(store.FINGERPRINT, "f" * 64).data.metrics["loss"] > 0


def test_a_server_that_is_not_there_is_one_line_within_a_minute(folder, monkeypatch):
    journal.Journal(START).finish("FINISHED", record=None)
    with socket.socket() as taken:  # bound and not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "sslbench.tracking.recorder"],
            cwd=folder, env={**with_library(), "MLFLOW_TRACKING_URI": uri}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert "no MLflow there" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((folder / "logs/journal").glob("*.jsonl")), "the journal waits"


def test_a_locked_database_is_one_line(folder):
    store.Store()
    journal.Journal(START).finish("FINISHED", record=None)
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        done = subprocess.run(
            [sys.executable, "-m", "sslbench.tracking.recorder"],
            cwd=folder, env=with_library(), check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert "database is locked" in done.stderr.splitlines()[-1]
    assert "close whatever else uses the file" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((folder / "logs/journal").glob("*.jsonl")), "the journal waits"


@contextmanager
def overtaken(table, insert, *columns):
    """Let another writer add each new row of a table between MLflow's look and its insert."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    done = []

    @event.listens_for(Session, "before_flush")
    def overtake(session, *_):
        rows = [row for row in session.new if row.__tablename__ == table and not done]
        done.extend(rows)
        with closing(sqlite3.connect(store.DATABASE)) as other, other:
            for row in rows:
                other.execute(insert, [getattr(row, name) for name in columns])

    try:
        yield
    finally:
        event.remove(Session, "before_flush", overtake)
    assert done


def test_a_data_set_that_another_writer_names_first_is_shared(folder):
    mirror = store.Store()
    insert = "INSERT INTO datasets VALUES ('theirs', ?, ?, ?, 'dvc', 'x', NULL, NULL)"
    with overtaken("datasets", insert, "experiment_id", "name", "digest"):
        run = mirror.open_run(START)
    (found,) = mirror.client.get_run(run).inputs.dataset_inputs
    assert found.dataset.name == "data/scenes/train.arrow"
    with closing(sqlite3.connect(store.DATABASE)) as database:
        assert len(database.execute("SELECT * FROM datasets").fetchall()) == 1


def test_an_experiment_that_another_writer_makes_first_is_shared(folder):
    insert = "INSERT INTO experiments VALUES (77, ?, 'x', 'active', 1, 1, 'default')"
    with overtaken("experiments", insert, "name"):
        assert store.Store().experiment == "77"
