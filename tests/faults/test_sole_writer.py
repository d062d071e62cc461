"""One process at a time makes a cell: an orphan is ended, a living run is waited for."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sslbench.core.pipeline import Cell

CELL = Cell("probe@x", "probe", {}, "python -m stages.hold", (), (), ("metrics/x.json",))
# A stage that holds the cell, says so, and sleeps as long as told; SIGTERM ends it in a line.
HOLD = f"""
import sys, time
from sslbench.core.pipeline import Cell
from sslbench.core.sole_writer import sole_writer

with sole_writer({CELL!r}):
    print("mine", flush=True)
    time.sleep(float(sys.argv[1]))
"""
# An engine: starts the stage and says its id.
ENGINE = """
import subprocess, sys, time

stage = subprocess.Popen([sys.executable, "-m", "stages.hold", "60"], stdout=subprocess.PIPE)
stage.stdout.readline()
print(stage.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").touch()
    (tmp_path / "stages/hold.py").write_text(HOLD)
    return tmp_path


def start(folder, root, *words):
    return subprocess.Popen(
        [sys.executable, *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_an_orphan_of_a_killed_engine_is_ended_by_the_next_run(folder, root):
    engine = start(folder, root, "-c", ENGINE)
    orphan = int(engine.stdout.readline())
    engine.kill()
    engine.wait()  # its pipes stay open in the orphan
    started = time.monotonic()
    said = start(folder, root, "-m", "stages.hold", "0").communicate(timeout=50)
    assert time.monotonic() - started < 30
    assert f"ending process {orphan}, left of a killed run" in said[1]
    assert said[0] == "mine\n"


def test_a_run_whose_engine_lives_is_waited_for(folder, root):
    first = start(folder, root, "-m", "stages.hold", "3")
    first.stdout.readline()
    second = start(folder, root, "-m", "stages.hold", "0")
    assert f"waiting for process {first.pid} on " in second.stderr.readline()
    assert first.poll() is None
    assert second.communicate(timeout=50)[0] == "mine\n"
    assert first.wait(1) == 0, "the second began after the end of the first"
    first.communicate()


def test_what_a_killed_writer_left_beside_its_outs_goes(folder, root):
    metrics = folder / "metrics"
    (metrics / ".x.json.12ab.tmp").mkdir(parents=True)
    (metrics / ".x.json.12ab.tmp/spool").write_text("half")
    (metrics / ".x.json.34cd.tmp").write_text("half")
    (metrics / ".y.json.34cd.tmp").write_text("another's")
    held = start(folder, root, "-m", "stages.hold", "60")
    held.stdout.readline()
    held.send_signal(signal.SIGKILL)
    held.communicate()
    assert [path.name for path in metrics.iterdir()] == [".y.json.34cd.tmp"]
    said = start(folder, root, "-m", "stages.hold", "0").communicate(timeout=50)
    assert said == ("mine\n", ""), "the kernel gave the lock of the dead back"
