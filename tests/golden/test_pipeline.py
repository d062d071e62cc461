"""The whole pipeline, for real, in a copy of the tree: both engines, sharing, checks, recompute."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench.core import pipeline, provenance
from tests.golden.formats import is_allowed
from tests.golden.servers import BUCKET, folder_remote, s3_remote, ssh_remote, team_server

ROOT = Path(__file__).parents[2]
PARTS = ("dvc.yaml", "Snakefile", "workflow", "conf", "stages", "sslbench", "requirements.lock")
RESULTS = ("data", "runs", "metrics", "report")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]


def run(folder, *command, check=True, tracking="off"):
    """Run a tool of this interpreter in a folder; return what it did."""
    environment = {**os.environ, "SSLBENCH_TRACKING": tracking}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done


def snakemake(folder, *arguments, **options):
    return run(folder, "snakemake", "--profile", "workflow/profiles/local", *arguments, **options)


def sslbench(folder, *arguments, **options):
    return run(folder, sys.executable, "-m", "sslbench.cli", *arguments, **options)


def checkout(folder, *changes):
    for name in PARTS:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=skip)
        else:
            shutil.copy2(source, target)
    for name in (".dvcignore", ".gitignore"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy2(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    sslbench(folder, "compose", "smoke", *(f"--set={change}" for change in changes))
    for command in (["init", "-q"], ["add", "-A"]):
        run(folder, "git", *command)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    run(folder, "git", *identity, "commit", "-qm", "smoke")
    return folder


def hashes(folder):
    files = (p for name in RESULTS for p in sorted((folder / name).rglob("*")) if p.is_file())
    return {
        p.relative_to(folder).as_posix(): provenance.md5(p)
        for p in files
        if p.name != ".snakemake_timestamp"
    }


def num_records(folder):
    return sum(cell.record is not None for cell in pipeline.cells(folder))


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory):
    """A copy that DVC ran, with tracking."""
    folder = checkout(tmp_path_factory.mktemp("dvc"))
    run(folder, "dvc", "repro", "-q", tracking="on")
    sslbench(folder, "publish")
    return folder


@pytest.fixture(scope="module")
def by_snakemake(tmp_path_factory):
    """A copy that Snakemake ran, and DVC then recorded."""
    folder = checkout(tmp_path_factory.mktemp("snakemake"))
    snakemake(folder)
    sslbench(folder, "sync", "dvc")
    return folder


def test_both_engines_write_the_same_bytes(by_dvc, by_snakemake):
    assert hashes(by_dvc) == hashes(by_snakemake)


def test_every_file_that_is_written_is_of_a_format_without_code(by_dvc, by_snakemake):
    """By their content; a pickle under an allowed name would not pass as what it is called."""
    places = (*RESULTS, "mlartifacts", ".scratch", "mlflow.db")
    found = [by_dvc / "mlflow.db"]
    for folder in (by_dvc, by_snakemake):
        found += [p for name in places for p in (folder / name).rglob("*") if p.is_file()]
    assert {p.suffix for p in found} >= {".arrow", ".safetensors", ".json", ".html", ".csv", ".db"}
    assert [path for path in found if not is_allowed(path)] == []


def test_the_report_has_a_row_for_every_method_and_protocol(by_dvc):
    with (by_dvc / "report/numbers.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    found = {(r["method"], r["protocol"]) for r in rows if r["metric"] == "top1"}
    methods, protocols = ("random_init", "rotation"), ("knn", "linear")
    assert found == {(m, p) for m in methods for p in protocols}
    assert all(float(r["ci_low"]) <= float(r["value"]) <= float(r["ci_high"]) for r in rows)
    assert all(len(r["fingerprints"].split(";")) == 2 for r in rows)


def test_a_second_run_does_nothing_in_either_engine(by_dvc, by_snakemake):
    assert "Running stage" not in run(by_dvc, "dvc", "repro").stdout
    assert "Running stage" not in run(by_snakemake, "dvc", "repro").stdout
    assert "Nothing to be done" in snakemake(by_snakemake, "-n").stdout


def test_snakemake_accepts_what_dvc_made(by_dvc):
    sslbench(by_dvc, "sync", "snakemake")
    assert "Nothing to be done" in snakemake(by_dvc, "-n").stdout
    assert run(by_dvc, "dvc", "status", "-q").returncode == 0


def test_dvc_lock_alone_gives_every_fingerprint(by_dvc):
    locked = provenance.lock(by_dvc)
    for cell in pipeline.cells(by_dvc):
        if cell.record:
            record = json.loads((by_dvc / cell.record).read_text())
            from_lock = provenance.fingerprint_from_lock(cell.name, locked[cell.name])
            assert record["fingerprint"] == from_lock


def test_one_edited_parameter_reruns_one_chain(by_dvc, tmp_path):
    shutil.copytree(by_dvc, tmp_path / "copy", symlinks=True)
    folder = tmp_path / "copy"
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("k: [5, 20, 100]", "k: [5, 20]"))
    out = run(folder, "dvc", "repro").stdout
    ran = {line.split("'")[1] for line in out.splitlines() if line.startswith("Running stage")}
    assert {name.rsplit("-", 1)[-1] for name in ran} == {"knn", "report"}
    assert len(ran) == 5


def test_mlflow_holds_one_nested_run_per_stage(by_dvc):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{by_dvc / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sslbench")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    stages = [r for r in runs if "sslbench.fingerprint" in r.data.tags]
    assert len(stages) == len(pipeline.cells(by_dvc))
    assert all(r.info.status == "FINISHED" for r in stages)
    by_id = {r.info.run_id: r for r in runs}
    trained = next(r for r in stages if r.data.tags["sslbench.cell"] == "pretrain@rotation-0")
    seed = by_id[trained.data.tags["mlflow.parentRunId"]]
    assert seed.data.tags["sslbench.node"] == "rotation/seed0"
    method = by_id[seed.data.tags["mlflow.parentRunId"]]
    assert method.data.tags["sslbench.node"] == "rotation"
    assert len(client.get_metric_history(trained.info.run_id, "loss")) == 2
    assert trained.data.params["recipes.rotation.optimizer.name"] == "adamw"
    assert trained.inputs.dataset_inputs[0].dataset.digest == provenance.md5(
        by_dvc / "data/scenes/train.arrow"
    )
    assert "system/stage_peak_rss_mib" in trained.data.metrics


def test_publish_brings_back_a_deleted_store_and_twice_is_once(by_dvc):
    (by_dvc / "mlflow.db").unlink()
    records = num_records(by_dvc)
    assert f"{records} runs made" in sslbench(by_dvc, "publish").stdout
    assert f"0 runs made, {records} were there" in sslbench(by_dvc, "publish").stdout


def test_publish_needs_the_records_alone(by_dvc, tmp_path):
    """After `dvc pull metrics`, or on a disk that lost its checkpoints."""
    clone = clone_of(by_dvc, tmp_path / "clone")
    shutil.copytree(by_dvc / "metrics", clone / "metrics", dirs_exist_ok=True)
    assert f"{num_records(clone)} runs made" in sslbench(clone, "publish").stdout


PUBLISH = "import sys; from sslbench.tracking.publish import publish; print(publish())"
DELETE_A_PROBE_RUN = """
from mlflow.tracking import MlflowClient

