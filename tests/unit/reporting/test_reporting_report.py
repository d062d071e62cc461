"""The written report: same bytes, right numbers, sound page."""

from __future__ import annotations

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sslbench.core.errors import UserError
from sslbench.evaluation.statistics.blocks import AverageRanks
from sslbench.evaluation.statistics.components import variance_components
from sslbench.reporting.across import block_scores
from sslbench.reporting.critical_difference import critical_difference_panel
from sslbench.reporting.csv_file import read_csv
from sslbench.reporting.figures import _short, curve_panels
from sslbench.reporting.health import health_rows
from sslbench.reporting.layers import floors, layer_rows
from sslbench.reporting.leaderboard import (
    above_floor,
    interval_text,
    is_best,
    show,
    show_spread,
)
from sslbench.reporting.plot import Scale, tick
from sslbench.reporting.tables import Number, numbers
from sslbench.reporting.terminal import leaderboard_text

if TYPE_CHECKING:
    from conftest import Project

    from sslbench.reporting.inference import Inference

REFERENCES = {
    "digits/byol/linear/top1": (0.7, "Table 1, <made up>"),
    "elsewhere/byol/linear/top1": (0.5, "another grid's"),
}
HEADER = (
    "id,dataset,method,protocol,metric,unit,value,ci_low,ci_high,n_seeds,seeds,rank_group,"
    "reference,reference_source,fingerprints,labels,protocol_version,better,"
    "twin,gain_ci_low,gain_ci_high,interval,test,told_from"
)
VOID = {"meta", "wbr"}


@pytest.fixture
def report(project: Project) -> Path:
    return project.report("report", REFERENCES)


