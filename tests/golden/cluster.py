"""A Slurm cluster of one node on loopback, with one GPU in name; stopped by its process ids."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.golden.servers import free_port, running, serving

# Jobs lose SLURM_CONF: Snakemake's plugin drops what starts with SLURM_. So it must be this folder.
CONFIGURATION = Path("/etc/slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SLURM_CONF = """
ClusterName=sslbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
MinJobAge=3600
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 {gres} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GRES_CONF = "NodeName={host} Name=gpu File=/dev/zero\n"  # a count without a file is refused
CGROUP_CONF = "CgroupAutomount=no\n"


def say(*command):
    """Return what a command of Slurm prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def jobs():
    """Return every job that the cluster had, as scontrol shows it, the first one first."""
    lines = say("scontrol", "show", "job", "--oneliner").splitlines()
    shown = [dict(w.split("=", 1) for w in line.split() if "=" in w) for line in lines]
    return sorted((job for job in shown if "JobId" in job), key=lambda job: int(job["JobId"]))


@contextmanager
def cluster(gpus=1):
    """Run a cluster; it must be the only one of this machine."""
    _skip_without_means()
    folder = Path(tempfile.mkdtemp(prefix="sslbench-slurm-", dir="/tmp"))
    try:
        with ExitStack() as opened:
            opened.enter_context(_configured(folder, gpus))
            _start(opened, folder)
            opened.callback(_cancel_all)
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _skip_without_means():
    missing = [name for name in PROGRAMS if _find(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("Slurm's daemons need root")
    for path in (CONFIGURATION / name for name in ("slurm.conf", "gres.conf", "cgroup.conf")):
        if path.is_symlink() or path.exists():
            pytest.skip(f"{path} is somebody's; it is not ours to replace")


def _find(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


@contextmanager
def _configured(folder, gpus):
    """Link our files into /etc/slurm for a while."""
    facts = {
        "host": _host(), "folder": folder, "controller": free_port(), "node": free_port(),
        "gres": f"Gres=gpu:{gpus}" if gpus else "",
    }  # fmt: skip
    texts = {"slurm.conf": SLURM_CONF, "cgroup.conf": CGROUP_CONF}
    if gpus:
        texts["gres.conf"] = GRES_CONF
    with ExitStack() as undo:
        if not CONFIGURATION.exists():
            CONFIGURATION.mkdir()
            undo.callback(CONFIGURATION.rmdir)
        for name, text in texts.items():
            (folder / name).write_text(text.format(**facts))
            (CONFIGURATION / name).symlink_to(folder / name)
            undo.callback((CONFIGURATION / name).unlink)
        yield


def _host():
    return socket.gethostname().split(".")[0]


def _port(name):
    words = dict(
        w.split("=", 1) for w in (CONFIGURATION / "slurm.conf").read_text().split() if "=" in w
    )
    return int(words[name])


def _start(opened, folder):
    """Start the three daemons, each when the one before answers, and wait for the node."""
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    munged = [
        _find("munged"), "--foreground", "--force", "--num-threads=2", f"--key-file={key}",
        f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid",
        f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
    ]  # fmt: skip
    is_up = (folder / "munge.socket").exists
    opened.enter_context(serving(munged, is_up, folder / "munged.out"))
    for name, port in (("slurmctld", "SlurmctldPort"), ("slurmd", "SlurmdPort")):
        command = [_find(name), "-D"]
        opened.enter_context(running(command, _port(port), folder / f"{name}.out"))
    for _ in range(300):
        if say("sinfo", "-h", "-o", "%T").strip() == "idle":
            return
        time.sleep(0.1)
    pytest.fail("the node does not get ready: " + say("scontrol", "show", "node"))


def _cancel_all():
    """Leave no process of a job behind."""
    for job in say("squeue", "-h", "-o", "%i").split():
        subprocess.run(["scancel", job], check=False)
    for _ in range(100):
        if not say("squeue", "-h", "-o", "%i").split():
            return
        time.sleep(0.1)
