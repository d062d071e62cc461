"""What is shared: a remote that goes away in mid-transfer, one cache for two clones, the clock."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.faults.campaign.project import (
    CELLS,
    ENGINES,
    MAKE,
    PRETRAIN,
    Bench,
    Try,
    start,
)  # fmt: skip
from tests.golden.servers import ssh_remote
from tests.golden.test_pipeline import RESULTS, add_remote

YEAR = 365 * 24 * 3600
PUSH, PULL = ("dvc", "push", "-q"), ("dvc", "pull", "-q")


def lost_remote(bench: Bench, tries: int) -> Iterator[Try]:
    """An SSH server that is killed, with its sessions, in mid-push and then in mid-pull."""
    for _ in range(min(tries, 2)):
        place, folder, clone = bench.scratch("remote"), bench.copy(), bench.copy()
        for name in (*RESULTS, ".dvc/cache"):
            shutil.rmtree(clone / name)
        cut = _cut(bench, folder, place, PUSH, place / "remote")
        with _server(place, folder):
            pushed = bench.mend("the remote lost in mid-push", folder, PUSH, cut)
        cut = _cut(bench, clone, place, PULL, clone / ".dvc/cache/files")
        with _server(place, clone):
            pulled = bench.mend("the remote lost in mid-pull", clone, PULL, cut)
        yield pushed
        yield pulled


@contextmanager
def _server(place: Path, folder: Path) -> Iterator[None]:
    """An SSH server, each time on another port, that a project has as its remote."""
    shutil.rmtree(place / "keys", ignore_errors=True)
    with ssh_remote(place) as (url, settings, _):
        add_remote(folder, url, settings)
        yield


def _cut(bench: Bench, folder: Path, place: Path, command: tuple[str, ...], arriving: Path) -> str:
    """Start a transfer and kill the server once some files have arrived; return how many."""
    wanted = bench.random.randrange(1, 12)
    with _server(place, folder):
        process = start(folder, command)
        while sum(path.is_file() for path in arriving.rglob("*")) < wanted:
            assert process.poll() is None, (folder / "said.log").read_text()
            time.sleep(0.005)
        server = psutil.Process(int((place / "keys/sshd.pid").read_text()))
        for one in (*server.children(recursive=True), server):
            one.kill()
        process.wait(600)
    assert process.returncode, "the transfer was over before it was cut"
    return f"after {wanted} files, exit code {process.returncode}"


def one_cache(bench: Bench, tries: int) -> Iterator[Try]:
    """Two clones run the same cells at once, on one cache."""
    for _ in range(min(tries, 2)):
        cache = bench.scratch("cache")
        folders = [bench.copy(*CELLS[3:]) for _ in range(2)]
        for folder in folders:
            bench.run(folder, "dvc", "cache", "dir", "--local", str(cache))
        running = [start(folder, ENGINES["dvc"]) for folder in folders]
        codes = [process.wait(600) for process in running]
        for folder in folders:
            moment = f"exit codes {codes}"
            yield bench.mend("two clones at once on one cache", folder, ENGINES["dvc"], moment)


def clock(bench: Bench, tries: int) -> Iterator[Try]:
    """Dates as a clock leaves them that jumped while the project ran."""
    jumps = {"a year ahead": YEAR, "an hour ahead": 3600, "a year back": -YEAR}
    for name, seconds in list(jumps.items())[: max(tries, 2)]:
        for engine, then in {"dvc": "reproduce", "snakemake": "snakemake"}.items():
            folder = bench.copy(*CELLS[5:])
            for place in ("data", "runs/simclrv2"):  # written after the jump; the rest is not
                for path in (folder / place).rglob("*"):
                    stamp = path.stat().st_mtime + seconds
                    os.utime(path, (stamp, stamp))
            title = f"the clock {name} for some cells, {engine}"
            yield bench.mend(title, folder, (*MAKE, then))


def orphan(engine: str, bench: Bench, tries: int) -> Iterator[Try]:
    """The engine alone is killed, and the same command is given while the orphan trains on."""
    for _ in range(min(tries, 2)):
        folder = bench.copy(PRETRAIN)
        process = start(folder, ENGINES[engine])
        while not list((folder / ".scratch/pretrain").rglob("state.safetensors")):
            assert process.poll() is None, (folder / "said.log").read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        yield bench.mend(
            f"an orphan of a killed engine trains on, {engine}", folder, ENGINES[engine]
        )


def has_ssh_server() -> bool:
    """Whether OpenSSH's server is installed."""
    return Path("/usr/sbin/sshd").exists() and bool(
        subprocess.run(["which", "ssh-keygen"], capture_output=True, check=False).stdout
    )