class Outline(HTMLParser):
    """Checks the nesting of tags and keeps ids, links and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        self.sources += [values["src"] or ""] if "src" in values else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(report: Path) -> Outline:
    parser = Outline()
    parser.feed((report / "index.html").read_text())
    parser.close()
    assert parser.open == []
    return parser


def test_two_writings_give_the_same_bytes(project: Project) -> None:
    first, second = project.report("a", REFERENCES), project.report("b", REFERENCES)
    names = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert {name.name for name in names} >= {
        "numbers.csv",
        "layers.csv",
        "leaderboard.md",
        "index.html",
    }
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_no_temporary_file_is_left(report: Path) -> None:
    assert not [path for path in report.rglob("*") if path.name.startswith(".")]


def test_csv_has_the_columns_of_the_contract_and_the_mean_over_seeds(
    report: Path, project: Project
) -> None:
    lines = (report / "numbers.csv").read_text().splitlines()
    assert lines[0] == HEADER
    rows = {row["id"]: row for row in csv.DictReader(lines)}
    assert len(rows) == 6 * 2 * 3 * 2
    row = rows["digits/byol/linear/top1"]
    cells = [c for c in project.collect().cells if c.path.startswith("metrics/digits/linear/byol/")]
    values = [cell.record["measurements"][0]["value"] for cell in cells]
    assert float(row["value"]) == pytest.approx(sum(values) / 3, abs=1e-7)
    assert float(row["ci_low"]) < float(row["value"]) < float(row["ci_high"])
    assert (row["n_seeds"], row["seeds"], row["unit"]) == ("3", "0;1;2", "fraction")
    assert row["fingerprints"] == ";".join(cell.record["fingerprint"] for cell in cells)
    assert (row["reference"], row["reference_source"]) == ("0.7", "Table 1, <made up>")


def test_rank_groups_are_made_within_a_column(project: Project) -> None:
    made = project.numbers()
    column = [n for n in made if n.id.startswith("digits/") and n.id.endswith("/linear/top1")]
    assert len(column) == 6
    assert {n.method for n in column if n.rank_group == 1} == {"simclr"}


def test_one_seed_has_an_interval_over_samples_where_they_were_kept(make_project: Any) -> None:
    project = make_project(seeds=[0], probes=["mlp", "knn"], transfers=[])
    report = project.report("report", REFERENCES)
    made = {number.protocol: number for number in project.numbers()}
    assert made["mlp"].interval == "95 % Wilson over 400 samples"
    assert re.fullmatch(r"\[\d+\.\d, \d+\.\d\]", show_spread(made["mlp"]))
    assert (made["knn"].interval, show_spread(made["knn"])) == ("none", "")
    assert {number.rank_group for number in read_csv(report / "numbers.csv")} == {None}
    assert "**" not in (report / "leaderboard.md").read_text()
    assert "95 % Wilson over 400 samples" in (report / "index.html").read_text()


def test_one_seed_has_an_interval_from_a_standard_error(make_project: Any) -> None:
    project = make_project(seeds=[0], probes=["knn"], transfers=[])
    path = "metrics/scenes/knn/simclr/seed0.json"
    measured = json.loads((project.root / path).read_text())["measurements"]
    measured[0]["standard_error"] = 0.01
    project.edit(path, measurements=measured)
    number = next(n for n in project.numbers() if n.id == "scenes/simclr/knn/top1")
    assert number.interval == "95 % bootstrap over test samples"
    assert show_spread(number) == "± 2.0"


@pytest.mark.parametrize("error", [-0.1, "0.1", [0.1], True])
def test_a_strange_standard_error_is_refused(make_project: Any, error: Any) -> None:
    project = make_project(seeds=[0], probes=["knn"], transfers=[])
    path = "metrics/scenes/knn/simclr/seed0.json"
    measured = json.loads((project.root / path).read_text())["measurements"]
    measured[1]["standard_error"] = error
    project.edit(path, measurements=measured)
    with pytest.raises(UserError, match="the standard error of mean_per_class is"):
        project.collect()


def test_layers_stand_beside_the_untrained_backbone_of_the_same_layers(project: Project) -> None:
    rows = {row.number_id: row for row in layer_rows(project.collect())}
    assert rows["digits/mae/linear/top1"].floor == "random_init_vit"
    byol = rows["digits/byol/linear/top1"]
    assert (byol.floor, byol.layer, byol.unit) == ("random_init", "layer4", "fraction")
    assert byol.floor_value == byol.floor_by_layer["layer4"]
    assert byol.peeked >= max(byol.by_layer.values()) - 1e-12  # each seed may peek at its own best
    assert not any("random_init" in name for name in rows)


def test_each_seed_peeks_at_its_own_best_layer(project: Project) -> None:
    path = "metrics/digits/linear/byol/seed1.json"
    measured = json.loads((project.root / path).read_text())["measurements"]
    early = next(e for e in measured if (e["role"], e.get("layer")) == ("layer", "layer1"))
    early["value"] = 0.99
    project.edit(path, measurements=measured)
    collected = project.collect()
    row = next(r for r in layer_rows(collected) if r.number_id == "digits/byol/linear/top1")
    best = [
        max(entry["value"] for entry in cell.record["measurements"] if entry["role"] == "layer")
        for cell in collected.cells
        if cell.path.startswith("metrics/digits/linear/byol/")
    ]
    assert row.peeked == pytest.approx(sum(best) / 3)
    assert row.peeked > max(row.by_layer.values()) + 0.01


def test_no_floor_where_layers_differ(make_project: Any) -> None:
    project = make_project(methods=["random_init", "mae"])
    assert {(row.floor, row.floor_value) for row in layer_rows(project.collect())} == {("", None)}


def test_page_is_well_formed_and_every_link_resolves(report: Path) -> None:
    page = outline(report)
    assert len(page.ids) == len(set(page.ids))
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert set(inside) <= set(page.ids)
    others = {link for link in page.links if not link.startswith("#")}
    assert all((report / link).is_file() for link in others)
    assert page.sources == []


def test_every_number_has_its_anchor_and_a_link_to_it(report: Path) -> None:
    page = outline(report)
    for number in read_csv(report / "numbers.csv"):
        assert number.id in page.ids
        assert f"#{number.id}" in page.links


def test_page_asks_nothing_of_the_network(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text)


def test_tables_are_accessible(report: Path) -> None:
    page = outline(report)
    count = sum(tag == "table" for tag, _ in page.tags)
    assert sum(tag == "caption" for tag, _ in page.tags) == count > 0
    assert all(values.get("scope") in ("col", "row") for tag, values in page.tags if tag == "th")
    assert all(values.get("aria-label") for tag, values in page.tags if tag == "svg")


def test_page_shows_provenance_and_reference(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert "sslbench verify digits/byol/linear/top1 --recompute" in text
    assert "python -m stages.probe --method byol --seed 1" in text
    assert "1" * 32 + "  data/digits" in text
    assert "0" * 32 + "  requirements.lock" in text
    assert "not recorded" not in text
    assert "Table 1, &lt;made up&gt;" in text


def test_page_tells_what_an_input_touches(report: Path) -> None:
    """The fixture's provenance says which cells read what; links lead to numbers (see above)."""
    text = (report / "index.html").read_text()
    section = text[text.index('id="forward"') :]
    assert all(kind in section for kind in ("Data sets", "Code", "Parameters"))
    numbers = read_csv(report / "numbers.csv")
    evaluations = {number.id.rsplit("/", 1)[0] for number in numbers}
    shown = re.search(r"<code>digits</code><span class=\"muted\"> (\d+) of", section)
    assert shown is not None
    assert int(shown.group(1)) == sum(e.startswith("digits/") for e in evaluations)


