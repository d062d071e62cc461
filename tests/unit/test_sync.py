"""`sslbench sync dvc`: what it asks of the engines, and when it has nothing to record."""

import subprocess
from types import SimpleNamespace

import pytest

from sslbench import lineage
from sslbench.commands import sync
from sslbench.core import pipeline
from sslbench.core.errors import UserError

FAULT = lineage.Fault("probe@a", "dvc.lock does not know it", "run `dvc commit`")


@pytest.fixture
def engines(monkeypatch):
    """The commands run so far; `lock_faults` and `is_clean` say what they find."""

    state = SimpleNamespace(commands=[], lock_faults=[], is_clean=True)

    def run(command, **_):
        state.commands.append(" ".join(command))
        if command[:2] == ["dvc", "status"]:
            return subprocess.CompletedProcess(command, 0 if state.is_clean else 1)
        if command[:2] == ("dvc", "commit"):
            state.lock_faults = []
        return subprocess.CompletedProcess(command, 0, "Nothing to be done", "")

    monkeypatch.setattr(sync.subprocess, "run", run)
    monkeypatch.setattr(pipeline, "cells", list)
    monkeypatch.setattr(lineage, "check", lambda _, lock: state.lock_faults if lock else [])
    return state


@pytest.mark.parametrize(
    ("faults", "is_clean", "commits"), [([], True, 0), ([FAULT], True, 1), ([], False, 1)]
)
def test_commits_what_lock_or_cache_lack(engines, capsys, faults, is_clean, commits):
    engines.lock_faults, engines.is_clean = faults, is_clean
    sync._to_dvc()
    assert sum(command.startswith("dvc commit") for command in engines.commands) == commits
    assert ("already" in capsys.readouterr().out) == (not commits)


def test_faults_of_records_stop_it(engines, monkeypatch):
    monkeypatch.setattr(lineage, "check", lambda _, lock: [FAULT])
    with pytest.raises(UserError, match="1 faults; nothing was recorded"):
        sync._to_dvc()
    assert not any(command.startswith("dvc commit") for command in engines.commands)
