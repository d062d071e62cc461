"""Replays journals into MLflow while stages run; one recorder at a time.

It tails every file in the journal folder, deletes a journal once its run is complete, and leaves
after a quiet while. A journal whose writer died without a word becomes a KILLED run. Where the
store goes away the recorder leaves: the journals stay for the next one, or for `sslbench publish`.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sslbench.core.errors import UserError
from sslbench.tracking import locks, store
from sslbench.tracking.journal import FOLDER, has_writer

QUIET_SECONDS = 8.0
POLL_SECONDS = 0.5
MONITORED = ("pretrain", "transfer")


class Tail:
    """One journal being replayed into one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._run: str | None = None
        self._stack = ExitStack()

    def replay(self, mirror: store.Store) -> bool:
        """Copy what is new; return whether the journal is complete."""
        curves: list[Mapping[str, Any]] = []
        lives = has_writer(self.path)  # asked first: what it still writes is read below
        for event in self._new_events():
            if event["event"] == "start":
                self._start(mirror, event)
            elif event["event"] == "metrics":
                curves.append(event)
            else:
                self._finish(mirror, event, curves)
                return True
        if curves and self._run:
            mirror.log_metrics(self._run, curves)
        if not lives:
            self._finish(mirror, {"status": "KILLED", "time": time.time()}, [])
            return True
        return False

    def _new_events(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as handle:
            handle.seek(self._offset)
            for line in handle:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                try:
                    yield json.loads(line)
                except ValueError:  # a power cut or a full disk, then life again
                    print(f"{self.path}: skipped a damaged line", file=sys.stderr)

    def _start(self, mirror: store.Store, event: Mapping[str, Any]) -> None:
        self._run = mirror.open_run(event)
        is_here = event.get("host") == platform.node()  # MLflow's monitor watches its own machine
        if event["stage"] in MONITORED and is_here and has_writer(self.path):
            self._stack.enter_context(mirror.system_metrics(self._run))

    def _finish(
        self, mirror: store.Store, event: Mapping[str, Any], curves: list[Mapping[str, Any]]
    ) -> None:
        self._stack.close()
        if self._run is None:
            return
        if usage := event.get("system"):
            curves.append({"time": event["time"], "step": 0, "values": usage})
        mirror.log_metrics(self._run, curves)
        record = event.get("record")
        if record and Path(record).exists():
            mirror.log_record(self._run, json.loads(Path(record).read_text()), Path(record))
        mirror.finish(self._run, event["status"], event["time"])

    def leave(self) -> None:
        """Stop watching the machine; the journal stays."""
        self._stack.close()


def drain(mirror: store.Store, *, until_quiet: bool) -> int:
    """Replay journals until none is left (and, if asked, until it has been quiet for a while).

    Raises:
        UserError: the store went away; what is not replayed yet stays.
    """
    tails: dict[Path, Tail] = {}
    try:
        with store.reachable():
            return _drain(mirror, tails, until_quiet=until_quiet)
    finally:
        for tail in tails.values():
            tail.leave()


def _drain(mirror: store.Store, tails: dict[Path, Tail], *, until_quiet: bool) -> int:
    last_active, done = time.monotonic(), 0
    while True:
        for path in sorted(FOLDER.glob("*.jsonl")):
            tail = tails.setdefault(path, Tail(path))
            if tail.replay(mirror):
                path.unlink()
                del tails[path]
                done += 1
            last_active = time.monotonic()
        if not tails and (not until_quiet or time.monotonic() - last_active > QUIET_SECONDS):
            return done
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Record until quiet, unless another recorder is at work."""
    with locks.locked(locks.RECORDER, wait=False) as mine:
        if not mine:
            return
        try:
            with locks.locked(locks.STORE):
                mirror = store.Store()
            drain(mirror, until_quiet=True)
        except UserError as error:
            sys.exit(f"recorder: {error}")


if __name__ == "__main__":
    main()