def test_names_are_escaped_everywhere(make_project: Any) -> None:
    # No slash: a method is one part of a record's path.
    name = "<script>alert(1)&'\""
    project = make_project(methods=["random_init", name])
    report = project.report("report", REFERENCES)
    page = outline(report)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert all(re.fullmatch(r"[\w/@.%~-]+", identity) for identity in page.ids)
    assert "<script" not in (report / "leaderboard.md").read_text()
    for figure in (report / "figures").glob("*.svg"):
        ET.parse(figure)
        assert "<script" not in figure.read_text()


def test_layers_keep_a_name_of_their_own_on_a_full_axis() -> None:
    vit = dict.fromkeys(("block1", "block2", "block3", "block4", "patch_mean", "cls"), 0.5)
    resnet = dict.fromkeys(("stem", "layer1", "layer2", "layer3", "layer4"), 0.5)
    assert [_short(name, vit) for name in vit] == ["b1", "b2", "b3", "b4", "mean", "cls"]
    assert [_short(name, resnet) for name in resnet] == list(resnet)


def test_figures_are_sound_and_old_ones_go(project: Project, report: Path) -> None:
    names = {path.name for path in (report / "figures").iterdir()}
    assert names == {
        "training_loss.svg",
        "health_feature_std.svg",
        "health_effective_rank.svg",
        "forest_scenes.svg",
        "forest_digits.svg",
        "layers_scenes.svg",
        "layers_digits.svg",
        "critical_difference.svg",
    }
    for name in names:
        assert "nan" not in (report / "figures" / name).read_text()
        assert ET.parse(report / "figures" / name).getroot().tag.endswith("svg")
    (report / "figures" / "forest_gone.svg").write_text("<svg/>")
    project.report("report", REFERENCES)
    assert not (report / "figures" / "forest_gone.svg").exists()


def test_untrained_rows_and_single_epochs_draw_nothing_wrong(project: Project) -> None:
    for seed in range(3):
        project.edit(f"metrics/scenes/pretrain/random_init/seed{seed}.json", history=[])
        one = [{"epoch": 0, "loss": None, "health": None}, {"epoch": 1, "loss": 2.0}]
        project.edit(f"metrics/scenes/pretrain/byol/seed{seed}.json", history=one)
    panels = curve_panels(project.collect().pretraining, "loss")
    assert "random_init" not in panels
    assert "<circle" in panels["byol"].body
    assert "byol" not in curve_panels(project.collect().pretraining, "feature_std")


def test_leaderboards_mark_the_best_group_but_no_baseline(report: Path) -> None:
    markdown = (report / "leaderboard.md").read_text()
    assert re.search(r"\| \*supervised\* \| \d", markdown)
    assert "95 % t over 3 seeds" in markdown
    assert re.search(r"\*\*\d+\.\d ± \d+\.\d\*\*", markdown)
    text = leaderboard_text(read_csv(report / "numbers.csv"))
    starred = {line.split()[0] for line in text.splitlines() if re.search(r"\d \*", line)}
    assert starred
    assert not starred & {"supervised", "random_init", "random_init_vit"}
    rows = [line for line in text.splitlines() if line.startswith("  ")]
    assert max(map(len, rows)) <= 80


def marked(numbers: list[Number], groups: dict[str, int]) -> set[str]:
    """Return who stands out in one column when the rank groups are these (1 unless named)."""
    column = [
        n if n.rank_group is None else replace(n, rank_group=groups.get(n.method, 1))
        for n in numbers
        if (n.dataset, n.protocol) == ("digits", "knn")
    ]
    return {number.method for number in column if is_best(number, column)}


def test_a_baseline_is_never_marked_as_best_even_in_the_best_group(project: Project) -> None:
    groups = {n.method: n.rank_group for n in project.numbers() if n.method in BASELINES}
    assert set(groups.values()) == {None}
    assert marked(project.numbers(), {"mae": 2}) == {"simclr", "byol"}


