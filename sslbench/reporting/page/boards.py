"""The part of the page about one dataset: leaderboard, forest plots, all metrics, layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sslbench.reporting.figures import forest_panels, layer_panels
from sslbench.reporting.layers import LayerRow, floors
from sslbench.reporting.leaderboard import (
    ABOVE_FLOOR,
    NONE,
    above_floor,
    floor_legend,
    goodness,
    group_text,
    intervals,
    is_best,
    label_legend,
    label_mark,
    main_numbers,
    metric_text,
    protocols,
    ranked_methods,
    seeds_text,
    show,
    show_spread,
    show_unit,
    tests_text,
    way_text,
)
from sslbench.reporting.markup import Markup, anchor, breakable, element, join
from sslbench.reporting.plot import Panel
from sslbench.reporting.tables import Number, is_baseline
from sslbench.reporting.twins import NOTE, TwinRow


def dataset_section(
    name: str,
    numbers: Sequence[Number],
    rows: Sequence[LayerRow],
    twin_rows: Sequence[TwinRow],
    further: Sequence[Markup],
) -> Markup:
    """Return the section about one dataset; `further` comes last."""
    main = main_numbers(numbers, name)
    here = [row for row in rows if row.dataset == name]
    beside = [row for row in twin_rows if row.number.dataset == name]
    forest = (
        "Each method with its interval, best first. Filled: the best rank group; amber: floor and "
        "ceiling; dashed: what random_init reaches."
    )
    return element(
        "section",
        element("h2", "Results on ", element("code", name)),
        *_boards(name, main, floors(rows)),
        figure(forest_panels(numbers, name), "forest", forest),
        _all_metrics(name, [number for number in numbers if number.dataset == name]),
        *(_layers(name, here) if here else ()),
        *(_twins(name, beside) if beside else ()),
        *further,
        class_="part",
        id=anchor(f"dataset/{name}"),
    )


def scrolling(table: Markup, label: str) -> Markup:
    """Return a table in a frame that scrolls sideways, by keyboard too."""
    return element("div", table, class_="wide", role="region", aria_label=label, tabindex="0")


def value_cell(number: Number, *, is_bold: bool = False, is_above: bool = False) -> Markup:
    """Return a table cell with a number, its spread, marks, and the link to its provenance."""
    parts = [element("span", show(number.value, number.unit), class_="mean")]
    if spread := show_spread(number):
        parts += [Markup(" "), element("span", spread, class_="spread")]
    if is_above:
        parts += [Markup(" "), element("span", ABOVE_FLOOR, class_="spread")]
    link = element(
        "a",
        *parts,
        href=f"#{anchor(number.id)}",
        title=f"{group_text(number)}; provenance of {number.id}",
    )
    kind = "best" if is_bold else None
    return element("td", link, class_=kind, data_value=repr(goodness(number)))


_WIDEST = 6  # columns that a screen shows without scrolling


def _boards(name: str, main: Sequence[Number], untrained: Mapping[str, str]) -> list[Markup]:
    """Return as many leaderboards as it takes, the same methods in the same order in each."""
    ranked, columns, above = ranked_methods(main), protocols(main), above_floor(main, untrained)
    count = -(-len(columns) // _WIDEST)
    parts = [
        columns[len(columns) * i // count : len(columns) * (i + 1) // count] for i in range(count)
    ]
    boards = []
    for index, part in enumerate(parts, 1):
        place = f"Leaderboard on {name}" + (f", part {index} of {count}" if count > 1 else "")
        caption = _board_caption(name, main, untrained) if index == count else f"{place}."
        shown = [number for number in main if number.protocol in part]
        boards.append(scrolling(_board(ranked, shown, above, caption), place))
    return boards


def _board_caption(name: str, main: Sequence[Number], untrained: Mapping[str, str]) -> str:
    return (
        f"Mean over {seeds_text(main)} on the test split of {name}; interval: "
        f"{intervals(main) or 'none'}. Bold: best rank group of the column. {tests_text(main)} "
        f"Amber: floor and ceiling.{floor_legend(untrained)}{label_legend(main)}"
    )


def _board(
    ranked: Sequence[str], shown: Sequence[Number], above: Collection[str], caption: str
) -> Markup:
    bodies = [
        ([method for method in ranked if not is_baseline(method)], None),
        ([method for method in ranked if is_baseline(method)], "base"),
    ]
    return element(
        "table",
        element("caption", element("span", caption)),
        _board_head(shown),
        *(_board_body(methods, shown, above, kind) for methods, kind in bodies if methods),
        class_="board sortable",
    )


def _board_head(main: Sequence[Number]) -> Markup:
    heads = [element("th", "method", scope="col")]
    for protocol in protocols(main):
        number = next(n for n in main if n.protocol == protocol)
        words = [number.metric, show_unit(number.unit), way_text(number)]
        small = element("small", ", ".join(word for word in words if word))
        version = element("span", f" v{number.version}", class_="muted")
        heads.append(element("th", protocol, version, small, scope="col"))
    return element("thead", element("tr", *heads))


def _board_body(
    methods: Sequence[str], main: Sequence[Number], above: Collection[str], kind: str | None
) -> Markup:
    found = {(number.method, number.protocol): number for number in main}
    rows = []
    for method in methods:
        numbers = [found[method, protocol] for protocol in protocols(main)]
        cells = (
            value_cell(number, is_bold=is_best(number, main), is_above=number.id in above)
            for number in numbers
        )
        name = join(breakable(method), label_mark(numbers[0]))
        rows.append(element("tr", element("th", name, scope="row"), *cells))
    return element("tbody", *rows, class_=kind)


def _all_metrics(name: str, numbers: Sequence[Number]) -> Markup:
    columns = ("method", "protocol", "metric", "value", "unit", "rank group", "reference")
    texts = ("protocol", "metric", "unit", "reference")
    heads = (
        element("th", column, scope="col", class_="text" if column in texts else None)
        for column in columns
    )
    table = element(
        "table",
        element("caption", element("span", f"Every metric on {name}, in the order of the grid.")),
        element("thead", element("tr", *heads)),
        element("tbody", *map(_metric_row, numbers)),
    )
    title = element("summary", f"Every metric on {name}: {len(numbers)} numbers")
    return element("details", title, scrolling(table, f"Every metric on {name}"))


def _metric_row(number: Number) -> Markup:
    reference = ""
    if number.reference is not None:
        reference = f"{show(number.reference, number.unit)} ({number.reference_source})"
    return element(
        "tr",
        element("th", breakable(number.method), scope="row"),
        element("td", f"{number.protocol} v{number.version}", class_="text"),
        element("td", number.metric, class_="text"),
        value_cell(number),
        element("td", show_unit(number.unit), class_="text"),
        element("td", "" if number.rank_group is None else str(number.rank_group)),
        element("td", reference, class_="text wrap"),
    )


def _layers(name: str, rows: Sequence[LayerRow]) -> list[Markup]:
    columns = (
        *("method", "protocol", "metric", "layer", "value", "untrained", "gain"),
        *("last layer", "untrained", "best on test"),
    )
    heads = (
        element("th", column, scope="col", class_="text" if column in columns[1:4] else None)
        for column in columns
    )
    untrained = ", ".join(dict.fromkeys(row.floor for row in rows if row.floor)) or NONE
    caption = (
        "The layer that the protocol chose for each method, and what the untrained backbone "
        f"({untrained}) gives at that same layer: the gain is what pretraining added. The last "
        "layer, again beside the untrained backbone, is the pooled feature that tables elsewhere "
        "report. Best on test is what choosing the layer on test would have given: the effect of "
        "selection, never a result."
    )
    table = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", element("tr", *heads)),
        element("tbody", *map(_layer_row, rows)),
    )
    note = "Bars: each layer, the chosen one filled; amber line: the untrained backbone there."
    return [
        element("h3", "Layer by layer"),
        scrolling(table, f"Layers on {name}"),
        figure(layer_panels(rows), "layers", note),
    ]


def _layer_row(row: LayerRow) -> Markup:
    gain = None if row.floor_value is None else row.value - row.floor_value
    sign = "+" if gain is not None and gain >= 0 else ""
    floor = element("span", show(row.floor_value, row.unit), title=row.floor or None)
    value = element("a", show(row.value, row.unit), href=f"#{anchor(row.number_id)}")
    return element(
        "tr",
        element("th", breakable(row.method), scope="row"),
        element("td", row.protocol, class_="text"),
        element("td", metric_text(row.metric, row.unit), class_="text"),
        element("td", row.layer, class_="text"),
        element("td", value),
        element("td", floor),
        element("td", f"{sign}{show(gain, row.unit)}"),
        *(element("td", show(value, row.unit)) for value in (*row.at_last, row.peeked)),
    )


def _twins(name: str, rows: Sequence[TwinRow]) -> list[Markup]:
    columns = ("method", "protocol", "metric", "unit", "value", "random weights", "gain")
    heads = (
        element("th", column, scope="col", class_="text" if column in columns[1:4] else None)
        for column in columns
    )
    table = element(
        "table",
        element("caption", element("span", NOTE)),
        element("thead", element("tr", *heads)),
        element("tbody", *map(_twin_row, rows)),
    )
    label = f"Beside random weights on {name}"
    return [element("h3", "Beside random weights"), scrolling(table, label)]


def _twin_row(row: TwinRow) -> Markup:
    number = row.number
    value, twin, gain = row.shown()
    texts = (number.protocol, number.metric, show_unit(number.unit))
    return element(
        "tr",
        element("th", breakable(number.method), scope="row"),
        *(element("td", text, class_="text") for text in texts),
        element("td", element("a", value, href=f"#{anchor(number.id)}")),
        element("td", twin),
        element("td", gain),
    )


def figure(panels: Sequence[Panel], kind: str, caption: str) -> Markup:
    """Return drawings side by side with a caption; `kind` is the style of their frame."""
    cards = (element("div", panel.inline()) for panel in panels)
    return element(
        "figure",
        element("div", *cards, class_=f"panels {kind}"),
        element("figcaption", join(caption)),
    )
