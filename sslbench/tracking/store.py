"""The only import of mlflow: runs nested as method > seed > stage, found by fingerprint."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sslbench.core.errors import UserError
from sslbench.tracking import journal

EXPERIMENT = "sslbench"
DATABASE = Path("mlflow.db")
FINGERPRINT = "sslbench.fingerprint"
NODE = "sslbench.node"
# MLflow's own are 120 s, asked eight times over four minutes: too long for somebody who waits.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}


def uri() -> str:
    """Return the store's address: MLFLOW_TRACKING_URI, else sqlite in the project's root."""
    # Absolute: mlflow caches its connections by address.
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE.resolve()}"


@contextmanager
def reachable() -> Iterator[None]:
    """Turn MLflow's complaints about its store into one line.

    Raises:
        UserError: a server does not answer or refuses us, or the database is locked.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        said = str(error).splitlines()[0][:200]
        mend = "see MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, and docs/team-server.md"
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            mend = "close whatever else uses the file, then run `sslbench publish` again"
        raise UserError(f"no MLflow there ({said})", where=uri(), mend=mend) from None


class Store:
    """A connection to the MLflow store; creating it migrates the database (hold the lock)."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            UserError: a server refuses us or does not answer.
        """
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "1")
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        with reachable():
            if not exists():
                _make_database(MlflowClient)
            self.client = MlflowClient(uri())
            self.experiment = self._find_experiment() or self._create_experiment()
        self._nodes: dict[str, str] = {}

    def _find_experiment(self) -> str | None:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        return None if found is None else str(found.experiment_id)

    def _create_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        is_remote = os.environ.get("MLFLOW_TRACKING_URI")
        place = None if is_remote else Path("mlartifacts").resolve().as_uri()
        try:
            return str(self.client.create_experiment(EXPERIMENT, place))
        except MlflowException:
            if found := self._find_experiment():  # another writer was faster
                return found
            raise

    def find(self, tag: str, value: str) -> Any | None:
        """Return the oldest run with a tag's value, or None."""
        quoted = value.replace("'", "")
        runs = self.client.search_runs(
            [self.experiment],
            filter_string=f"tags.`{tag}` = '{quoted}'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        return runs[0] if runs else None

    def fingerprints(self) -> set[str]:
        """Return the fingerprints of all finished stage runs."""
        return set(self._finished(FINGERPRINT))

    def _finished(self, tag: str) -> dict[str, list[Any]]:
        """Return the finished runs that have a tag, by its value, the oldest first."""
        found: dict[str, list[Any]] = {}
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            for run in page:
                if run.info.status == "FINISHED" and tag in run.data.tags:
                    found.setdefault(run.data.tags[tag], []).append(run)
            token = page.token
            if not token:
                break
        for runs in found.values():
            runs.sort(key=lambda run: (run.info.start_time, run.info.run_id))
        return found

    def settle(self) -> int:
        """Keep the oldest run of each fingerprint and node; return how many went.

        MLflow knows no unique tag, so two that publish to one server at once both create a run.
        Both then settle, by one rule and on finished runs alone, so that the last one to do so
        leaves one of each.
        """
        dropped = 0
        for tag in (NODE, FINGERPRINT):
            for first, *others in self._finished(tag).values():
                for other in others:
                    self._adopt(other.info.run_id, first.info.run_id)
                    self._delete(other.info.run_id)
                dropped += len(others)
        return dropped

    def _adopt(self, old: str, new: str) -> None:
        """Give the children of one run to another."""
        children = self.client.search_runs(
            [self.experiment], filter_string=f"tags.`mlflow.parentRunId` = '{old}'"
        )
        for child in children:
            self.client.set_tag(child.info.run_id, "mlflow.parentRunId", new)

    def _delete(self, run_id: str) -> None:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):  # somebody else was faster
            self.client.delete_run(run_id)

    def node(self, name: str, parent: str | None) -> str:
        """Return the id of a grouping run, such as `simclr` or `simclr/seed0`; made if absent."""
        if name not in self._nodes:
            run = self.find(NODE, name)
            self._nodes[name] = run.info.run_id if run else self._create_node(name, parent)
        return self._nodes[name]

    def _create_node(self, name: str, parent: str | None) -> str:
        tags = {NODE: name, "mlflow.parentRunId": parent} if parent else {NODE: name}
        run = self.client.create_run(self.experiment, tags=tags, run_name=name)
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def parent_of(self, item: Mapping[str, Any]) -> str | None:
        """Return the run under which a cell belongs: its method's seed, or None."""
        if "method" not in item:
            return None
        method = self.node(str(item["method"]), None)
        return self.node(f"{item['method']}/seed{item['seed']}", method)

    def open_run(self, event: Mapping[str, Any]) -> str:
        """Return the run of a cell: the one with its fingerprint, or a new one."""
        run = self.find(FINGERPRINT, event["fingerprint"])
        if run is not None:
            self.client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        return self._create_run(event)

    def _create_run(self, event: Mapping[str, Any]) -> str:
        from mlflow.entities import Param, RunTag

        tags = {
            FINGERPRINT: event["fingerprint"],
            "sslbench.cell": event["cell"],
            "sslbench.stage": event["stage"],
            "sslbench.command": event["command"],
            "mlflow.source.name": event["command"],
        }
        git = event.get("git") or {}
        if git.get("commit"):
            tags["mlflow.source.git.commit"] = git["commit"]
        if git.get("dirty_diff_sha256"):
            tags["sslbench.dirty_diff_sha256"] = git["dirty_diff_sha256"]
        if parent := self.parent_of(event["item"]):
            tags["mlflow.parentRunId"] = parent
        started = int(event.get("time", time.time()) * 1000)
        run = self.client.create_run(
            self.experiment, start_time=started, tags=tags, run_name=event["cell"]
        )
        flat = journal.flatten({**event["item"], **event["params"]})
        params = [Param(key, value[:6000]) for key, value in sorted(flat.items())]
        self.client.log_batch(run.info.run_id, params=params, tags=[RunTag("sslbench.v", "1")])
        self._log_data(run.info.run_id, event["deps"])
        return str(run.info.run_id)

    def _log_data(self, run_id: str, deps: Mapping[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(name=path, digest=md5[:36], source_type="dvc", source=path),
                [InputTag("mlflow.data.context", Path(path).stem)],
            )
            for path, md5 in deps.items()
            if path.endswith(".arrow")
        ]
        if inputs:
            self._log_inputs(run_id, inputs)

    def _log_inputs(self, run_id: str, inputs: list[Any]) -> None:
        """MLflow looks for a data set, then adds it: the slower of two writers is refused once."""
        from mlflow.exceptions import MlflowException

        for left in range(len(inputs), -1, -1):  # at least one more is there after each refusal
            try:
                self.client.log_inputs(run_id, inputs)
                break
            except MlflowException as error:
                if error.error_code != "BAD_REQUEST" or not left:
                    raise

    def log_metrics(self, run_id: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Log a list of {time, step, values}, in batches."""
        from mlflow.entities import Metric

        rows = [
            Metric(key, float(value), int(event["time"] * 1000), int(event["step"]))
            for event in events
            for key, value in event["values"].items()
        ]
        for first in range(0, len(rows), 1000):
            self.client.log_batch(run_id, metrics=rows[first : first + 1000])

    def log_record(self, run_id: str, record: Mapping[str, Any], path: Path) -> None:
        """Log a record's numbers as metrics and the file itself as an artifact."""
        from mlflow.entities import RunTag

        now = time.time()
        logged = filter(None, map(journal.logged, record.get("measurements", ())))
        events = [
            {"time": now, "step": step, "values": {key: value}} for key, step, value in logged
        ]
        self.log_metrics(run_id, events)
        environment = journal.flatten(record.get("environment", {}), "sslbench.environment")
        # One request for all: a server hashes the password at each.
        tags = [RunTag(key, value) for key, value in environment.items()]
        self.client.log_batch(run_id, tags=tags)
        self.client.log_artifact(run_id, str(path))

    def finish(self, run_id: str, status: str, ended: float) -> None:
        """End a run with MLflow's status word and its time."""
        self.client.set_terminated(run_id, status, int(ended * 1000))

    @contextmanager
    def system_metrics(self, run_id: str) -> Iterator[None]:
        """Watch the machine while a run goes on (MLflow's own monitor)."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
            run_id, sampling_interval=2, tracking_uri=uri()
        )
        with suppress(Exception):
            monitor.start()
        try:
            yield
        finally:
            with suppress(Exception):
                monitor.finish()


def _make_database(connect: Callable[[str], Any]) -> None:
    """Make the local database under another name: one that was killed half made opens never again.

    Args:
        connect: MLflow's client, which makes a database that is not there.
    """
    for left in DATABASE.parent.glob(f"{DATABASE.name}.*.new*"):
        left.unlink()
    # A name of its own: mlflow keeps connections to the others.
    made = DATABASE.with_name(f"{DATABASE.name}.{secrets.token_hex(4)}.new")
    connect(f"sqlite:///{made.resolve()}")
    made.replace(DATABASE)


def exists() -> bool:
    """Whether a store can be asked without creating one."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or DATABASE.exists()
