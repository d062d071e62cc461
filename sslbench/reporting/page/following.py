"""The part of the page about single epochs of one dataset."""

from __future__ import annotations

from collections.abc import Sequence

from sslbench.reporting.epochs import HEADS, NOTE, EpochRow
from sslbench.reporting.figures import epoch_panels
from sslbench.reporting.leaderboard import show_unit
from sslbench.reporting.markup import Markup, anchor, breakable, element
from sslbench.reporting.page.boards import figure, scrolling


def epochs_part(name: str, rows: Sequence[EpochRow]) -> list[Markup]:
    """Return the table and the curves of one dataset's rows; nothing without any."""
    if not rows:
        return []
    heads = (
        element("th", column, scope="col", class_="text" if column in HEADS[1:3] else None)
        for column in HEADS
    )
    table = element(
        "table",
        element("caption", element("span", NOTE)),
        element("thead", element("tr", *heads)),
        element("tbody", *map(_row, rows)),
    )
    note = "On the test split by epochs of pretraining: mean, lowest and highest over seeds."
    panels = epoch_panels(rows)
    return [
        element("h3", "Epoch by epoch"),
        scrolling(table, f"Epoch by epoch on {name}"),
        *([figure(panels, "layers", note)] if panels else []),
    ]


def _row(row: EpochRow) -> Markup:
    last, *others = row.shown()
    return element(
        "tr",
        element("th", breakable(row.method), scope="row"),
        element("td", row.protocol, class_="text"),
        element("td", f"{row.metric} {show_unit(row.unit)}".strip(), class_="text"),
        element("td", element("a", last, href=f"#{anchor(row.number_id)}")),
        *(element("td", text) for text in others),
    )