def test_a_ceiling_does_not_decide_who_is_marked(project: Project, inference: Inference) -> None:
    """Told from the ceiling is not told from the best method."""
    asked = []

    def ranking(values: Any, samples: Any, higher: bool) -> Any:
        asked.append(set(values))
        return inference.ranking(values, samples, higher)

    numbers(project.collect(), replace(inference, ranking=ranking), {})
    assert asked
    assert all(names == {"simclr", "byol", "mae"} for names in asked)


def test_no_method_is_marked_where_the_test_tells_none_apart(project: Project) -> None:
    assert marked(project.numbers(), {}) == set()


def test_read_csv_refuses_other_files(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    with pytest.raises(UserError, match="file not found"):
        read_csv(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"not a numbers\.csv"):
        read_csv(path)


def test_a_method_that_saw_labels_is_marked_and_leaves_the_best_group_to_the_others(
    project: Project,
) -> None:
    assert marked(project.numbers(), {"mae": 2}) == {"simclr", "byol"}
    for seed in range(3):
        project.edit(f"metrics/scenes/pretrain/simclr/seed{seed}.json", labels="some")
    assert marked(project.numbers(), {"byol": 2, "mae": 2}) == set(), "one group is left"
    assert marked(project.numbers(), {"mae": 2}) == {"byol"}
    report = project.report("report", REFERENCES)
    assert re.search(r"\| simclr † \| ", (report / "leaderboard.md").read_text())
    assert "simclr †" in (report / "index.html").read_text()
    text = leaderboard_text(read_csv(report / "numbers.csv"))
    assert "simclr †" in text
    assert "byol †" not in text
    assert "†: pretraining saw labels" in text


SUPERVISED = "digits/supervised/linear/top1"


def test_an_arrow_says_that_the_test_tells_it_from_the_untrained_network(
    project: Project,
) -> None:
    made, rows = project.numbers(), layer_rows(project.collect())
    found = above_floor(made, floors(rows))
    assert SUPERVISED in found
    assert not any("random_init" in identity for identity in found)
    floor = next(n for n in made if n.id == "digits/random_init/linear/top1")
    assert "random_init" in next(n for n in made if n.id == SUPERVISED).told_from
    worse = [replace(n, value=floor.value - 0.1) if n.id == SUPERVISED else n for n in made]
    assert SUPERVISED not in above_floor(worse, floors(rows)), "told apart, the wrong way"
    other = [replace(n, told_from=frozenset({"random_init_vit"})) for n in made]
    assert SUPERVISED not in above_floor(other, floors(rows)), "a network with other layers"
    at_zero = [replace(n, value=0.0, low=0.0, high=0.0) if n is floor else n for n in made]
    assert SUPERVISED in above_floor(at_zero, floors(rows))
    markdown = (project.report("report", REFERENCES) / "leaderboard.md").read_text()
    assert re.search(r"\| \*supervised\* \|.* ↑", markdown)


def rows_of(report: Path) -> dict[str, dict[str, str]]:
    with (report / "numbers.csv").open() as handle:
        return {row["id"]: row for row in csv.DictReader(handle)}


def test_versions_stand_in_the_heads_of_columns(project: Project, report: Path) -> None:
    assert {row["protocol_version"] for row in rows_of(report).values()} == {"1"}
    assert "| method | knn v1 top1 (%) | linear v1 top1 (%) |" in (
        report / "leaderboard.md"
    ).read_text().replace("| finetune v1 top1 (%) |", "|")
    assert 'scope="col">linear<span class="muted"> v1</span>' in (report / "index.html").read_text()
    assert "linear v1" in leaderboard_text(read_csv(report / "numbers.csv"))


def test_a_lower_is_better_column_is_ranked_and_drawn_the_other_way(make_project: Any) -> None:
    project = make_project(probes=["pose"], transfers=[])
    report = project.report("report", {})
    column = [n for n in project.numbers() if n.dataset == "digits"]
    best = min((n for n in column if n.method not in BASELINES), key=lambda n: n.value)
    assert is_best(best, column)
    floor = next(n for n in column if n.method == "random_init")
    assert floor.rank_group is None
    assert best.rank_group == 1
    text = leaderboard_text(read_csv(report / "numbers.csv"))
    order = [line.split()[0] for line in text.split("digits\n")[1].splitlines()[3:6]]
    trained = sorted((n for n in column if n.method not in BASELINES), key=lambda n: n.value)
    assert order == [n.method for n in trained]
    assert "distance (px, lower is better)" in text
    scores = block_scores(project.numbers())["digits"]
    assert max(scores, key=lambda name: sum(scores[name])) == best.method


def test_an_arrow_needs_no_layers_on_the_same_data_set(project: Project) -> None:
    rows = [row for row in layer_rows(project.collect()) if row.dataset == "scenes"]
    assert SUPERVISED in above_floor(project.numbers(), floors(rows))


def test_the_arrow_is_explained_only_where_a_layer_tells_whose_network_is_whose(
    make_project: Any,
) -> None:
    for probe in ("knn", "linear"):
        grid = {"probes": [probe], "transfers": [], "targets": ["digits"]}
        root = make_project(**grid).report(probe, {})
        for name in ("leaderboard.md", "index.html"):
            said = "↑: better than the untrained network" in (root / name).read_text()
            assert said == (probe == "linear")
        shutil.rmtree(root.parent / "metrics")


def test_the_terminal_names_the_tests_of_what_it_shows(project: Project, report: Path) -> None:
    made = [replace(n, test=f"test on {n.dataset} by {n.metric}") for n in project.numbers()]
    text = leaderboard_text(made)
    scenes, digits = text.split("\ndigits\n")
    assert "test on scenes by top1" in scenes
    assert "test on digits by top1" in digits
    assert "test on scenes" not in digits
    assert "mean_per_class" not in text


def test_layer_tables_name_their_metric(report: Path) -> None:
    assert "| simclr | linear | top1 % | " in (report / "leaderboard.md").read_text()
    page = (report / "index.html").read_text()
    assert page.count('<td class="text">top1 %</td>') >= 4
    assert "untrained backbone (random_init, random_init_vit) gives" in page


def test_an_interval_without_width_is_no_asymmetric_one() -> None:
    assert interval_text(0.05, 0.05 - 1e-17, 0.05, "fraction") == "± 0.0"
    gain = 0.80444444 - 0.74888889  # of two values as numbers.csv has them
    assert interval_text(gain, 0.055555556, 0.055555556, "fraction") == "± 0.0"
    assert interval_text(0.5, 0.4, 0.55, "fraction") == "[40.0, 55.0]"


@pytest.mark.parametrize(("low", "high"), [(98.69, 98.74), (123.0, 123.5), (0.0, 1.0)])
def test_ticks_have_texts_of_their_own(low: float, high: float) -> None:
    texts = [tick(value) for value in Scale(low, high, 0, 100).ticks(4)]
    assert len(set(texts)) == len(texts) > 2


def test_a_health_figure_of_null_counts_as_missing(project: Project) -> None:
    path = "metrics/scenes/pretrain/byol/seed0.json"
    history = json.loads((project.root / path).read_text())["history"]
    history[-1]["health"]["effective_rank"] = None
    project.edit(path, history=history)
    found = {row.method: row for row in health_rows(project.collect().pretraining)}
    assert found["byol"].means["effective_rank"] > 0


def test_an_arrow_points_down_where_lower_is_better(make_project: Any) -> None:
    made = make_project(probes=["pose"], transfers=[]).numbers()
    floor, identity = {"supervised": "random_init"}, "digits/supervised/pose/distance"
    assert above_floor(made, floor) == {identity, "scenes/supervised/pose/distance"}
    worse = [replace(n, value=99.0) if n.id == identity else n for n in made]
    assert above_floor(worse, floor) == {"scenes/supervised/pose/distance"}


BASELINES = ("random_init", "random_init_vit", "supervised")


def test_a_figure_that_only_describes_is_shown_in_its_unit_and_not_ranked(
    make_project: Any,
) -> None:
    project = make_project(probes=["labelfree", "knn"], transfers=[])
    report = project.report("report", {})
    found = {n.id: n for n in project.numbers()}
    rankme = found["digits/byol/labelfree/rankme"]
    assert (rankme.rank_group, rankme.test) == (None, "none, for no way is better")
    assert show_spread(rankme).startswith("± ")
    assert show(rankme.value, rankme.unit) == f"{rankme.value:.1f}"
    text = (report / "leaderboard.md").read_text()
    assert "| labelfree v1 rankme (dimensions, not ranked) |" in text
    assert "alpha" in (report / "index.html").read_text()
    knn = [n for n in found.values() if n.dataset == "digits" and n.protocol == "knn"]
    best = max((n for n in knn if n.method not in BASELINES), key=lambda n: n.value)
    table = leaderboard_text(read_csv(report / "numbers.csv")).split("digits\n")[1]
    assert table.splitlines()[3].split()[0] == best.method, "ordered by knn, which ranks"
    scores = block_scores(project.numbers())
    assert set(scores) == {"scenes", "digits"}
    lengths = {len(values) for columns in scores.values() for values in columns.values()}
    assert lengths == {3}, "knn, three seeds"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.00123, "0.00123"), (-1.5, "-1.50"), (92.04, "92.0"), (1234.0, "1234")],
)
def test_a_value_without_percent_has_about_three_digits(value: float, text: str) -> None:
    assert show(value, "px") == text


