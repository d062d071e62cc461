"""What other programs read: layers.csv, numbers.csv read back, and docs/results.md from both."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sslbench import presets
from sslbench.commands import _published
from sslbench.commands._published import results_page
from sslbench.core.errors import UserError
from sslbench.core.params import build
from sslbench.reporting.csv_file import digits, read_csv, read_twins
from sslbench.reporting.layers import floors, layer_rows
from sslbench.reporting.leaderboard import above_floor, show
from sslbench.reporting.settings import Settings
from sslbench.reporting.tables import mean
from sslbench.reporting.twins import twin_rows

if TYPE_CHECKING:
    from conftest import Project

    from sslbench.reporting.inference import Inference

END = "<!-- end of table -->"


@pytest.fixture
def report(project: Project) -> Path:
    return project.report("report", {})


@pytest.fixture
def published(report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with docs/tables/made.csv and its layers; returns the page to write."""
    tables = tmp_path / "checkout/docs/tables"
    tables.mkdir(parents=True)
    shutil.copy(report / "numbers.csv", tables / "made.csv")
    shutil.copy(report / "layers.csv", tables / "made.layers.csv")
    monkeypatch.chdir(tmp_path / "checkout")
    return Path(_published.PAGE)


def table(page: Path, spec: str) -> list[str]:
    """Return the lines that a comment asks for."""
    page.write_text(f"Before.\n\n<!-- table: {spec} -->\n| old | cells |\n{END}\n\nAfter.\n")
    text = results_page()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "| old | cells |" not in text
    page.write_text(text)
    assert results_page() == text, "twice is once"
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("inside", ["", "| a |\nA sentence.\n<!-- end of table -->\n"])
def test_no_text_is_taken_for_a_table(published: Path, inside: str) -> None:
    spec = "<!-- table: rows=methods file=made dataset=digits protocols=linear -->\n"
    published.write_text(f"{spec}{inside}\nA sentence.\n\n{spec}<!-- end of table -->\n")
    with pytest.raises(UserError, match="a table without its end"):
        results_page()


def test_layers_csv_has_every_layer_with_its_floor(project: Project, report: Path) -> None:
    found = list(csv.DictReader((report / "layers.csv").open()))
    row = next(r for r in layer_rows(project.collect()) if r.number_id == "digits/byol/linear/top1")
    rows = [line for line in found if line["id"] == row.number_id]
    assert [line["layer"] for line in rows] == list(row.by_layer)
    assert [float(line["value"]) for line in rows] == pytest.approx(list(row.by_layer.values()))
    floors = [float(line["floor_value"]) for line in rows]
    assert floors == pytest.approx(list(row.floor_by_layer.values()))
    assert {line["floor"] for line in rows} == {"random_init"}
    assert sum(int(line["seeds_chosen"]) for line in rows) == 3
    weighted = sum(int(r["seeds_chosen"]) * float(r["floor_value"]) for r in rows) / 3
    assert weighted == pytest.approx(row.floor_value)


def test_numbers_read_back_know_what_they_are_told_from(project: Project, report: Path) -> None:
    made = {number.id: number.told_from for number in project.numbers()}
    back = {number.id: number.told_from for number in read_csv(report / "numbers.csv")}
    assert back == made
    assert frozenset({"random_init", "random_init_vit"}) in back.values()


def test_twins_read_back_are_shown_alike(
    project: Project, report: Path, inference: Inference
) -> None:
    made = twin_rows(project.collect(), project.numbers(), inference)
    back = {row.number.id: row.shown() for row in read_twins(report / "numbers.csv")}
    assert back == {row.number.id: row.shown() for row in made}


def test_a_table_of_methods_is_that_of_the_leaderboard(published: Path, report: Path) -> None:
    lines = table(published, "rows=methods file=made dataset=digits protocols=knn,linear,finetune")
    text = (report / "leaderboard.md").read_text().split("## digits")[1]
    assert lines == [line for line in text.splitlines() if line.startswith("|")][: len(lines)]
    assert any("**" in line for line in lines)
    assert any("↑" in line for line in lines)
    alone = table(published, "rows=methods file=made dataset=digits protocols=linear")
    assert alone[0] == "| method | linear v1 top1 (%) |"
    assert len(alone) == len(lines)


def test_a_table_of_layers_is_that_of_the_leaderboard(published: Path, report: Path) -> None:
    lines = table(published, "rows=layers file=made dataset=digits protocols=linear")
    text = (report / "leaderboard.md").read_text().split("## digits")[1]
    text = text.split("### Layer by layer")[1].split("###")[0]
    honest = {line.rsplit(" | ", 1)[0] + " |" for line in text.splitlines() if "| linear |" in line}
    assert {line.replace("*", "") for line in lines if "| linear |" in line} == honest
    assert len(honest) == 4, "all but the untrained networks"


