"""What the report refuses, and that each refusal names the file and the mend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.core.errors import UserError
from sslbench.reporting.collect import collect, expected_cells, headlines, layers

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
        {"role": "layer"},
    ],
)
def test_a_damaged_measurement_is_refused(project: Project, change: dict[str, object]) -> None:
    content = json.loads((project.root / PROBE).read_text())
    measured = [{**content["measurements"][0], **change}]
    project.edit(PROBE, measurements=measured)
    assert refusal(project).startswith(f"{PROBE}: damaged cell")


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
