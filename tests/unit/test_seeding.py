"""Threads and memory: what is set, and that none of it reaches a result."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sslbench.core import seeding

# Three steps of SimCLR on two threads, in fp32 and in bf16, and a hash of the weights.
PROGRAM = """
import hashlib, sys
from pathlib import Path
from sslbench.core import seeding
if "default" in sys.argv:
    seeding._keep_freed_memory = lambda: None
else:
    seeding.pin_threads(2)
seeding.seed_torch(0, 2)
import torch
from tests.unit.pretraining.test_loop import loop
for precision in ("32-true", "bf16-mixed"):
    made = loop(Path(sys.argv[1]) / precision, precision=precision, epochs=2)
    made.run()
    weights = b"".join(p.detach().numpy().tobytes() for p in made.method.parameters())
    print(hashlib.sha256(weights).hexdigest())
"""


def hashes(folder, *words, **environment):
    command = [sys.executable, "-c", PROGRAM, str(folder), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.slow
def test_waiting_and_memory_settings_change_no_bit(tmp_path):
    ours = hashes(tmp_path / "ours")
    assert len(set(ours)) == 2
    assert ours == hashes(tmp_path / "default", "default")


def test_threads_are_pinned_and_a_persons_own_spin_count_stays(monkeypatch):
    for before, after in ({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"):
        environment = {"OMP_NUM_THREADS": "7", **before}
        monkeypatch.setattr(seeding.os, "environ", environment)
        seeding.pin_threads(3)
        assert {environment[name] for name in seeding._THREAD_VARIABLES} == {"3"}
        assert environment["GOMP_SPINCOUNT"] == after