def test_results_of_samples_reach_the_test_and_the_page_says_so(make_project: Any) -> None:
    project = make_project(probes=["knn", "mlp"], transfers=[])
    report = project.report("report", {})
    said = "Rank groups: knn: made-up test over seeds; mlp: made-up test over seeds and samples."
    assert said in (report / "leaderboard.md").read_text()
    assert said in (report / "index.html").read_text()


def test_a_wide_board_is_cut_into_parts_with_the_same_methods(make_project: Any) -> None:
    names = ["knn", "linear", "mlp", "lowshot", "pose", "labelfree", "svm"]
    report = make_project(probes=names, transfers=[]).report("report", {})
    page = (report / "index.html").read_text()
    assert 'aria-label="Leaderboard on digits, part 2 of 2"' in page
    assert "part 1 of 3" not in page
    outline(report)
    rows = leaderboard_text(read_csv(report / "numbers.csv")).splitlines()
    tables = rows[: next(i for i, row in enumerate(rows) if row.startswith("Mean over"))]
    assert max(map(len, tables)) <= 80


def test_average_ranks_are_drawn_without_floor_and_ceiling(report: Path) -> None:
    page, picture = (report / "index.html").read_text(), report / "figures/critical_difference.svg"
    drawn = ET.parse(picture).getroot()
    texts = [node.text or "" for node in drawn.iter() if node.tag.endswith("text")]
    for method in ("simclr", "byol", "mae"):
        assert sum(method in text for text in texts) == 1
    assert not any(text.endswith(BASELINES) or text.startswith(BASELINES) for text in texts)
    assert "averaged over 18 blocks" in page
    assert "No test, so no bars: the blocks are of 2 data sets" in page
    assert "## Average ranks" in (report / "leaderboard.md").read_text()


