"""Numbers beside those of random weights, and data sets that are reported by another metric."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.core.errors import UserError
from sslbench.reporting.across import across
from sslbench.reporting.inference import Inference
from sslbench.reporting.layers import floors, layer_rows
from sslbench.reporting.leaderboard import above_floor
from sslbench.reporting.tables import numbers
from sslbench.reporting.twins import twin_rows

if TYPE_CHECKING:
    from conftest import Project


def test_a_number_stands_beside_its_twin_with_an_interval_of_paired_gains(
    project: Project, inference: Inference
) -> None:
    collected = project.collect()
    rows = twin_rows(collected, project.numbers(), inference)
    assert {row.number.protocol for row in rows} == {"finetune"}
    assert {row.number.metric for row in rows} == {"top1"}
    assert len(rows) == 2 * 6
    assert [row.number.dataset for row in rows] == ["scenes"] * 6 + ["digits"] * 6
    row = next(r for r in rows if r.number.id == "scenes/simclr/finetune/top1")
    gains = [value - twin for value, twin in zip(row.number.values, (0.3, 0.31, 0.32), strict=True)]
    low, high, _ = inference.interval(gains, None)
    assert row.twin == pytest.approx(0.31)
    assert (row.gain, row.low, row.high) == (pytest.approx(sum(gains) / 3), low, high)
    value, twin, gain = row.shown()
    assert twin == "31.0"
    assert gain.startswith("+")
    assert " ± " in gain
    report = project.report("report", {})
    markdown = (report / "leaderboard.md").read_text()
    assert f"| simclr | finetune | top1 % | {value} | {twin} | {gain} |" in markdown
    told = {line["id"]: line for line in csv.DictReader((report / "numbers.csv").open())}
    assert float(told[row.number.id]["twin"]) == pytest.approx(row.twin)
    assert float(told[row.number.id]["gain_ci_high"]) == pytest.approx(row.high)
    assert told["scenes/simclr/linear/top1"]["twin"] == ""
    page = (report / "index.html").read_text()
    assert page.count("Beside random weights</h3>") == 2
    assert f"<td>{gain}</td>" in page


def test_no_table_of_twins_where_nothing_was_trained_further(make_project: Any) -> None:
    report = make_project(transfers=[]).report("bare", {})
    assert "random weights" not in (report / "leaderboard.md").read_text()


def test_a_data_set_is_reported_by_its_own_metric(make_project: Any, inference: Inference) -> None:
    project = make_project(probes=["knn", "linear", "lowshot", "mlp"])
    project.edit("metrics/digits/prepare.json", metric="mean_per_class")
    collected = project.collect()
    found = numbers(collected, inference, {})
    mains = {(n.dataset, n.protocol): n.metric for n in found if n.is_main}
    assert mains["digits", "linear"] == "mean_per_class"
    assert mains["scenes", "linear"] == "top1"
    assert mains["digits", "lowshot"] == "top1", "it has no mean_per_class"
    rows = [row for row in layer_rows(collected) if row.dataset == "digits"]
    assert {row.metric for row in rows} == {"top1"}, "layers were measured by top1 alone"
    above = above_floor(found, floors(rows))
    assert "digits/supervised/linear/mean_per_class" in above
    spread = {(row.dataset, row.metric) for row in across(collected, found, inference).spread}
    assert ("digits", "top1") in spread
    text = (project.report("own", {}) / "leaderboard.md").read_text()
    assert "linear v1 mean_per_class (%)" in text.split("## digits")[1]


def test_a_strange_metric_of_a_data_set_is_refused(project: Project) -> None:
    project.edit("metrics/digits/prepare.json", metric="<b>")
    with pytest.raises(UserError, match=r"metrics/digits/prepare.json: .*metric"):
        project.collect()


def test_twins_that_do_not_pair_with_their_numbers_are_refused(project: Project) -> None:
    path = "metrics/digits/finetune/simclr/seed1.json"
    measured = json.loads((project.root / path).read_text())["measurements"]
    project.edit(path, measurements=[*measured, measured[-1]])
    with pytest.raises(UserError, match=r"seed1.json: .*two twins of one metric"):
        project.collect()
    project.edit(path, measurements=measured[:-1])
    with pytest.raises(UserError, match=r"has twins of \[\], but .*seed0.json has twins of"):
        project.collect()


def test_layers_of_another_metric_are_refused(project: Project) -> None:
    path = "metrics/digits/linear/simclr/seed1.json"
    measured = json.loads((project.root / path).read_text())["measurements"]
    for entry in measured:
        entry["metric"] = "auc" if entry["role"] == "layer" else entry["metric"]
    project.edit(path, measurements=measured)
    with pytest.raises(UserError, match=r"seed1.json: .*no metric that it reports"):
        project.collect()
