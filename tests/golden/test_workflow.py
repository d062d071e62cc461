"""What Snakemake alone has: its report, and jobs of a Slurm cluster that are killed and go on."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.golden.cluster import cluster, jobs, say
from tests.golden.test_pipeline import checkout, hashes, snakemake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]
EPOCHS = 8
GRID = (
    "grid.methods=[rotation]",
    "grid.seeds=[0]",
    "grid.probes=[knn]",
    f"pretrain.epochs={EPOCHS}",
)
# Beside the profile only what this cluster is: without accounting, and quick.
ON_CLUSTER = [
    "--profile=workflow/profiles/slurm",
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=15",
]
JOURNALS = "logs/journal"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A copy that Snakemake ran on this machine, undisturbed."""
    folder = checkout(tmp_path_factory.mktemp("local"), *GRID)
    snakemake(folder)
    return folder


@pytest.fixture(scope="module")
def by_slurm(local, tmp_path_factory):
    """A copy whose cells ran as jobs of a cluster, the pretraining job cancelled once; its jobs.

    The report is left to the local profile, as docs/cluster.md says of short cells.
    """
    pytest.importorskip(
        "snakemake_executor_plugin_slurm",
        reason="no Slurm plugin here: make setup installs it",
    )
    with cluster():
        folder = with_data_alone(local, tmp_path_factory.mktemp("slurm") / "copy")
        (folder / JOURNALS).mkdir(parents=True)
        # No recorder while we hold its lock: the journals stay for us to read.
        with (folder / "logs/recorder.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with started(folder) as run:
                cancel_in_mid_training(folder, run)
                said = run.communicate(timeout=900)[0]
        assert run.returncode == 0, said[-3000:]
        ran = jobs()
    snakemake(folder)
    return folder, ran


def with_data_alone(local, folder):
    """Copy a tree without what follows the data set."""
    shutil.copytree(local, folder, symlinks=True)
    for name in (
        "runs",
        "report",
        *(f"metrics/scenes/{s}" for s in ("pretrain", "extract", "knn")),
    ):
        shutil.rmtree(folder / name)
    return folder


def started(folder):
    """Start Snakemake on the cluster; its words are kept."""
    environment = {**os.environ, "SSLBENCH_TRACKING": "on"}
    environment.pop("SSLBENCH_DEVICE")  # set for all tests; without it stages ask for a GPU
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["snakemake", *ON_CLUSTER, "--until", "probe"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def cancel_in_mid_training(folder, run):
    """Cancel the pretraining job once it saved an epoch.

    The stage is stopped first, or it might end before Slurm's signal comes.
    """
    for _ in range(12000):
        training = pretraining(folder)
        if training and len(steps(training[0])) > 1:
            os.kill(training[0][0]["pid"], signal.SIGSTOP)
            say("scancel", *say("squeue", "-h", "-t", "R", "-o", "%i").split())
            return
        assert run.poll() is None, run.communicate()[0][-3000:]
        time.sleep(0.01)
    pytest.fail("no pretraining job after two minutes")


def pretraining(folder):
    """Return the events of each pretraining so far, the first run first."""
    texts = [path.read_text() for path in sorted((folder / JOURNALS).glob("*.jsonl"))]
    books = [[json.loads(line) for line in text.splitlines()] for text in texts if text]
    return [book for book in books if book[0]["stage"] == "pretrain"]


def steps(events):
    return [event["step"] for event in events if event["event"] == "metrics"]


def test_a_cluster_writes_the_same_bytes_although_a_job_was_killed(local, by_slurm):
    folder, ran = by_slurm
    assert hashes(folder) == hashes(local)
    assert [job["Comment"].split("_")[1] for job in ran][-2:] == ["extract", "probe"]


def test_a_killed_job_is_submitted_again_and_goes_on_from_its_last_epoch(by_slurm):
    folder, ran = by_slurm
    killed, retried = pretraining(folder)
    last = steps(killed)[-1]
    # SIGTERM, or SIGKILL where it came to no word.
    assert killed[-1].get("status", "KILLED") == "KILLED"
    # An epoch is told before it is saved, and the signal may fall between the two.
    assert steps(retried)[0] in (last, last + 1)
    assert steps(retried) == list(range(steps(retried)[0], EPOCHS))
    assert retried[-1]["status"] == "FINISHED"
    states = [job["JobState"] for job in ran if "pretrain" in job["Comment"]]
    assert states == ["CANCELLED", "COMPLETED"]


def test_jobs_ask_for_a_gpu_where_they_can_use_one_and_for_more_memory_when_retried(by_slurm):
    asked = [
        (job["Comment"].split("_")[1], "gpu:1" in job.get("TresPerJob", ""), memory(job))
        for job in by_slurm[1]
    ]
    assert asked == [
        ("pretrain", True, "4000M"),
        ("pretrain", True, "8000M"),
        ("extract", True, "4000M"),
        ("probe", False, "4000M"),
    ]


def memory(job):
    return re.search(r"mem=(\w+)", job["TRES"]).group(1)


def test_everything_in_the_workflow_report_has_a_caption(local, tmp_path):
    snakemake(local, "--report", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text()
    results = json.loads(re.search(r"results = (\{.*?\});?\n", text).group(1))
    figures = {f"report/figures/{p.name}" for p in (local / "report/figures").glob("*.svg")}
    files = {
        f"report/{name}" for name in ("index.html", "layers.csv", "leaderboard.md", "numbers.csv")
    }
    assert set(results) == figures | files | {"report/provenance.json"}
    for path, result in results.items():
        assert re.search(r"\w{3}", re.sub("<[^>]*>", "", result["caption"])), path
    assert f"{EPOCHS} epochs on" in text, "the description knows the run"