def test_average_ranks_are_left_out_and_said_where_there_is_too_little(make_project: Any) -> None:
    report = make_project(methods=["random_init", "simclr", "byol"]).report("report", {})
    assert not (report / "figures/critical_difference.svg").exists()
    assert "Average ranks are left out" in (report / "index.html").read_text()
    assert "Average ranks are left out" in (report / "leaderboard.md").read_text()


def test_bars_join_what_is_not_told_apart() -> None:
    ranks = AverageRanks({"a": 1.2, "b": 1.8, "c": 3.0}, 9, 9, 0.01, [("a", "b")])
    panel = critical_difference_panel(ranks)
    assert panel.body.count('class="clique"') == 1
    assert panel.label == "Average ranks: a 1.20; b 1.80; c 3.00. Not told apart: a, b"
    alone = critical_difference_panel(replace(ranks, cliques=[]))
    assert "clique" not in alone.body
    assert alone.label.endswith("Not told apart: none")


def test_spread_stands_beside_its_number(make_project: Any) -> None:
    project = make_project(probes=["lowshot"], transfers=[])
    report = project.report("report", {})
    draws = [
        cell.record["measurements"][0]["detail"]["draws"]
        for cell in project.collect().cells
        if cell.path.startswith("metrics/digits/lowshot/byol/")
    ]
    expected = variance_components(draws)
    assert expected is not None
    line = next(
        text
        for text in (report / "leaderboard.md").read_text().splitlines()
        if text.startswith("| digits/byol/lowshot/top1 | 3 x 5 |")
    )
    assert line.endswith(f"| {100 * expected.rest:.1f} |")
    assert "Where the spread comes from" in (report / "index.html").read_text()
    one = make_project(probes=["lowshot"], transfers=[], seeds=[0])
    for path in (one.root / "metrics").rglob("seed[12].json"):
        path.unlink()
    assert "| n/a | n/a |" in (one.report("one", {}) / "leaderboard.md").read_text()