client = MlflowClient("sqlite:///mlflow.db")
experiment = client.get_experiment_by_name("sslbench").experiment_id
probes = client.search_runs([experiment], filter_string="tags.`sslbench.stage` = 'probe'")
client.delete_run(probes[0].info.run_id)
"""


def test_publish_with_nothing_to_do_does_not_import_mlflow_and_sees_a_deleted_run(by_dvc):
    sslbench(by_dvc, "publish")
    idle = f"{PUBLISH}; assert 'mlflow' not in sys.modules"
    run(by_dvc, sys.executable, "-c", idle, tracking="on")
    # In a process of its own: mlflow keeps connections, here one to the store deleted above.
    run(by_dvc, sys.executable, "-c", DELETE_A_PROBE_RUN)
    assert "created=1," in run(by_dvc, sys.executable, "-c", PUBLISH, tracking="on").stdout


def test_trace_reaches_from_a_number_to_the_data(by_dvc):
    out = sslbench(by_dvc, "trace", "scenes/rotation/linear/top1", "--json").stdout
    traced = json.loads(out)
    names = [cell["cell"] for cell in traced["cells"]]
    assert names[0] == "prepare@scenes"
    assert {"pretrain@rotation-0", "extract@rotation-1-scenes"} <= set(names)
    assert traced["git"]["commit"]
    assert all(traced["mlflow"].values())


def test_a_wrong_id_is_one_line_with_the_ids_alike(by_dvc):
    done = sslbench(by_dvc, "trace", "scenes/rotation/linear/top2", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "alike: scenes/rotation/linear/top1" in done.stderr


def test_verify_is_content_and_recomputes_bit_for_bit(by_dvc):
    done = sslbench(by_dvc, "verify", "scenes/rotation/knn/top1", "--recompute")
    assert "identical, bit for bit" in done.stdout


NUMBER = "scenes/rotation/knn/top1"


def test_a_number_is_recomputed_as_a_commit_recorded_it(by_dvc, tmp_path):
    """In a clone whose tree has moved on and holds no artifact; the values come from the cache."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(by_dvc, origin, symlinks=True)
    run(origin, "git", "add", "-A")
    run(origin, "git", *identity, "commit", "-qm", "results")
    _edit_code(origin)
    run(origin, "git", *identity, "commit", "-qam", "later")
    run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
    command = ("verify", NUMBER, "--recompute", "--at", "HEAD~1")
    refused = sslbench(clone, *command, check=False)
    assert refused.returncode == 2
    assert "are not at hand" in refused.stderr
    shutil.copytree(origin / ".dvc/cache", clone / ".dvc/cache")
    assert f"{NUMBER}: identical, bit for bit" in sslbench(clone, *command).stdout


