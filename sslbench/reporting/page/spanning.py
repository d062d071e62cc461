"""The part of the page about what spans columns: average ranks, and where spread comes from."""

from __future__ import annotations

from collections.abc import Sequence

from sslbench.reporting.across import NO_RANKS, Across, SpreadRow, ranks_text, spread_text
from sslbench.reporting.critical_difference import critical_difference_panel
from sslbench.reporting.inference import AverageRanks
from sslbench.reporting.leaderboard import show_unit
from sslbench.reporting.markup import Markup, anchor, breakable, element
from sslbench.reporting.page.boards import figure, scrolling


def spanning_section(across: Across) -> Markup:
    """Return the section with the picture of average ranks and the table of spread."""
    return element(
        "section",
        element("h2", "Across columns"),
        element("h3", "Average ranks"),
        _ranks(across.ranks),
        *(_spread(across.spread) if across.spread else ()),
        class_="part",
        id="across",
    )


def _ranks(ranks: AverageRanks | None) -> Markup:
    if ranks is None:
        return element("p", NO_RANKS, class_="muted")
    return figure([critical_difference_panel(ranks)], "ranks", ranks_text(ranks))


def _spread(rows: Sequence[SpreadRow]) -> list[Markup]:
    texts = ("dataset", "method", "protocol", "metric", "unit")
    columns = (*texts, "seeds", "draws", "std between seeds", "std between draws", "std of rest")
    heads = (
        element("th", column, scope="col", class_="text" if column in texts else None)
        for column in columns
    )
    table = element(
        "table",
        element("caption", element("span", spread_text(rows))),
        element("thead", element("tr", *heads)),
        element("tbody", *map(_row, rows)),
    )
    return [
        element("h3", "Where the spread comes from"),
        scrolling(table, "Where the spread comes from"),
    ]


def _row(row: SpreadRow) -> Markup:
    link = element("a", breakable(row.method), href=f"#{anchor(row.number_id)}")
    return element(
        "tr",
        element("th", row.dataset, scope="row"),
        element("td", link, class_="text"),
        *(element("td", t, class_="text") for t in (row.protocol, row.metric, show_unit(row.unit))),
        *(element("td", text) for text in (str(row.num_seeds), str(row.num_draws), *row.shown())),
    )
