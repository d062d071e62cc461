"""What a person's mistake gets at a stage's door: one line, exit code non-zero, no traceback."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from sslbench import presets
from sslbench.core import provenance
from sslbench.evaluation import protocols
from sslbench.tracking import locks

SMALL = ["grid.methods=[simclr, rotation]", "grid.targets=[scenes]", "pretrain.batch_size=16"]
pytestmark = pytest.mark.slow


def command(stage, *arguments):
    return [sys.executable, "-m", f"stages.{stage}", *map(str, arguments)]


def run(folder, root, stage, *arguments, **environment):
    """Run a stage as on a cluster's login node, where Lightning would speak of srun."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/srun").touch(mode=0o755)
    path = f"{folder.resolve() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command(stage, *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def refused(done):
    """Assert that a run was refused in one line, and return the line."""
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory, root):
    """A folder with params.yaml and a tiny prepared data set, and no graph."""
    folder = tmp_path_factory.mktemp("stages")
    values = yaml.safe_load(presets.compose("smoke", SMALL, root / "conf"))
    values["data"]["scenes"] |= {"train": 80, "val": 20, "test": 20}
    values["pretrain"]["epochs"] = 6
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    done = run(folder, root, "prepare", "--dataset", "scenes", "--out", "data/scenes")
    assert done.returncode == 0, done.stderr
    return folder


def pretrain(out, *, method="simclr", data="data/scenes", params="params.yaml"):
    return [
        *("--params", params, "--method", method, "--seed", 0),
        *("--data", data, "--out", out, "--record", f"{out}.json"),
    ]


def edited(project, name, change):
    values = yaml.safe_load((project / "params.yaml").read_text())
    change(values)
    (project / name).write_text(yaml.safe_dump(values))
    return name


def test_an_unknown_dataset_lists_those_there_are(project, root):
    line = refused(run(project, root, "prepare", "--dataset", "imagenet", "--out", "data/x"))
    assert "no key 'data.imagenet'" in line
    assert "scenes" in line


def test_a_missing_params_file_says_compose(tmp_path, root):
    line = refused(run(tmp_path, root, "prepare", "--dataset", "scenes", "--out", "data/x"))
    assert "sslbench compose" in line


def test_an_unknown_method(project, root):
    params = edited(project, "u.yaml", lambda v: v["recipes"].update(nope=v["recipes"]["simclr"]))
    values = yaml.safe_load((project / params).read_text())
    values["methods"]["nope"] = values["methods"]["simclr"]
    (project / params).write_text(yaml.safe_dump(values))
    line = refused(run(project, root, "pretrain", *pretrain("x", method="nope", params=params)))
    assert "unknown method 'nope'; known:" in line
    assert "simclr" in line


def test_an_unknown_key_names_its_path(project, root):
    params = edited(project, "k.yaml", lambda v: v["methods"]["simclr"].update(temprature=1))
    line = refused(run(project, root, "pretrain", *pretrain("x", params=params)))
    assert "methods.simclr: unknown key 'temprature'" in line


def test_missing_data(project, root):
    line = refused(run(project, root, "pretrain", *pretrain("x", data="data/none")))
    assert "data/none" in line


def test_a_batch_larger_than_the_data(project, root):
    params = edited(project, "b.yaml", lambda v: v["pretrain"].update(batch_size=4096))
    line = refused(run(project, root, "pretrain", *pretrain("x", params=params)))
    assert "do not fill a batch of 4096" in line


def test_a_loss_that_becomes_nan_stops_and_leaves_no_checkpoint(project, root):
    def explode(values):
        values["recipes"]["simclr"]["optimizer"]["learning_rate"] = 1e30

    params = edited(project, "n.yaml", explode)
    line = refused(run(project, root, "pretrain", *pretrain("nan", params=params)))
    assert re.search(r"the loss became (nan|inf) at step \d+; lower recipes\.simclr", line)
    assert not (project / "nan").exists()


def test_a_read_only_result_folder(project, root):
    (project / "closed").write_text("a file where a folder should be")
    line = refused(run(project, root, "pretrain", *pretrain("closed/out")))
    assert "cannot write" in line


@pytest.fixture(params=["size=32k", "ro"], ids=["full disk", "read-only disk"])
def bad_disk(request, project):
    """A mounted disk that takes no checkpoint."""
    folder = project / "disk"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", folder]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("stage", ["prepare", "pretrain"])
