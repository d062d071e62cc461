"""MLflow: a server that is down, dies, or says nothing; a locked database; torn journals."""

import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.faults.campaign.disks import _tell, _with
from tests.faults.campaign.project import ENGINES, PRETRAIN, Bench, Try, end_all_in, start
from tests.golden.servers import free_port, running

REPRO = ENGINES["dvc"]
PUBLISH = (sys.executable, "-m", "sslbench.cli", "publish")
SOON = 60  # seconds within which a person is told that there is no store
STATUSES = """
import json
from sslbench.tracking.store import FINGERPRINT, Store
mirror = Store()
runs = mirror.client.search_runs([mirror.experiment], max_results=1000)
print(json.dumps([r.info.status for r in runs if FINGERPRINT in r.data.tags]))
"""


@contextmanager
def server(place: Path, port: int) -> Iterator[str]:
    """MLflow's own server over sqlite on loopback."""
    command = [
        str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{place}/store.db",
        "--artifacts-destination", str(place / "artifacts"),
    ]  # fmt: skip
    plain = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    try:
        with running(command, port, place / "server.log", plain):
            yield f"http://127.0.0.1:{port}"
    finally:
        end_all_in(place)  # its workers, where it was killed


def servers(bench: Bench, tries: int) -> Iterator[Try]:
    """Training while there is no server, while it dies, and while it never answers."""
    for fault in (_down, _dies, _silent)[: max(tries, 2)]:
        place, port, folder = bench.scratch("server"), free_port(), bench.copy(PRETRAIN)
        uri = f"http://127.0.0.1:{port}"
        wrong = fault(bench, folder, place, port)
        end_all_in(folder)  # a recorder that still asks
        with server(place, port):
            title = fault.__doc__ or ""
            yield _published(bench, folder, title, wrong, MLFLOW_TRACKING_URI=uri)


def _down(bench: Bench, folder: Path, place: Path, port: int) -> str:
    """MLflow's server is down before the training"""
    uri = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "SSLBENCH_TRACKING": "on"}
    first = bench.run(folder, *REPRO, **uri)
    return _tell(first.stdout, first.returncode, must_fail=False) or _refuses(bench, folder, uri)


def _dies(bench: Bench, folder: Path, place: Path, port: int) -> str:
    """MLflow's server is killed during the training"""
    with server(place, port) as uri:
        process = start(folder, REPRO, MLFLOW_TRACKING_URI=uri, SSLBENCH_TRACKING="on")
        while not list((folder / "logs/journal").glob("*.jsonl")):
            time.sleep(0.05)
        time.sleep(bench.random.uniform(2, 8))
        end_all_in(place)
        code = process.wait(600)
    return _tell((folder / "said.log").read_text(), code, must_fail=False)


def _silent(bench: Bench, folder: Path, place: Path, port: int) -> str:
    """MLflow's server takes connections and never answers"""
    uri = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "SSLBENCH_TRACKING": "on"}
    with closing(socket.create_server(("127.0.0.1", port))):
        first = bench.run(folder, *REPRO, **uri)
    return _tell(first.stdout, first.returncode, must_fail=False)


def locked(bench: Bench, tries: int) -> Iterator[Try]:
    """Another process holds the sqlite store while a training runs."""
    folder = bench.copy(PRETRAIN)
    bench.run(folder, *PUBLISH)  # so that there is a store
    tracked = {"SSLBENCH_TRACKING": "on"}
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as held:
        held.execute("BEGIN EXCLUSIVE")
        first = bench.run(folder, *REPRO, **tracked)
        wrong = _tell(first.stdout, first.returncode, must_fail=False)
        wrong = wrong or _refuses(bench, folder, {})
    end_all_in(folder)
    yield _published(bench, folder, "MLflow's sqlite store is locked by another", wrong)


def journals(bench: Bench, tries: int) -> Iterator[Try]:
    """Journals of killed writers: torn, not text, and of a process id that is another's now."""
    start_of = {"event": "start", "cell": "x", "stage": "pretrain", "item": {}, "command": "c",
                "fingerprint": "f" * 64, "params": {}, "deps": {}, "time": 1.0,
                "pid": os.getpid()}  # fmt: skip
    whole = json.dumps(start_of) + "\n"
    torn = (whole + '{"event": "met', whole + '{"event": "met' + whole, whole + "\0" * 512 + "\n")
    folder = bench.copy(PRETRAIN)
    (folder / "logs/journal").mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(torn):
        (folder / f"logs/journal/{number:020d}-0.jsonl").write_text(text)
    bench.run(folder, *REPRO)
    yield _published(bench, folder, "torn journals of killed stages", "")


def _refuses(bench: Bench, folder: Path, environment: dict[str, str]) -> str:
    """Return what is wrong with how `sslbench publish` says that there is no store."""
    started = time.monotonic()
    done = bench.run(folder, *PUBLISH, **environment)
    seconds = time.monotonic() - started
    if seconds > SOON:
        return f"publish gave up after {seconds:.0f} s"
    if "Traceback" in done.stdout or done.returncode != 2:
        return f"publish: exit code {done.returncode}, {done.stdout.strip().splitlines()[-1][:80]}"
    return ""


def _published(bench: Bench, folder: Path, title: str, wrong: str, **environment: str) -> Try:
    """Publish, see that every cell has one finished run, and compare the bytes."""
    started = time.monotonic()
    done = bench.run(folder, *PUBLISH, **environment)
    seconds = time.monotonic() - started
    told = bench.run(folder, sys.executable, "-c", STATUSES, **environment).stdout
    try:
        statuses = json.loads(told.strip().splitlines()[-1])
    except (ValueError, IndexError):
        statuses = [told[-80:]]
    # Nine cells leave a record; the report may have been made anew.
    whole = statuses.count("FINISHED") in (9, 10) and "RUNNING" not in statuses
    if not wrong and not whole:
        wrong = f"runs: {statuses}; {done.stdout.strip()[-80:]}"
    found = bench.mend(title, folder, REPRO)
    return _with(wrong, Try(**{**vars(found), "then": "sslbench publish", "seconds": seconds}))
