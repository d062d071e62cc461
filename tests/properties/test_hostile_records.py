"""A record with any one fault: a report without anything of it but numbers and names, or a line."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslbench.reporting.collect import expected_cells
from tests.properties.hostile import ANYTHING, accepted, mutated
from tests.unit.reporting import conftest as invented

GRID = invented.grid_of(
    methods=["random_init", "byol"], seeds=[0, 1], targets=["digits"],
    probes=["linear", "mlp", "lowshot"], transfers=[],
)  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return invented.Project(tmp_path_factory.mktemp("records"), GRID).write()


class _Page(HTMLParser):
    """What a browser would run or fetch in a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        addresses = [value for name, value in attrs if name in ("href", "src")]
        outside = [
            a for a in addresses if not re.match(r"#|(numbers|layers)\.csv$|leaderboard\.md$", a)
        ]
        handlers = [name for name, _ in attrs if name.startswith("on")]
        if (
            tag in ("iframe", "img", "object", "embed", "link", "base", "form")
            or outside
            or handlers
        ):
            self.found.append((tag, attrs))


def check(folder):
    page = _Page()
    text = (folder / "index.html").read_text()
    page.feed(text)
    assert page.found == []
    assert text.count("<script") == 1
    tables = [folder / "numbers.csv", folder / "layers.csv"]
    rows = [row for path in tables for row in csv.reader(io.StringIO(path.read_text()))]
    cells = [cell for row in rows for cell in row if cell]
    numbers = [cell for cell in cells if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell)]
    assert not [c for c in cells if c not in numbers and c.startswith(("=", "+", "-", "@", "\t"))]


def test_a_sound_report_is_made(project):
    check(project.report("sound", {}))


def test_a_sample_of_no_metric_is_one_line(project):
    """Found by the deep profile: a list is no key."""
    (path,) = (project.root / c.path for c in expected_cells(GRID) if "mlp/byol/seed0" in c.path)
    sound = path.read_text()
    record = json.loads(sound)
    path.write_text(json.dumps({**record, "per_sample": {**record["per_sample"], "metric": []}}))
    assert accepted(project.report, "out", {}) is None
    path.write_text(sound)


@given(st.data())
def test_a_report_of_a_record_with_one_fault(project, data):
    cell = data.draw(st.sampled_from([c for c in expected_cells(GRID) if c.method]))
    path = project.root / cell.path
    sound = path.read_text()
    record = json.loads(sound)
    record["history"] = record.get("history", [])[-2:] or record.pop("history", None)
    record = {key: value for key, value in record.items() if value is not None or key != "history"}
    try:
        path.write_text(json.dumps(data.draw(mutated(record) | ANYTHING)))
        made = accepted(project.report, "out", {})
        if made is not None:
            check(made)
    finally:
        path.write_text(sound)
