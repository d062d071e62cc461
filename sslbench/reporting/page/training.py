"""The part of the page about pretraining: what guards against collapse, and curves."""

from __future__ import annotations

from collections.abc import Sequence

from sslbench.reporting.collect import Collected
from sslbench.reporting.figures import QUANTITIES, curve_panels
from sslbench.reporting.health import (
    FIGURES,
    MEANINGS,
    HealthRow,
    alarm_text,
    figures_of,
    health_rows,
)
from sslbench.reporting.markup import Markup, breakable, element
from sslbench.reporting.page.boards import scrolling
from sslbench.reporting.plot import Panel
from sslbench.reporting.tables import is_baseline


def training_section(collected: Collected) -> Markup:
    """Return the section about pretraining: the health table, then every method's curves."""
    rows = health_rows(collected.pretraining)
    return element(
        "section",
        element("h2", "Training"),
        *(_health(rows) if figures_of(rows) else ()),
        *_curves(collected),
        class_="part",
        id="training",
    )


def _health(rows: Sequence[HealthRow]) -> list[Markup]:
    names = figures_of(rows)
    heads = (element("th", FIGURES[name], scope="col") for name in names)
    bodies = [
        ([row for row in rows if not is_baseline(row.method)], None),
        ([row for row in rows if is_baseline(row.method)], "base"),
    ]
    caption = (
        f"Mean over seeds at the last epoch. {alarm_text(names)} "
        "A dash: no prototypes, no teacher, or no training."
    )
    table = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", element("tr", element("th", "method", scope="col"), *heads)),
        *(_health_body(group, names, kind) for group, kind in bodies if group),
        class_="sortable",
    )
    pairs = (
        element("div", element("dt", FIGURES[name]), element("dd", MEANINGS[name]))
        for name in names
    )
    return [
        element("h3", "Health against collapse"),
        scrolling(table, "Health against collapse"),
        element("dl", *pairs, class_="guide", aria_label="What the health figures mean"),
    ]


def _health_body(rows: Sequence[HealthRow], names: Sequence[str], kind: str | None) -> Markup:
    lines = (
        element(
            "tr",
            element("th", breakable(row.method), scope="row"),
            *(_health_cell(row, name) for name in names),
        )
        for row in rows
    )
    return element("tbody", *lines, class_=kind)


def _health_cell(row: HealthRow, name: str) -> Markup:
    value = repr(row.means[name]) if name in row.means else "-Infinity"  # sorts last
    kind = "alarm" if name in row.alarms else None
    return element("td", row.show(name), class_=kind, data_value=value)


def _curves(collected: Collected) -> list[Markup]:
    panels = {name: curve_panels(collected.pretraining, name) for name in QUANTITIES}
    methods = [m for m in collected.grid["methods"] if any(m in group for group in panels.values())]
    cards = (_card([group[m] for group in panels.values() if m in group]) for m in methods)
    caption = (
        "Line: mean over seeds; band: from the lowest seed to the highest. Losses of different "
        "methods do not compare. A feature std, an effective rank or a prototype entropy that "
        "falls towards its least is a collapse; a health figure has one scale over all methods."
    )
    return [
        element("h3", "Curves"),
        element("p", caption, class_="muted"),
        element("div", *cards, class_="panels curves"),
    ]


def _card(panels: Sequence[Panel]) -> Markup:
    return element("div", *(panel.inline() for panel in panels))
