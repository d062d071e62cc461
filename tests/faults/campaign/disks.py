"""Disks: full ones, read-only ones, and ones that give back other bytes than were written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sslbench.core import provenance
from tests.faults.campaign import kills
from tests.faults.campaign.project import CELLS, ENGINES, MAKE, PRETRAIN, Bench, Try

REPRO = ENGINES["dvc"]
MEND, REPRODUCE = (*MAKE, "mend"), (*MAKE, "reproduce")
# Where there is no room: what is then written there, the cell that does it, KiB.
NO_ROOM = {
    "data/scenes": ("prepare", CELLS[0], 100),
    ".scratch/pretrain": ("the resume file of pretrain", PRETRAIN, 100),
    "runs/simclrv2/seed0/checkpoint": ("the checkpoint of pretrain", PRETRAIN, 100),
    "runs/simclrv2_finetune/seed0/features": ("extract", CELLS[3], 32),
    "metrics/scenes/knn": ("a record of probe", CELLS[4], 0),
    "report": ("report", CELLS[6], 32),
    ".scratch/locks": ("the lock of a cell", PRETRAIN, 0),
    "logs": ("the journal", PRETRAIN, 0),
    ".dvc/cache": ("DVC's cache", PRETRAIN, 100),
}

SPARE = (".scratch/locks", "logs")  # where a stage needs no room to go on


def full(bench: Bench, tries: int) -> Iterator[Try]:
    """A small file system where a stage, or DVC, wants to write."""
    for place, (what, cell, kib) in NO_ROOM.items():
        folder = bench.copy(cell)
        with small_disk(folder / place, kib):
            first = bench.run(folder, *REPRO, SSLBENCH_TRACKING="on")
        wrong = _tell(first.stdout, first.returncode, must_fail=place not in SPARE)
        yield _with(wrong, bench.mend(f"full disk: {what}", folder, REPRO))


def read_only(bench: Bench, tries: int) -> Iterator[Try]:
    """A folder that lets nobody write."""
    folder = bench.copy(PRETRAIN)
    with small_disk(folder / "runs/simclrv2/seed0/checkpoint", 100, "ro"):
        first = bench.run(folder, *REPRO)
    wrong = _tell(first.stdout, first.returncode, must_fail=True)
    yield _with(wrong, bench.mend("read-only folder: pretrain", folder, REPRO))


@contextmanager
def small_disk(place: Path, kib: int, mode: str = "rw") -> Iterator[None]:
    """Mount a tmpfs; with 0 KiB of room it is filled to the last byte."""
    place.mkdir(parents=True, exist_ok=True)
    options = f"size={max(kib, 4)}k,nr_inodes=100,{mode}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        if not kib:
            (place / "ballast").write_bytes(bytes(4096))
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def flips(bench: Bench, tries: int) -> Iterator[Try]:
    """One bit, in each kind of file, with its date kept: nobody but a reader can see it."""
    targets = {
        "data": "data/scenes/train.arrow",
        "a checkpoint": "runs/simclrv2/seed0/checkpoint/backbone.safetensors",
        "features": "runs/simclrv2_finetune/seed0/features/scenes/test.safetensors",
        "a record": "metrics/scenes/knn/simclrv2/seed0.json",
        "the report": "report/numbers.csv",
    }
    for what, name in targets.items():
        for _ in range(min(tries, 2)):
            folder = bench.copy()
            flip(bench, folder / name)
            yield _with(_caught(bench, folder), bench.mend(f"a bit of {what}", folder, MEND))


def cache_flips(bench: Bench, tries: int) -> Iterator[Try]:
    """One bit of an object that DVC trusts, which a checkout then brings into the tree."""
    outs = ["runs/simclrv2/seed0/checkpoint/backbone.safetensors", "data/scenes/test.arrow"]
    for name in (outs * tries)[:tries]:
        folder = bench.copy()
        md5 = provenance.md5(folder / name)
        flip(bench, folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
        (folder / name).unlink()
        bench.run(folder, "dvc", "checkout")
        title = "a bit of an object of DVC's cache, checked out"
        yield _with(_caught(bench, folder), bench.mend(title, folder, MEND))


def resume_file(bench: Bench, tries: int) -> Iterator[Try]:
    """A training is killed and its resume file is then flipped, or cut short."""
    for number in range(tries):
        folder = bench.copy(PRETRAIN)
        kills.kill_once_resumable(folder)
        (state,) = (folder / ".scratch/pretrain").rglob("state.safetensors")
        what = "a bit of the resume file" if number % 2 == 0 else "the resume file cut short"
        if number % 2 == 0:
            flip(bench, state)
        else:
            os.truncate(state, bench.random.randrange(state.stat().st_size))
        yield bench.mend(what, folder, REPRO)


def torn_lock(bench: Bench, tries: int) -> Iterator[Try]:
    """dvc.lock cut short anywhere, as kill -9 does while DVC writes it in place."""
    for _ in range(tries):
        folder = bench.copy()
        lock = folder / "dvc.lock"
        os.truncate(lock, bench.random.randrange(lock.stat().st_size))
        yield bench.mend("dvc.lock cut short", folder, REPRODUCE)


def rwlock(bench: Bench, tries: int) -> Iterator[Try]:
    """DVC's list of busy files: cut short, or of a process whose id is now another's."""
    other = f'{{"data/scenes/train.arrow": {{"pid": {os.getppid()}, "cmd": "x"}}}}'
    for content in ('{"read": {"da', f'{{"read": {{}}, "write": {other}}}')[:tries]:
        folder = bench.copy(CELLS[6])
        (folder / ".dvc/tmp/rwlock").write_text(content)
        yield bench.mend("DVC's list of busy files of a dead DVC", folder, REPRODUCE)


def flip(bench: Bench, path: Path) -> None:
    """Change one bit and nothing that a directory shows."""
    status, content = path.stat(), bytearray(path.read_bytes())
    place = bench.random.randrange(len(content))
    content[place] ^= 1 << bench.random.randrange(7)
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _caught(bench: Bench, folder: Path) -> str:
    done = bench.run(folder, sys.executable, "-m", "sslbench.cli", "verify")
    return "" if done.returncode else "`sslbench verify` did not see it"


def _tell(words: str, code: int, *, must_fail: bool) -> str:
    """Return what a user would object to in the words of a run that met the fault."""
    if bool(code) != must_fail:
        return f"exit code {code} under the fault"
    return "a traceback under the fault" if "Traceback" in words else ""


def _with(wrong: str, found: Try) -> Try:
    said = "; ".join(filter(None, (wrong, found.said)))
    return Try(**{**vars(found), "said": said})


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    return os.geteuid() == 0 and shutil.which("mount") is not None