def test_recomputing_shows_that_a_number_stands_on_an_undeclared_file(by_dvc, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(by_dvc, folder, symlinks=True)
    (folder / "hint.txt").write_text("0.5")
    path = folder / "sslbench/evaluation/protocols/knn.py"
    path.write_text(path.read_text() + '\nHINT = float(open("hint.txt").read())\n')
    run(folder, "dvc", "repro", "-q")
    assert "verified" in sslbench(folder, "verify").stdout
    done = sslbench(folder, "verify", NUMBER, "--recompute", check=False)
    assert done.returncode == 2
    assert "hint.txt" in done.stderr


REMOTES = {"folder": folder_remote, "ssh": ssh_remote, "s3": s3_remote}


def add_remote(folder, url, settings):
    """As README says: verified, and what is secret in the git-ignored configuration."""
    run(folder, "dvc", "remote", "add", "-f", "-d", "--local", "team", url)
    for key, value in {"verify": "true", **settings}.items():
        run(folder, "dvc", "remote", "modify", "--local", "team", key, value)


def clone_of(origin, clone):
    """A fresh checkout with the origin's dvc.lock and nothing else of it."""
    clone.mkdir()
    checkout(clone)
    shutil.copy2(origin / "dvc.lock", clone / "dvc.lock")
    return clone


def spoil(place, digest):
    """Change one byte of an object, in a folder or in a bucket."""
    name = f"files/md5/{digest[:2]}/{digest[2:]}"
    if isinstance(place, Path):
        (place / name).chmod(0o644)
        content = (place / name).read_bytes()
        (place / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        where = {"Bucket": BUCKET, "Key": f"cache/{name}"}
        content = place.get_object(**where)["Body"].read()
        place.put_object(**where, Body=content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("kind", REMOTES)
def test_a_colleague_gets_every_number_without_running_a_stage(by_dvc, tmp_path, kind):
    with REMOTES[kind](tmp_path) as (url, settings, _):
        add_remote(by_dvc, url, settings)
        run(by_dvc, "dvc", "push", "-q", "--run-cache")
        clone = clone_of(by_dvc, tmp_path / "clone")
        add_remote(clone, url, settings)
        run(clone, "dvc", "pull", "-q", "--run-cache")
    assert hashes(clone) == hashes(by_dvc)
    assert "Running stage" not in run(clone, "dvc", "repro").stdout
    if kind == "folder":  # the same files from here on
        sslbench(clone, "sync", "snakemake")
        assert "Nothing to be done" in snakemake(clone, "-n").stdout
        assert f"{num_records(clone)} runs made, 0 were there" in sslbench(clone, "publish").stdout


@pytest.mark.parametrize("kind", REMOTES)
def test_a_spoilt_object_of_a_remote_is_refused(by_dvc, tmp_path, kind):
    """The target by its name, since a second pull of the whole would take minutes."""
    target = "runs/rotation/seed0/checkpoint/backbone.safetensors"
    with REMOTES[kind](tmp_path) as (url, settings, place):
        add_remote(by_dvc, url, settings)
        run(by_dvc, "dvc", "push", "-q", target)
        spoil(place, provenance.md5(by_dvc / target))
        clone = clone_of(by_dvc, tmp_path / "clone")
        add_remote(clone, url, settings)
        done = run(clone, "dvc", "pull", target, check=False)
    assert done.returncode
    assert not (clone / target).exists()


def test_a_colleagues_identical_experiment_is_not_run_again(by_dvc, tmp_path):
    """A clone that has the run cache and no lock finds every stage done."""
    with folder_remote(tmp_path) as (url, settings, _):
        add_remote(by_dvc, url, settings)
        run(by_dvc, "dvc", "push", "-q", "--run-cache")
        clone = clone_of(by_dvc, tmp_path / "clone")
        (clone / "dvc.lock").unlink()
        add_remote(clone, url, settings)
        done = run(clone, "dvc", "repro", "--pull")
    assert "Running stage" not in done.stdout
    assert hashes(clone) == hashes(by_dvc)
    assert (clone / "dvc.lock").read_bytes() == (by_dvc / "dvc.lock").read_bytes()


def _edit_metric(folder):
    path = folder / "metrics/scenes/knn/rotation/seed0.json"
    record = json.loads(path.read_text())
    record["measurements"][0]["value"] = 0.99
    path.write_text(json.dumps(record))
    return "is not what dvc.lock records"


def _edit_report(folder):
    path = folder / "report/numbers.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[6] = "0.990000"
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    return "its records say"


def _edit_checkpoint(folder):
    path = folder / "runs/rotation/seed0/checkpoint/backbone.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(content))
    return "is not the file that the cell wrote"


def _edit_code(folder):
    path = folder / "sslbench/evaluation/protocols/knn.py"
    path.write_text(path.read_text() + "\n# changed\n")
    return "changed since it ran"


def _lose_a_file(folder):
    (folder / "data/scenes/train.arrow").unlink()
    return "is missing"


def _swap_data(folder):
    shutil.copy2(folder / "data/scenes/val.arrow", folder / "data/scenes/train.arrow")
    return "data/scenes/train.arrow is not the file that the cell wrote"


def _commit_stale_outs(folder):
    """Outs of other parameters that DVC was told to accept: its status is clean."""
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("k: [5, 20, 100]", "k: [5, 20]"))
    run(folder, "dvc", "commit", "-f", "-q")
    assert run(folder, "dvc", "status", "-q").returncode == 0
    return "its code, parameters or inputs changed since it ran"


def _import_undeclared_code(folder):
    path = folder / "sslbench/evaluation/protocols/knn.py"
    path.write_text(path.read_text() + "\nfrom sslbench.views import colour\n")
    run(folder, "dvc", "commit", "-f", "-q")
    return "it imports sslbench/views/colour.py, which dvc.yaml does not name"


def _spoil_a_cache_object(folder):
    """DVC believes an object that is read-only, and would check it out for good."""
    out = "runs/rotation/seed0/checkpoint/backbone.safetensors"
    digest = provenance.md5(folder / out)
    path = folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    content, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()  # it may be a link to the file in the tree
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    path.chmod(mode)
    assert run(folder, "dvc", "status", "-q").returncode == 0
    return "is not what its name says"


DAMAGES = [
    _edit_metric, _edit_report, _edit_checkpoint, _edit_code, _lose_a_file, _swap_data,
    _commit_stale_outs, _import_undeclared_code, _spoil_a_cache_object,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_catches(by_dvc, tmp_path, damage):
    shutil.copytree(by_dvc, tmp_path / "copy", symlinks=True)
    says = damage(tmp_path / "copy")
    done = sslbench(tmp_path / "copy", "verify", check=False)
    assert done.returncode == 1
    assert says in done.stdout


def test_verify_of_one_number_holds_it_against_its_records(by_dvc, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(by_dvc, folder, symlinks=True)
    assert "verified" in sslbench(folder, "verify", NUMBER).stdout
    path = folder / "report/numbers.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    column = rows[0].index("value")
    for row in rows:
        row[column] = "0.99" if row[0] == NUMBER else row[column]
    path.write_text("\n".join(map(",".join, rows)) + "\n")
    done = sslbench(folder, "verify", NUMBER, check=False)
    assert done.returncode == 1
    assert f"{NUMBER}: report/numbers.csv says 0.99, its records say" in done.stdout
    assert "verified" in sslbench(folder, "verify", NUMBER.replace("knn", "linear")).stdout


def test_a_trace_says_that_what_it_shows_is_not_what_ran(by_dvc, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(by_dvc, folder, symlinks=True)
    assert "stale" not in sslbench(folder, "trace", NUMBER).stdout
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("k: [5, 20, 100]", "k: [5, 20]"))
    lines = sslbench(folder, "trace", NUMBER).stdout.splitlines()
    assert lines[2].startswith("stale: 2 of 7 cells ran with other code, parameters or inputs")
    odd = [line for line in lines if "not that of what it reads" in line]
    assert len(odd) == 2, "one probe a seed"


def _stray(folder):
    source = folder / "metrics/scenes/knn/rotation/seed0.json"
    shutil.copy2(source, source.with_name("seed7.json"))
    return "seed7.json"


def _missing(folder):
    (folder / "metrics/scenes/knn/rotation/seed0.json").unlink()
    return "metrics/scenes/knn/rotation/seed0.json"


@pytest.mark.parametrize("damage", [_stray, _missing, _edit_code, _edit_checkpoint])
def test_the_report_refuses(by_dvc, tmp_path, damage):
    shutil.copytree(by_dvc, tmp_path / "copy", symlinks=True)
    folder = tmp_path / "copy"
    says = damage(folder)
    command = [sys.executable, "-m", "stages.report", "--metrics", "metrics", "--out", "report"]
    done = run(folder, *command, check=False)
    assert done.returncode
    assert done.stderr.count("\n") == 1, "one line"
    if damage in (_stray, _missing):
        assert says in done.stderr
    assert ";" in done.stderr, "says the mend"


def test_sync_refuses_to_bless_stale_numbers(by_snakemake, tmp_path):
    shutil.copytree(by_snakemake, tmp_path / "copy", symlinks=True)
    folder = tmp_path / "copy"
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("k: [5, 20, 100]", "k: [5, 20]"))
    done = sslbench(folder, "sync", "dvc", check=False)
    assert done.returncode == 2
    assert "Snakemake has work left" in done.stderr


LOAD_REGISTERED = """
import json, sys
import mlflow, numpy as np

mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/sslbench-scenes-rotation@seed0")
sys.path.insert(0, "export/rotation-0-onnx")
import load

images = np.random.default_rng(0).standard_normal((5, 3, 32, 32), dtype=np.float32)
found = next(iter(model.predict(images).values()))
signature = model.metadata.signature
print(json.dumps({
    "difference": float(abs(found - load.features(images)).max()),
    "inputs": [list(i.shape) for i in signature.inputs], "outputs": list(found.shape),
}))
"""


def test_an_export_is_registered_once_and_loads_from_the_registry(by_dvc):
    command = ("export", "rotation", "0", "--format", "onnx", "--register")
    assert "MLflow: sslbench-scenes-rotation/1" in sslbench(by_dvc, *command).stdout
    assert "MLflow: sslbench-scenes-rotation/1" in sslbench(by_dvc, *command).stdout
    loaded = json.loads(run(by_dvc, sys.executable, "-c", LOAD_REGISTERED).stdout)
    assert loaded["difference"] == 0
    assert loaded["inputs"] == [[-1, 3, 32, 32]]
    assert loaded["outputs"][0] == 5


def test_a_card_tells_the_trace_of_the_weights_and_their_numbers(by_dvc):
    sslbench(by_dvc, "export", "rotation", "0", "--format", "torchvision")
    folder = by_dvc / "export/rotation-0-torchvision"
    card = json.loads((folder / "model_card.json").read_text())
    assert [step["cell"] for step in card["trace"]] == ["prepare@scenes", "pretrain@rotation-0"]
    record = json.loads((by_dvc / "metrics/scenes/knn/rotation/seed0.json").read_text())
    told = next(row for row in card["numbers"] if row["id"] == "scenes/rotation/knn/top1")
    assert told["fingerprint"] == record["fingerprint"]
    assert told["value"] == record["measurements"][0]["value"]
    text = (folder / "model_card.md").read_text()
    assert card["fingerprint"] in text
    assert "scenes/rotation/knn/top1" in text
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert card["files"]["model.safetensors"] == digest


def test_an_export_never_replaces_what_is_no_export(by_dvc, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    command = ("export", "rotation", "0", "--format", "torchvision", "--out", str(tmp_path))
    done = sslbench(by_dvc, *command, check=False)
    assert done.returncode == 2
    assert "is not empty and not an export; name another folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_export_of_an_edited_checkpoint_is_refused(by_dvc, tmp_path):
    shutil.copytree(by_dvc, tmp_path / "copy", symlinks=True)
    folder = tmp_path / "copy"
    says = _edit_checkpoint(folder)
    done = sslbench(folder, "export", "rotation", "0", "--format", "torchvision", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_an_export_of_what_the_grid_lacks_lists_what_it_has(by_dvc):
    done = sslbench(by_dvc, "export", "byol", "0", "--format", "onnx", check=False)
    assert done.returncode == 2
    assert "no 'byol' with seed 0; there are: random_init 0" in done.stderr


def test_an_old_report_is_traced_from_its_commit_alone(by_dvc, tmp_path):
    """In a clone without one artifact; the values come once the cache has the records."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(by_dvc, origin, symlinks=True)
    run(origin, "git", "add", "-A")
    run(origin, "git", *identity, "commit", "-qm", "results")
    text = (origin / "params.yaml").read_text()
    (origin / "params.yaml").write_text(text.replace("seeds: [0, 1]", "seeds: [0]"))
    (origin / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    run(origin, "git", *identity, "commit", "-qam", "later")
    run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
    command = ("trace", "scenes/rotation/knn/top1", "--at", "HEAD~1", "--json")
    bare = json.loads(sslbench(clone, *command).stdout)
    names = [cell["cell"] for cell in bare["cells"]]
    assert names[0] == "prepare@scenes"
    assert "probe@rotation-1-scenes-knn" in names
    assert not any(cell["values"] for cell in bare["cells"])
    shutil.copytree(origin / ".dvc/cache", clone / ".dvc/cache")
    full = json.loads(sslbench(clone, *command).stdout)
    record = json.loads((by_dvc / "metrics/scenes/knn/rotation/seed1.json").read_text())
    told = next(c for c in full["cells"] if c["cell"] == "probe@rotation-1-scenes-knn")
    assert told["fingerprint"] == record["fingerprint"]
    assert told["values"][0]["value"] == record["measurements"][0]["value"]
    assert told["environment"] == record["environment"]


def test_a_trace_at_a_commit_that_recorded_nothing_says_so(by_dvc):
    done = sslbench(by_dvc, "trace", "scenes/rotation/knn/top1", "--at", "HEAD", check=False)
    assert done.returncode == 2
    assert "has no dvc.lock; choose a later one" in done.stderr


WRITE = """
import sys
from sslbench.tracking.store import Store

mirror, number = Store(), sys.argv[1]
event = {"cell": f"writer{number}", "stage": "probe", "command": "none", "fingerprint": number * 8,
         "item": {"method": "m", "seed": 0}, "params": {"a": 1},
         "deps": {"x/train.arrow": "0" * 32}}
run = mirror.open_run(event)
for step in range(20):
    mirror.log_metrics(run, [{"time": step, "step": step, "values": {"loss": step / 2}}])
mirror.client.log_text(run, number, "said.txt")
mirror.finish(run, "FINISHED", 1.0)
"""
READ = """
import collections, json
from sslbench.tracking.store import FINGERPRINT, NODE, Store

mirror = Store()
runs = mirror.client.search_runs([mirror.experiment], max_results=1000)
ids = {run.info.run_id for run in runs}
writers = [run for run in runs if run.data.tags.get("sslbench.cell", "").startswith("writer")]
print(json.dumps({
    "fingerprints": collections.Counter(r.data.tags.get(FINGERPRINT) for r in runs),
    "nodes": collections.Counter(r.data.tags.get(NODE) for r in runs),
    "orphans": [r.info.run_name for r in runs
                if r.data.tags.get("mlflow.parentRunId", r.info.run_id) not in ids],
    "points": [len(mirror.client.get_metric_history(r.info.run_id, "loss")) for r in writers],
    "files": [[f.path for f in mirror.client.list_artifacts(r.info.run_id)] for r in writers],
}))
"""


def at_once(folder, commands, environment):
    """Run commands side by side; all must succeed."""
    everything = {**os.environ, **environment, "SSLBENCH_TRACKING": "on", "PYTHONPATH": str(folder)}
    started = [
        subprocess.Popen(command, cwd=where, env=everything, stderr=subprocess.PIPE, text=True)
        for where, command in commands
    ]
    for process in started:
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 0, said[-2000:]


def test_a_team_writes_to_one_server(by_dvc, tmp_path):
    """Eight writers at once, two who publish the same grid at once, one without the password."""
    shutil.copytree(by_dvc, tmp_path / "copy", symlinks=True)
    with team_server(tmp_path) as environment:
        wrong = {**environment, "MLFLOW_TRACKING_PASSWORD": "guess"}
        publish = [sys.executable, "-m", "sslbench.cli", "publish"]
        everything = {**os.environ, **wrong}
        refused = subprocess.run(
            publish, cwd=by_dvc, env=everything, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2
        assert "MLFLOW_TRACKING_PASSWORD" in refused.stderr.splitlines()[-1]
        writers = [(by_dvc, [sys.executable, "-c", WRITE, str(k)]) for k in range(8)]
        at_once(by_dvc, writers, environment)
        at_once(by_dvc, [(by_dvc, publish), (tmp_path / "copy", publish)], environment)
        everything = {**os.environ, **environment, "PYTHONPATH": str(by_dvc)}
        command = [sys.executable, "-c", READ]
        told = subprocess.check_output(command, cwd=by_dvc, env=everything, text=True)
    found = json.loads(told)
    records = [
        json.loads((by_dvc / c.record).read_text()) for c in pipeline.cells(by_dvc) if c.record
    ]
    expected = {record["fingerprint"] for record in records}
    del found["fingerprints"]["null"], found["nodes"]["null"]
    assert expected < set(found["fingerprints"])
    assert set(found["fingerprints"].values()) == {1}
    assert set(found["nodes"].values()) == {1}
    assert found["orphans"] == []
    assert found["points"] == [20] * 8
    assert found["files"] == [["said.txt"]] * 8