def test_a_table_of_figures_has_methods_as_columns_and_gains_below(published: Path) -> None:
    spec = "rows=figures file=made dataset=scenes protocols=finetune/top1,linear"
    lines = table(published, f"{spec} methods=simclr,supervised")
    assert lines[0] == "| protocol | figure | simclr | *supervised* |"
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| finetune v1", "top1 (%)"],
        ["| ", "random weights"],
        ["| ", "gain over random weights"],
        ["| linear v1", "top1 (%)"],
        ["| linear v1", "mean_per_class (%)"],
    ]
    rows = read_twins(Path("docs/tables/made.csv"))
    _, twin, gain = next(row for row in rows if "simclr" in row.number.id).shown()
    assert lines[3].startswith(f"|  | random weights | {twin} | ")
    assert lines[4].startswith(f"|  | gain over random weights | {gain} | ")
    assert len(table(published, spec)[0].split("|")) == 2 + 2 + 6


def test_a_table_of_costs_is_that_of_its_file(published: Path) -> None:
    costs = "dataset,protocol,seconds,longest,peak_mib,tracked,cells\n"
    rows = "digits,linear,2.0,9.0,120.4,3,4\nscenes,linear,1.0,1.0,1.0,1,1\n"
    Path("docs/tables/made.costs.csv").write_text(costs + rows)
    lines = table(published, "rows=costs file=made dataset=digits protocols=linear")
    assert lines[2:] == ["| linear | 2.0 | 9.0 | 120.4 | 3 |"]


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("rows=methods file=made dataset=digits", "name rows .*, file, dataset and protocols"),
        (
            "rows=pie file=made dataset=digits protocols=knn",
            "one of methods, layers, figures, costs",
        ),
        ("rows=costs file=made dataset=digits protocols=linear", "no cost of linear; write it"),
        ("rows=methods file=absent dataset=digits protocols=knn", "absent.csv: file not found"),
        ("rows=methods file=made dataset=mnist protocols=knn", "no numbers on mnist"),
        ("rows=figures file=made dataset=digits protocols=svm", "no numbers of svm"),
    ],
)
def test_a_table_of_what_is_not_there_is_refused(published: Path, spec: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        table(published, spec)


def test_an_arrow_needs_no_layers_of_its_own_protocol(make_project: Any) -> None:
    project = make_project(probes=["linear", "lowshot"], transfers=[])
    markdown = (project.report("report", {}) / "leaderboard.md").read_text()
    above = above_floor(project.numbers(), floors(layer_rows(project.collect())))
    assert {"digits/supervised/linear/top1", "digits/supervised/lowshot/top1"} <= above
    row = next(line for line in markdown.splitlines() if line.startswith("| *supervised* |"))
    assert row.count("↑") == 2


GOOD = {"id": "digits/byol/linear/top1", "value": 0.7, "source": "Table 1"}


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([GOOD | {"id": "byol/top1"}], "id must be dataset/method/protocol/metric"),
        ([GOOD | {"value": float("nan")}], "value must be finite"),
        ([GOOD | {"source": ""}], "source of digits/byol/linear/top1 must be a line that begins"),
        ([GOOD | {"source": "Table\n1"}], "must be a line that begins with a word"),
        ([GOOD | {"source": "=1+1"}], "must be a line that begins with a word"),
        ([GOOD, GOOD], "two published values for digits/byol/linear/top1"),
    ],
)
def test_a_published_value_needs_a_number_of_ours_and_a_source(
    entries: list[dict[str, Any]], what: str
) -> None:
    with pytest.raises(UserError, match=what):
        build(Settings, {"confidence": 0.95, "published": entries}, "report")


def test_the_values_that_a_preset_names_stand_beside_its_numbers(root: Path) -> None:
    values = yaml.safe_load(presets.compose("imagenet", [], root / "conf"))
    settings = build(Settings, values["report"], "report")
    grid = values["grid"]
    for entry in settings.published:
        dataset, method, protocol, _ = entry.id.split("/")
        assert dataset in grid["targets"]
        assert method in grid["methods"]
        assert protocol in grid["probes"]
        assert 0 < entry.value < 1
    assert len(settings.published) == 12


def test_a_half_is_shown_alike_before_and_after_the_file() -> None:
    value = mean([0.4565, 0.4945, 0.4935])  # numbers.csv has 0.4815
    assert value != float(digits(value))
    assert show(value, "fraction") == show(float(digits(value)), "fraction")
