"""The benchmarks' commands, at the smallest size: they run, and say what was promised."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

KEYS = {
    "name", "size", "precision", "ours", "peer",
    "ratio_median", "ratio_low", "ratio_high", "rounds", "details",
}  # fmt: skip
SHARES = {"views", "model", "optimiser", "health", "host"}
TINY = ["--images", "16", "--batch-size", "8", "--rounds", "1"]


def run(module, *options):
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_throughput_writes_its_records(tmp_path):
    path = tmp_path / "records.json"
    methods = ["--methods", "simclr", "byol", "mae", "mocov2", "swav", "--sizes", "32"]
    done = run("throughput", *methods, *TINY, "--json", str(path), "--threads", "1")
    assert done.returncode == 0, done.stderr
    records = json.loads(path.read_text())
    assert all(set(record) == KEYS for record in records)
    found = {(record["name"], record["precision"]) for record in records}
    assert len(found) == len(records) == 15
    assert {("views/mae", "fp32"), ("pretrain/swav", "bf16")} <= found
    for record in records:
        if record["name"].startswith("pretrain/"):
            shares = [record["details"][part] for part in SHARES]
            assert sum(shares) == pytest.approx(1.0)
            assert min(shares) > -0.01


def test_throughput_refuses_less_than_a_batch():
    done = run("throughput", "--images", "4")
    assert done.returncode == 1
    assert done.stderr == (
        "benchmarks.throughput: --images: not one whole batch; "
        "raise --images or lower --batch-size\n"
    )


@pytest.mark.slow
def test_gpu_runs_on_a_cpu_to_be_tried():
    done = run("gpu", "--device", "cpu", *TINY)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["device"] == "cpu"
    assert set(found["records"][0]) == KEYS
    # 0.557 G multiply-adds of a forward pass; two views, and twice as much backward.
    assert found["work_per_image"]["flops"] == pytest.approx(2 * 3 * 2 * 0.557e9, rel=0.05)
    assert found["work_per_image"]["bytes"] > 1e6
    assert found["share_of_matrix_rate"] > 0


@pytest.mark.slow
def test_gpu_without_a_gpu_says_so_in_a_line():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    done = run("gpu")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("benchmarks.gpu: no CUDA device is here")


@pytest.mark.slow
def test_kornia_absent_is_one_line():
    pytest.importorskip("torch")
    done = run("against_kornia", "--rounds", "1", "--images", "16", "--batch-size", "8")
    if done.returncode:
        assert done.stderr.startswith("benchmarks.against_kornia: kornia cannot be imported")


@pytest.mark.slow
def test_evaluation_speed_agrees_with_its_peers(tmp_path):
    path = tmp_path / "records.json"
    sizes = ["--bank", "600", "--queries", "128", "--classes", "10", "--rounds", "1"]
    done = run("evaluation_speed", *sizes, "--only", "extract", "knn", "--json", str(path))
    assert done.returncode == 0, done.stderr
    records = json.loads(path.read_text())
    assert [record["name"] for record in records] == ["extract/tiny resnet"] * 2 + [
        "knn/10 classes"
    ]
    assert records[-1]["details"]["answers that differ"] == 0


@pytest.fixture
def photographs(tmp_path):
    """A folder of two classes of JPEG files."""
    image = pytest.importorskip("PIL.Image")
    for number in range(16):
        folder = tmp_path / "photographs" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (150 + number, 120), (16 * number, 99, 0)).save(folder / f"{number}.jpg")
    return tmp_path / "photographs"


@pytest.mark.slow
def test_large_images_writes_its_records(tmp_path, photographs):
    path = tmp_path / "records.json"
    done = run("large_images", "--data", str(photographs), *TINY, "--json", str(path))
    assert done.returncode == 0, done.stderr
    records = json.loads(path.read_text())
    assert all(set(record) == KEYS for record in records)
    names = ["simclr/decoded", "simclr/kept", "mae/decoded", "mae/kept"]
    assert [record["name"] for record in records] == names
    assert all(record["details"]["peer_workers"] in (0, 1, 2) for record in records)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--images", "4"], "--images: not one whole batch; raise --images or lower --batch-size"),
        (["--images", "64"], "photographs: 16 images where 64 are needed; give fewer --images"),
    ],
)
def test_large_images_refuses_what_it_cannot_measure(photographs, options, says):
    done = run("large_images", "--data", str(photographs), *options)
    assert done.returncode == 1
    assert done.stderr.endswith(f"{says}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_growth_measures_every_stage_at_every_size(tmp_path):
    path = tmp_path / "records.json"
    done = run("growth", "--sizes", "300", "600", "--json", str(path), "--table")
    assert done.returncode == 0, done.stderr
    records = json.loads(path.read_text())
    stages = ["drawn", "files", "extract", "knn", "linear"]
    assert [(record["stage"], record["images"]) for record in records] == [
        (stage, images) for stage in stages for images in (300, 600)
    ]
    assert all(record["cpu_us"] > 0 and record["own_mib"] > 5 for record in records)
    assert len(done.stdout.splitlines()) == 2 + len(records)


@pytest.mark.slow
def test_graph_cost_times_both_engines_with_nothing_to_do(tmp_path):
    path = tmp_path / "records.json"
    sizes = ["--preset", "smoke", "--cells", "10", "--rounds", "1"]
    done = run("graph_cost", *sizes, "--json", str(path), "--profile")
    assert done.returncode == 0, done.stderr
    records = json.loads(path.read_text())
    no_ops = ["dvc repro", "dvc status", "snakemake -n", "sslbench sync dvc"]
    assert [record["command"] for record in records] == ["touch", "record", *no_ops]
    assert records[-1]["cells"] > 5
    assert records[-1]["lock_lines"] > 300
    assert "reproduce.py" in done.stdout


@pytest.mark.slow
def test_quality_compares_seeds_of_both_sides(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for split, count in (("train", 32), ("test", 8)):
        for number in range(count):
            folder = tmp_path / split / f"class{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            shade = (200 * (number % 2), number, 99)
            image.new("RGB", (32, 32), shade).save(folder / f"{number}.png")
    sizes = ["--images", "32", "--queries", "8", "--batch-size", "16"]
    short = ["--seeds", "2", "--epochs", "1", "--json", str(tmp_path / "records.json"), "--table"]
    done = run("quality", "--data", str(tmp_path), *sizes, *short)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "records.json").read_text())
    assert len(record["values"]["ours"]) == len(record["values"]["peer"]) == 2
    assert 0 <= record["ours"]["mean"] <= 1
    assert "| simclr | fp32 |" in done.stdout


def test_quality_says_what_is_missing(tmp_path):
    (tmp_path / "train").mkdir()
    done = run("quality", "--data", str(tmp_path), "--seeds", "2")
    assert done.returncode == 1
    assert "0 images where 4000 are needed" in done.stderr
