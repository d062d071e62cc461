"""A tiny project with every stage, undisturbed once; copies of it to damage and to mend."""

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from sslbench.core import params, pipeline
from tests.golden.test_pipeline import ROOT, checkout, hashes

CHANGES = (
    "grid.methods=[simclrv2, simclrv2_finetune]", "grid.seeds=[0]", "grid.probes=[knn]",
    "grid.transfers=[finetune]", "pretrain.epochs=4", "compute.transfer_threads=1",
    "methods.simclrv2_finetune.labels.per_class=2", "transfer.finetune.steps=4",
    "transfer.finetune.learning_rate=[0.1]", "transfer.finetune.weight_decay=[0.0]",
)  # fmt: skip
# One cell of each stage; the killed one is the last of its chain where there is a choice.
CELLS = (
    "prepare@scenes", "pretrain@simclrv2-0", "continue_pretraining@simclrv2_finetune-0",
    "extract@simclrv2_finetune-0-scenes", "probe@simclrv2_finetune-0-scenes-knn",
    "transfer@simclrv2_finetune-0-scenes-finetune", "report",
)  # fmt: skip
PRETRAIN = CELLS[1]
VENV = Path(sys.executable).parents[1]
# As a user types it; the stamp is taken for new, since nothing is to be installed here.
MAKE = ("make", "-s", "-o", f"{VENV}/.ready", f"VENV={VENV}")
SNAKEMAKE = ("snakemake", "--profile", "workflow/profiles/local")
ENGINES = {"dvc": ("dvc", "repro"), "snakemake": SNAKEMAKE}


@dataclass(frozen=True)
class Try:
    """One fault and what came after it.

    Attributes:
        fault: what was done, a row of the table.
        then: the one command that followed.
        same: whether every out was then the undisturbed run's, byte for byte.
        cells: how many the command ran again.
        seconds: how long it took.
        said: what was wrong, if anything: an exit code, a traceback, files left behind.
        moment: when it was done.
    """

    fault: str
    then: str
    same: bool
    cells: int
    seconds: float
    said: str
    moment: str


class Bench:
    """The undisturbed project, and a place for its copies.

    Attributes:
        random: where moments and bytes are drawn from.
        life: seconds that each cell's process lived in the undisturbed run.
    """

    def __init__(self, work: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self._work = work
        self._count = 0
        self.base = work / "base"
        self.base.mkdir()
        checkout(self.base, *CHANGES)
        shutil.copy2(ROOT / "Makefile", self.base / "Makefile")
        self.life = _timed(self.base)
        self.run(self.base, sys.executable, "-m", "sslbench.cli", "sync", "snakemake")
        self.expected = hashes(self.base)

    def copy(self, *undone: str) -> Path:
        """Return a fresh copy in which these cells have not been run."""
        self._count += 1
        folder = self._work / f"copy{self._count}"
        shutil.copytree(self.base, folder, symlinks=True)
        # Without a report, since Snakemake asks for nothing that only a made report needed.
        rewind(folder, (*undone, "report") if undone else ())
        return folder

    def scratch(self, name: str) -> Path:
        """Return a new folder for whatever else a fault needs."""
        self._count += 1
        folder = self._work / f"{name}{self._count}"
        folder.mkdir()
        return folder

    def run(self, folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a command in a folder and return what it did."""
        return subprocess.run(
            command, cwd=folder, env=surroundings(**environment), text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900,
        )  # fmt: skip

    def mend(self, fault: str, folder: Path, then: tuple[str, ...], moment: str = "") -> Try:
        """Run the one command, compare, and remove the copy."""
        started = time.monotonic()
        done = self.run(folder, *then)
        seconds = time.monotonic() - started
        end_all_in(folder)
        cells = done.stdout.count("Running stage '") + done.stdout.count("Finished jobid: ")
        cells -= done.stdout.count("(Rule: all)")
        said = _complaint(done) or _left_behind(folder)
        same = hashes(folder) == self.expected
        shutil.rmtree(folder)
        name = " ".join(then).replace(" ".join(MAKE), "make").replace(" ".join(SNAKEMAKE[1:]), "…")
        return Try(fault, name, same, cells, seconds, said, moment)


def surroundings(**more: str) -> dict[str, str]:
    """Return the environment of a user: this interpreter first, no tracking unless asked for."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"SSLBENCH_TRACKING": "off", "SSLBENCH_DEVICE": "cpu"}
    return {**os.environ, "PATH": path, **quiet, **more}


def start(folder: Path, command: tuple[str, ...], **environment: str) -> subprocess.Popen:
    """Start a command as the leader of a session of its own; its words go to a file."""
    with (folder / "said.log").open("w") as words:
        return subprocess.Popen(
            command, cwd=folder, env=surroundings(**environment), start_new_session=True,
            stdout=words, stderr=subprocess.STDOUT,
        )  # fmt: skip


def stages_in(folder: Path) -> list[psutil.Process]:
    """Return the stages' processes that run in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if process.cwd() == str(folder) and words[1:2] == ["-m"]:
                found += [process] if words[2].startswith("stages.") else []
        except (psutil.Error, IndexError):
            continue
    return found


def end_all_in(folder: Path) -> None:
    """Kill whatever still runs in a copy, such as orphans and recorders: all of it is ours."""
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                process.kill()
                process.wait(10)
        except psutil.Error:
            continue


def rewind(folder: Path, undone: tuple[str, ...]) -> None:
    """Make a project forget that it ran some cells: outs, lock, cache and run cache."""
    lock = folder / "dvc.lock"
    content = params.load(lock)
    for cell in pipeline.cells(folder):
        if cell.name not in undone:
            continue
        entry = content["stages"].pop(cell.name)
        for out in entry["outs"]:
            path, md5 = folder / out["path"], out["md5"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            (folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}").unlink(missing_ok=True)
    if undone:
        lock.write_text(yaml.safe_dump(content, sort_keys=False))
        shutil.rmtree(folder / ".dvc/cache/runs", ignore_errors=True)


def _timed(folder: Path) -> dict[str, float]:
    """Run the project undisturbed; return how long each cell's process lived."""
    engine, life = start(folder, ENGINES["dvc"]), {}
    while engine.poll() is None:
        for process in stages_in(folder):
            try:
                cell = pipeline.find_by_arguments(
                    process.cmdline()[2].removeprefix("stages."), process.cmdline()[3:], folder
                )
                life[cell.name] = time.time() - process.create_time()
            except (psutil.Error, IndexError, AttributeError):
                continue
        time.sleep(0.1)
    words = (folder / "said.log").read_text()
    assert engine.returncode == 0, words[-3000:]
    (folder / "said.log").unlink()
    assert set(CELLS) <= set(life), life
    return life


def _complaint(done: subprocess.CompletedProcess) -> str:
    if "Traceback" in done.stdout:
        return "a traceback"
    lines = done.stdout.strip().splitlines() or ["no word"]
    return f"exit code {done.returncode}: {lines[-1]}" if done.returncode else ""


def _left_behind(folder: Path) -> str:
    names = ("data", "runs", "metrics", "report", ".scratch/pretrain")
    files = [p for name in names for p in (folder / name).rglob("*") if p.suffix == ".tmp"]
    files += (folder / ".scratch/pretrain").rglob("state.safetensors")
    return f"left {files[0].relative_to(folder)}" if files else ""
