"""Single epochs in the report: the last one, the best ones, and what choosing on test adds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sslbench.core.errors import UserError
from sslbench.reporting.epochs import EpochRow, epoch_rows
from sslbench.reporting.figures import epoch_panels
from sslbench.reporting.inference import Inference

CELL = "metrics/scenes/followed/simclr/seed1.json"


@pytest.fixture
def project(make_project: Any) -> Any:
    return make_project(transfers=["followed"])


@pytest.fixture
def rows(project: Any, inference: Inference) -> list[EpochRow]:
    return epoch_rows(project.collect(), inference)


def values(project: Any, seed: int) -> dict[int | None, float]:
    content = json.loads(
        (project.root / f"metrics/scenes/followed/simclr/seed{seed}.json").read_text()
    )
    found = content["measurements"]
    return {e["detail"]["epoch"]: e["value"] for e in found if e["role"] == "epoch"}


def test_inflation_is_the_best_on_test_less_the_last_over_paired_seeds(
    project: Any, rows: list[EpochRow], inference: Inference
) -> None:
    row = next(row for row in rows if (row.dataset, row.method) == ("scenes", "simclr"))
    by_seed = [values(project, seed) for seed in range(3)]
    gaps = [max(found.values()) - found[None] for found in by_seed]
    assert row.inflation == pytest.approx(sum(gaps) / 3)
    assert (row.low, row.high) == inference.interval(gaps, None)[:2]
    assert row.last == pytest.approx(sum(found[None] for found in by_seed) / 3)
    assert row.on_val == pytest.approx(sum(found[5] for found in by_seed) / 3)
    assert row.on_test == pytest.approx(row.last + row.inflation)
    assert row.chosen == tuple(max(found, key=lambda e: found[e]) for found in by_seed)


def test_the_end_stands_at_the_last_epoch_of_the_history(
    project: Any, rows: list[EpochRow]
) -> None:
    row = next(row for row in rows if (row.dataset, row.method) == ("scenes", "simclr"))
    assert list(row.by_epoch) == [5, 10, 15, 20]
    assert row.by_epoch[20] == [values(project, seed)[None] for seed in range(3)]


def test_a_method_without_epochs_has_a_row_and_no_curve(rows: list[EpochRow]) -> None:
    row = next(row for row in rows if row.method == "random_init")
    assert row.last == row.on_val == row.on_test
    assert row.chosen == (None,) * 3
    assert row.by_epoch == {}
    assert len(epoch_panels(rows)) == len({(r.dataset, r.method) for r in rows}) - 2 * 2


def test_page_leaderboard_and_figures_show_it(project: Any, rows: list[EpochRow]) -> None:
    report = project.report("report", {})
    row = next(row for row in rows if (row.dataset, row.method) == ("scenes", "simclr"))
    text = (report / "leaderboard.md").read_text()
    assert f"| simclr | followed | top1 % | {' | '.join(row.shown())} |" in text
    page = (report / "index.html").read_text()
    assert page.count("Epoch by epoch</h3>") == 2
    assert f"<td>{row.shown()[3]}</td>" in page
    figure = (report / "figures/epochs_scenes.svg").read_text()
    assert "simclr" in figure
    assert "random_init" not in figure
    csv = (report / "numbers.csv").read_text()
    assert "scenes/simclr/followed/top1_best_test_epoch," in csv


def test_no_table_of_epochs_where_none_was_kept(make_project: Any) -> None:
    report = make_project(transfers=[]).report("bare", {})
    assert "Epoch by epoch" not in (report / "leaderboard.md").read_text()
    assert "Epoch by epoch" not in (report / "index.html").read_text()
    assert not list((report / "figures").glob("epochs_*"))


def test_the_choice_on_test_is_ranked_nowhere(project: Any) -> None:
    found = [n for n in project.numbers() if n.metric == "top1_best_test_epoch"]
    assert found
    assert {n.rank_group for n in found} == {None}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: found.pop(2), "there is no top1_best_test_epoch"),
        (lambda found: found[-1].update(detail={}), "does not say which"),
        (lambda found: found[-1].update(detail={"epoch": "5"}), "does not say which"),
        (lambda found: found[2].update(detail={"epoch": 0}), "does not say which"),
        (lambda found: found[2].update(detail=None), "does not say which"),
    ],
)
def test_damaged_epochs_are_refused(project: Any, spoil: Any, message: str) -> None:
    found = json.loads((project.root / CELL).read_text())["measurements"]
    spoil(found)
    project.edit(CELL, measurements=found)
    with pytest.raises(UserError, match=message):
        project.collect()
