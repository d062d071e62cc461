"""What the report refuses, and that each refusal names the file and the mend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sslbench.core import per_sample
from sslbench.core.errors import UserError
from sslbench.reporting.collect import collect, expected_cells
from sslbench.reporting.records import headlines, layers

if TYPE_CHECKING:
    from conftest import Project

GRID: dict[str, Any] = {
    "methods": ["byol"],
    "seeds": [0, 1],
    "source": "scenes",
    "targets": ["digits"],
    "probes": ["knn", "linear"],
    "transfers": [],
    "dense_targets": [],
    "dense_transfers": [],
    "video_targets": [],
    "video_transfers": [],
}
PROBE = "metrics/digits/linear/byol/seed1.json"


def refusal(project: Project) -> str:
    with pytest.raises(UserError) as caught:
        project.collect()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_expected_cells_are_those_of_the_grid() -> None:
    assert [cell.path for cell in expected_cells(GRID)] == [
        "metrics/scenes/prepare.json",
        "metrics/digits/prepare.json",
        "metrics/scenes/pretrain/byol/seed0.json",
        "metrics/scenes/pretrain/byol/seed1.json",
        "metrics/digits/extract/byol/seed0.json",
        "metrics/digits/extract/byol/seed1.json",
        "metrics/digits/knn/byol/seed0.json",
        "metrics/digits/knn/byol/seed1.json",
        "metrics/digits/linear/byol/seed0.json",
        "metrics/digits/linear/byol/seed1.json",
    ]


def test_a_grid_without_an_axis_is_refused() -> None:
    grid = {key: value for key, value in GRID.items() if key != "transfers"}
    with pytest.raises(UserError, match="missing key 'transfers'"):
        expected_cells(grid)


def test_collects_probes_transfers_and_pretraining(project: Project) -> None:
    collected = project.collect()
    assert len(collected.cells) == 6 * 3 * 2 * 3
    assert len(collected.pretraining) == 6 * 3
    assert {cell.protocol for cell in collected.cells} == {"knn", "linear", "finetune"}
    first = next(cell for cell in collected.cells if cell.protocol == "linear")
    assert [entry["metric"] for entry in headlines(first.record)] == ["top1", "mean_per_class"]
    assert len(layers(first.record)) == 4


def test_missing_cells_are_refused_and_counted(project: Project) -> None:
    (project.root / PROBE).unlink()
    (project.root / PROBE.replace("seed1", "seed2")).unlink()
    assert refusal(project).startswith(f"{PROBE}: missing cell (and 1 more); run `dvc repro`")


@pytest.mark.parametrize(
    "name", ["metrics/digits/linear/old/seed0.json", "metrics/notes.txt", "metrics/digits/a.json"]
)
def test_a_stray_file_is_refused(project: Project, name: str) -> None:
    path = project.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    message = refusal(project)
    assert message.startswith(f"{name}: stray file")
    assert "sslbench prune" in message


def test_hidden_files_are_no_strays(project: Project) -> None:
    (project.metrics / "digits" / ".gitignore").write_text("/knn\n")
    project.collect()


def test_a_smaller_grid_makes_strays_not_silence(project: Project) -> None:
    grid = {**project.grid, "seeds": [0, 1]}
    with pytest.raises(UserError, match=r"seed2\.json: stray file"):
        collect(project.metrics, grid, project.fingerprints)


def test_a_stale_cell_is_refused(project: Project) -> None:
    fingerprints = {**project.fingerprints, PROBE: "f" * 64}
    with pytest.raises(UserError, match=f"{PROBE}: stale cell.*dvc repro"):
        collect(project.metrics, project.grid, fingerprints)


@pytest.mark.parametrize(
    "path", ["metrics/scenes/prepare.json", "metrics/scenes/extract/byol/seed0.json"]
)
def test_stale_inputs_are_refused_too(project: Project, path: str) -> None:
    project.edit(path, fingerprint="old")
    assert refusal(project).startswith(f"{path}: stale cell")


def test_a_cell_without_a_known_fingerprint_is_stale(project: Project) -> None:
    fingerprints = project.fingerprints
    del fingerprints[PROBE]
    with pytest.raises(UserError, match="stale"):
        collect(project.metrics, project.grid, fingerprints)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"measurements": []}', "\ud800"])
def test_a_file_that_is_no_record_is_refused(project: Project, content: str) -> None:
    (project.root / PROBE).write_bytes(content.encode("utf-8", "surrogatepass"))
    message = refusal(project)
    assert message.startswith(f"{PROBE}: damaged cell")
    assert "delete it" in message


@pytest.mark.parametrize(
    "change",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": "0.5"},
        {"value": True},
        {"value": None},
        {"metric": 3},
        {"unit": None},
        {"value": 1.7},
        {"value": -0.1},
        {"role": "layer"},
        {"better": None},
        {"detail": {"draws": [0.1, 0.2]}},
    ],
)
def test_a_damaged_measurement_is_refused(project: Project, change: dict[str, object]) -> None:
    content = json.loads((project.root / PROBE).read_text())
    measured = [{**content["measurements"][0], **change}]
    project.edit(PROBE, measurements=measured)
    assert refusal(project).startswith(f"{PROBE}: damaged cell")


def test_the_draws_of_every_headline_are_checked(make_project: Any) -> None:
    project = make_project(probes=["lowshot"], transfers=[])
    path = "metrics/digits/lowshot/byol/seed1.json"
    first = json.loads((project.root / path).read_text())["measurements"][0]
    second = {**first, "metric": "top1_10percent", "value": 0.8, "detail": {"draws": [0.1, 0.2]}}
    project.edit(path, measurements=[first, second])
    assert "the mean of its draws is not top1_10percent" in refusal(project)


def test_a_metric_measured_twice_is_refused(project: Project) -> None:
    content = json.loads((project.root / PROBE).read_text())
    project.edit(PROBE, measurements=content["measurements"][:1] * 2)
    assert "two of one metric" in refusal(project)


@pytest.mark.parametrize("history", [None, [1], [{"loss": 1.0}]])
def test_a_damaged_history_is_refused(project: Project, history: object) -> None:
    path = "metrics/scenes/pretrain/byol/seed0.json"
    project.edit(path, history=history)
    assert refusal(project).startswith(f"{path}: damaged cell")


def test_seeds_that_disagree_on_what_was_measured_are_refused(project: Project) -> None:
    content = json.loads((project.root / PROBE).read_text())
    project.edit(PROBE, measurements=content["measurements"][:1])
    assert f"{PROBE}: measures ['top1']" in refusal(project)


def test_records_of_one_column_must_be_of_one_version(project: Project) -> None:
    project.edit(PROBE, protocol={"name": "linear", "version": 2})
    message = refusal(project)
    assert message.startswith(f"{PROBE}: comes from linear v2, but metrics/digits/linear/")
    assert "comes from linear v1; run `dvc repro`" in message


@pytest.mark.parametrize(
    "protocol",
    [None, {"name": "knn", "version": 1}, {"name": "linear"}, {"name": "linear", "version": "1"}],
)
def test_a_record_of_another_protocol_is_damaged(project: Project, protocol: object) -> None:
    project.edit(PROBE, protocol=protocol)
    assert f"{PROBE}: damaged cell: its protocol is not linear with a version" in refusal(project)


def samples(values: list[bool], metric: str = "top1") -> dict[str, Any]:
    return per_sample.encode(metric, np.array(values))


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (samples([True] * 3), "the mean of its results of samples is not top1"),
        (samples([]), "is not top1"),
        (samples([True], "loss"), "is not loss"),
        ({"metric": "top1", "n": 4, "encoding": "bits", "values": ""}, "not readable"),
        ({"metric": "top1", "n": 1, "encoding": "bits", "values": "AA", "x": 1}, "not readable"),
        ("bits", "not readable"),
    ],
)
def test_damaged_results_of_samples_are_refused(make_project: Any, kept: Any, says: str) -> None:
    project = make_project(probes=["mlp"])
    project.edit("metrics/digits/mlp/byol/seed1.json", per_sample=kept)
    message = refusal(project)
    assert message.startswith("metrics/digits/mlp/byol/seed1.json: damaged cell")
    assert says in message


def test_other_test_samples_are_refused(make_project: Any) -> None:
    path = "metrics/digits/mlp/byol/seed1.json"
    project = make_project(probes=["mlp"])
    content = json.loads((project.root / path).read_text())
    measured = [{**content["measurements"][0], "value": 0.5}]
    project.edit(path, measurements=measured, per_sample=samples([True, False]))
    assert "keeps 2 results of top1, but metrics/digits/mlp/" in refusal(project)
    project.edit(path, measurements=measured, per_sample=None)
    assert "keeps no results of samples, but" in refusal(project)


@pytest.mark.parametrize(
    ("draws", "says"),
    [
        ([0.1, 0.2, 0.1, 0.1, 0.1], "the mean of its draws is not top1"),
        ([0.1, None], "its draws are not numbers"),
        (0.5, "its draws are not numbers"),
    ],
)
def test_damaged_draws_are_refused(make_project: Any, draws: Any, says: str) -> None:
    path = "metrics/digits/lowshot/byol/seed1.json"
    project = make_project(probes=["lowshot"])
    content = json.loads((project.root / path).read_text())
    project.edit(path, measurements=[{**content["measurements"][0], "detail": {"draws": draws}}])
    assert f"{path}: damaged cell: {says}" in refusal(project)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_reads": ["data/digits/test.arrow"] * 2}, "test was opened 2 times"),
        ({"test_reads": []}, "test was opened 0 times"),
        ({"split": "val"}, "a headline was not measured on test"),
        ({"n": 7}, "2000 of test"),
    ],
)
def test_a_number_is_of_test_read_once_and_of_all_its_samples(project, changes, said):
    path = "metrics/digits/knn/byol/seed1.json"
    rows = json.loads((project.root / path).read_text())["measurements"]
    reads = {key: value for key, value in changes.items() if key == "test_reads"}
    of_rows = {key: value for key, value in changes.items() if key != "test_reads"}
    project.edit(path, measurements=[{**row, **of_rows} for row in rows], **reads)
    with pytest.raises(UserError, match=said):
        project.collect()
