"""The health table: last epochs, means over seeds, dashes and marks; page and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sslbench.reporting.health import HealthRow, figures_of, health_rows

if TYPE_CHECKING:
    from conftest import Project

METHODS = ["random_init", "simclr", "byol", "dino"]
SOUND = {"feature_std": 0.5, "effective_rank": 20.0}
HEALTH = {
    "simclr": [SOUND, SOUND],
    "byol": [SOUND | {"teacher_student_gap": gap} for gap in (0.1, 0.3)],
    "dino": [
        SOUND | {"feature_std": std, "prototype_entropy": 0.8, "teacher_student_gap": 0.2}
        for std in (0.04, 0.5)
    ],
}


def record(project: Project, method: str, seed: int, history: list[Any]) -> None:
    project.edit(f"metrics/scenes/pretrain/{method}/seed{seed}.json", history=history)


@pytest.fixture
def project(make_project: Any) -> Project:
    """No training; neither prototypes nor teacher; a teacher; both, with one seed collapsed."""
    made = make_project(methods=METHODS, seeds=[0, 1])
    for seed in (0, 1):
        record(made, "random_init", seed, [])
        for method, seeds in HEALTH.items():
            first = {"epoch": 0, "loss": 1.0, "health": dict.fromkeys(SOUND, 0.0)}
            record(made, method, seed, [first, {"epoch": 1, "loss": 1.0, "health": seeds[seed]}])
    return made


def rows_of(project: Project) -> dict[str, HealthRow]:
    return {row.method: row for row in health_rows(project.collect().pretraining)}


def test_a_row_is_the_mean_over_seeds_of_the_last_epoch(project: Project) -> None:
    rows = rows_of(project)
    assert list(rows) == METHODS
    assert rows["byol"].means == pytest.approx(SOUND | {"teacher_student_gap": 0.2})
    assert rows["byol"].show("teacher_student_gap") == "0.200"
    assert rows["byol"].show("effective_rank") == "20.0"


def test_a_figure_that_a_method_lacks_is_a_dash(project: Project) -> None:
    rows = rows_of(project)
    assert rows["random_init"].means == {}
    assert rows["random_init"].show("feature_std") == "—"
    assert rows["simclr"].show("prototype_entropy") == "—"


def test_one_collapsed_seed_marks_the_row(project: Project) -> None:
    rows = rows_of(project)
    assert rows["dino"].alarms == {"feature_std"}
    assert rows["dino"].show("feature_std") == "0.270 ⚠"
    assert rows["dino"].show("prototype_entropy") == "0.800"
    assert not rows["byol"].alarms


def test_page_and_markdown_have_the_table_and_the_figures(project: Project) -> None:
    report = project.report("report", {})
    names = (*SOUND, "prototype_entropy", "teacher_student_gap")
    drawn = {path.name for path in (report / "figures").glob("health_*.svg")}
    assert drawn == {f"health_{name}.svg" for name in names}
    page = (report / "index.html").read_text()
    assert '<td class="alarm" data-value="0.27">0.270 ⚠</td>' in page
    markdown = (report / "leaderboard.md").read_text()
    assert "| dino | 0.270 ⚠ | 20.0 | 0.800 | 0.200 |" in markdown
    assert "| *random_init* | — | — | — | — |" in markdown


def test_columns_that_no_method_has_are_left_out(make_project: Any) -> None:
    project = make_project(methods=["random_init", "simclr"])
    assert figures_of(list(rows_of(project).values())) == list(SOUND)
    report = project.report("report", {})
    for name in ("index.html", "leaderboard.md"):
        assert "effective rank" in (report / name).read_text()
        assert "teacher-student gap" not in (report / name).read_text()


def test_a_grid_without_training_has_no_table(make_project: Any) -> None:
    project = make_project(methods=["random_init"], seeds=[0])
    record(project, "random_init", 0, [])
    report = project.report("report", {})
    for name in ("index.html", "leaderboard.md"):
        assert "Health against collapse" not in (report / name).read_text()


def test_an_epoch_without_figures_is_a_dash(project: Project) -> None:
    for seed in (0, 1):
        record(project, "simclr", seed, [{"epoch": 0, "loss": 1.0, "health": None}])
    assert rows_of(project)["simclr"].means == {}