def test_a_disk_that_takes_nothing(project, root, bad_disk, stage):
    arguments = {
        "prepare": ["--dataset", "scenes", "--out", "disk/scenes"],
        "pretrain": pretrain("disk/checkpoint", method="rotation"),
    }
    line = refused(run(project, root, stage, *arguments[stage]))
    assert "cannot write (" in line
    assert "disk/" in line
    assert "writable" in line or "can be written" in line
    left = [path.name for path in bad_disk.rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith(".tmp") or name == "dataset.json"]


def test_a_journal_without_room_does_not_stop_the_run(project, root, bad_disk):
    with contextlib.suppress(OSError):  # until it is full
        (bad_disk / "ballast").write_bytes(bytes(2**20))
    (project / "logs").symlink_to(bad_disk, target_is_directory=True)
    arguments = pretrain("untracked", method="rotation")
    try:
        done = run(project, root, "pretrain", *arguments, SSLBENCH_TRACKING="on")
    finally:
        (project / "logs").unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    assert "tracking stopped, the run goes on" in done.stderr
    assert (project / "untracked" / "model.json").exists()


def test_a_device_that_is_not_there(project, root):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = run(project, root, "pretrain", *pretrain("x"), SSLBENCH_DEVICE="cuda")
    assert "no CUDA device is here" in refused(done)


def test_an_unknown_protocol(project, root):
    done = run(project, root, "probe", "--protocol", "svm", "--checkpoint", "c", "--features", "f")
    assert f"unknown protocol 'svm'; known: {', '.join(protocols.names())}" in refused(done)


def test_a_protocol_of_another_stage(project, root):
    arguments = ["--protocol", "knn", "--seed", 0, "--checkpoint", "c", "--data", "data/scenes"]
    assert "no key 'transfer.knn'" in refused(run(project, root, "transfer", *arguments))


def test_a_damaged_checkpoint(project, root):
    folder = project / "damaged"
    folder.mkdir()
    (folder / "model.json").write_text("{")
    done = run(
        project,
        root,
        *("extract", "--checkpoint", "damaged", "--data", "data/scenes", "--out", "features"),
    )
    assert "damaged/model.json: not valid JSON" in refused(done)


def _outputs(folder):
    return {p.name: provenance.md5(p) for p in sorted(folder.iterdir())}


def _states(folder):
    return set((folder / ".scratch").rglob("state.safetensors"))


@pytest.fixture(scope="module")
def whole(project, root):
    """The outs of an undisturbed run."""
    done = run(project, root, "pretrain", *pretrain("whole"))
    assert done.returncode == 0, done.stderr
    return _outputs(project / "whole")


def test_a_killed_run_resumes_bit_for_bit(project, root, whole):
    """kill -9 in mid-training; the same command again gives the bytes of an undisturbed run."""
    arguments = pretrain("killed")
    before = _states(project)
    process = subprocess.Popen(
        command("pretrain", *arguments),
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not _states(project) - before:
        assert process.poll() is None, "finished before a state was written"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (project / "killed").exists(), "no half result"
    (state,) = _states(project) - before
    assert run(project, root, "pretrain", *arguments).returncode == 0
    assert _outputs(project / "killed") == whole
    assert not state.exists(), "the scratch state is gone once the run is whole"
    record = json.loads((project / "killed.json").read_text())
    assert [row["epoch"] for row in record["history"]] == list(range(6))


def test_a_scheduler_that_ends_a_training_gets_one_line_and_leaves_nothing_half_done(
    project, root, whole
):
    """SIGTERM in mid-training; the same command again resumes."""
    arguments = pretrain("ended")
    before = _states(project)
    with locks.locked(project / locks.RECORDER):  # so that no recorder takes the journal
        process = subprocess.Popen(
            command("pretrain", *arguments), cwd=project, text=True, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(root), "SSLBENCH_TRACKING": "on"},
        )  # fmt: skip
        while not _states(project) - before:
            assert process.poll() is None, "finished before a state was written"
            time.sleep(0.01)
        process.terminate()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    lines = [line for line in said.splitlines() if "srun" not in line and line.strip()]
    assert lines == ["sslbench pretrain: interrupted; run the same command again to go on"]
    assert not (project / "ended").exists(), "no half result"
    assert not list(project.rglob("*.tmp"))
    (path,) = (project / "logs/journal").glob("*.jsonl")
    last = json.loads(path.read_text().splitlines()[-1])
    assert (last["event"], last["status"]) == ("finish", "KILLED")
    path.unlink()
    assert run(project, root, "pretrain", *arguments).returncode == 0
    assert _outputs(project / "ended") == whole
