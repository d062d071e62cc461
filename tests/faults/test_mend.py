"""What a crash leaves in a grid of stand-ins, in seconds: no stage runs, both engines do."""

import fcntl
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from benchmarks.graph_cost import compose, copy_project, stand_in
from sslbench.core import provenance
from tests.golden.test_pipeline import hashes, run, snakemake, sslbench

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mend")]
OUT = "runs/rotation/seed0/checkpoint/backbone.safetensors"
RECORD = "metrics/scenes/knn/rotation/seed0.json"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A grid of stand-ins that both engines take for done."""
    folder = tmp_path_factory.mktemp("recorded")
    copy_project(folder)
    compose(folder, "smoke", 1)
    stand_in(folder)
    snakemake(folder, "--touch", "--forceall")
    sslbench(folder, "sync", "dvc")
    return folder


@pytest.fixture
def project(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def flip(path):
    """Change one bit and no date."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def object_of(project, name):
    md5 = provenance.md5(project / name)
    return project / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"


def test_nothing_is_wrong_with_a_whole_project(project):
    assert sslbench(project, "mend", "--hash").stdout == ""


def test_a_torn_lock_is_set_aside_and_no_stage_runs_again(project):
    expected, lock = hashes(project), (project / "dvc.lock").read_text()
    half = lock[: len(lock) // 2]
    (project / "dvc.lock").write_text(half[: half.rindex("md5:") + 2])
    assert run(project, "dvc", "repro", check=False).returncode, "or there is nothing to mend"
    assert "dvc.lock: cut short, now dvc.damaged" in sslbench(project, "mend").stdout
    assert "Running stage" not in run(project, "dvc", "repro").stdout
    assert hashes(project) == expected
    assert (project / "dvc.lock").read_text() == lock


def test_a_flipped_bit_in_the_tree_and_in_the_cache_is_found_and_removed(project):
    trusted = object_of(project, RECORD)
    flip(project / OUT)
    flip(trusted)
    done = sslbench(project, "verify", check=False)
    assert f"{OUT} is not the file that the cell wrote; run `make mend`" in done.stdout
    said = sslbench(project, "mend", "--hash").stdout
    assert f"{OUT}: damaged, removed" in said
    assert said.count("damaged, removed") == 2
    assert not (project / OUT).exists()
    assert not trusted.exists()
    assert (project / RECORD).exists(), "what is whole stays"


def test_results_that_dvc_does_not_know_yet_are_not_damaged(project):
    path = project / RECORD
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "fingerprint": "of a newer run"}))
    assert sslbench(project, "mend", "--hash").stdout == ""


@pytest.mark.parametrize("content", ['{"read": {"da', '{"read": {}, "write": {"a": {"pid": 1}}}'])
def test_dvcs_list_of_busy_files_goes_with_the_dvc_that_wrote_it(project, content):
    path = project / ".dvc/tmp/rwlock"
    path.write_text(content)
    assert "of a DVC that is gone, removed" in sslbench(project, "mend").stdout
    assert not path.exists()


def test_files_from_the_future_make_snakemake_run_once_and_not_for_ever(project):
    ahead = time.time() + 1e7
    os.utime(project / OUT, (ahead, ahead))
    assert "1 files from the future" in sslbench(project, "mend").stdout
    assert (project / OUT).stat().st_mtime <= time.time()


def lock(project):
    """Lock as a Snakemake that runs, or ran until kill -9."""
    folder = project / ".snakemake/locks"
    folder.mkdir(exist_ok=True)
    (folder / "0.output.lock").write_text(f"{OUT}\n")
    return folder / "0.output.lock"


def test_the_lock_of_a_killed_snakemake_is_taken_away(project):
    left = lock(project)
    assert "Nothing to be done" in snakemake(project).stderr
    assert not left.exists()


def test_the_lock_of_a_living_snakemake_stays(project):
    kept = lock(project)
    with Path(project / ".snakemake/presence.lock").open("w") as living:
        fcntl.flock(living, fcntl.LOCK_SH)
        done = snakemake(project, check=False)
    assert done.returncode
    assert "LockException" in done.stdout + done.stderr
    assert kept.exists()
