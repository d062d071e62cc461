"""The leaderboard as Markdown and as plain text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from html import escape

from sslbench.reporting.health import FIGURES, HealthRow, alarm_text, figures_of
from sslbench.reporting.layers import LayerRow
from sslbench.reporting.tables import Number, is_baseline

NONE = "n/a"
LABELLED = "†"
ABOVE_FLOOR = "↑"
_UNITS = {"fraction": "%"}


def show(value: float | None, unit: str) -> str:
    """Return a value as read by people: percent with one decimal, or three digits."""
    if value is None:
        return NONE
    return f"{100 * value:.1f}" if unit == "fraction" else f"{value:.3g}"


def show_unit(unit: str) -> str:
    """Return a unit's sign."""
    return _UNITS.get(unit, unit)


def show_spread(number: Number) -> str:
    """Return `± half-width`, or `[low, high]` where the interval is not symmetric, or nothing."""
    if number.low is None or number.high is None:
        return ""
    left, right = number.value - number.low, number.high - number.value
    if abs(left - right) <= 1e-3 * max(abs(left), abs(right)):
        return f"± {show(right, number.unit)}"
    return f"[{show(number.low, number.unit)}, {show(number.high, number.unit)}]"


def datasets(numbers: Sequence[Number]) -> list[str]:
    """Return the datasets in the grid's order."""
    return list(dict.fromkeys(number.dataset for number in numbers))


def main_numbers(numbers: Sequence[Number], dataset: str) -> list[Number]:
    """Return the main number of each protocol on one dataset."""
    return [number for number in numbers if number.dataset == dataset and number.is_main]


def protocols(numbers: Sequence[Number]) -> list[str]:
    """Return the protocols in the grid's order."""
    return list(dict.fromkeys(number.protocol for number in numbers))


def ranked_methods(numbers: Sequence[Number]) -> list[str]:
    """Return the methods, best mean first under the first protocol, baselines last."""
    first = protocols(numbers)[0]
    values = {number.method: number.value for number in numbers if number.protocol == first}
    return sorted(values, key=lambda method: (is_baseline(method), -values[method]))


def saw_labels(number: Number) -> bool:
    """Return whether a method, baselines aside, was shown labels while it was pretrained."""
    return number.labels in ("some", "all") and not is_baseline(number.method)


def is_best(number: Number, numbers: Sequence[Number]) -> bool:
    """Return whether a method is in the best rank group of its column.

    Baselines and methods that saw labels are left aside. Where the test tells no two methods
    apart, all are in one group and none is best.
    """
    if not _competes(number) or number.rank_group is None:
        return False
    column = (n for n in numbers if (n.protocol, n.metric) == (number.protocol, number.metric))
    groups = {n.rank_group for n in column if _competes(n)} - {None}
    return len(groups) > 1 and number.rank_group == min(g for g in groups if g is not None)


def _competes(number: Number) -> bool:
    return not is_baseline(number.method) and not saw_labels(number)


def above_floor(numbers: Sequence[Number], layer_rows: Sequence[LayerRow]) -> frozenset[str]:
    """Return the ids of numbers whose interval lies above that of their untrained network."""
    found = {number.id: number for number in numbers}
    return frozenset(
        row.number_id
        for row in layer_rows
        if row.number_id in found and row.floor_id in found
        if (found[row.number_id].low or 0.0) > (found[row.floor_id].high or math.inf)
    )


def intervals(numbers: Sequence[Number]) -> str:
    """Return the names of the intervals in use, or nothing when they were not kept."""
    return "; ".join(dict.fromkeys(number.interval for number in numbers if number.interval))


def seeds_text(numbers: Sequence[Number]) -> str:
    """Return `1 seed`, `3 seeds`, or nothing to speak of as `0 seeds`."""
    count = len(numbers[0].seeds) if numbers else 0
    return "1 seed" if count == 1 else f"{count} seeds"


def group_text(number: Number) -> str:
    """Return `rank group 2`, or that there is none."""
    return "no rank group" if number.rank_group is None else f"rank group {number.rank_group}"


def heading(number: Number) -> str:
    """Return a column's heading: protocol, metric, unit."""
    return f"{number.protocol} {number.metric} ({show_unit(number.unit)})"


def markdown(
    numbers: Sequence[Number], layer_rows: Sequence[LayerRow], health_rows: Sequence[HealthRow]
) -> str:
    """Return leaderboard.md: tables of protocols and layers for each dataset, and of health."""
    parts = ["# Leaderboard", ""]
    for dataset in datasets(numbers):
        main = main_numbers(numbers, dataset)
        rows = [row for row in layer_rows if row.dataset == dataset]
        table = _md_table(main, above_floor(main, rows))
        parts += [f"## {_md(dataset)}", "", *table, "", legend(main), ""]
        parts += _md_layers(rows) if rows else []
    parts += _md_health(health_rows) if figures_of(health_rows) else []
    parts += ["Each number with its ancestry: index.html. From a shell: `sslbench trace ID`."]
    return "\n".join(parts) + "\n"


def _md(text: str) -> str:
    return escape(text, quote=False).replace("|", "\\|")


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _md_rule(columns: int) -> str:
    return "|---|" + "---:|" * (columns - 1)


def _md_table(main: Sequence[Number], above: Collection[str]) -> list[str]:
    cells = {(number.method, number.protocol): number for number in main}
    columns = protocols(main)
    heads = [_md(heading(next(n for n in main if n.protocol == name))) for name in columns]
    lines = [_md_row(["method", *heads]), _md_rule(len(heads) + 1)]
    for method in ranked_methods(main):
        numbers = [cells[method, protocol] for protocol in columns]
        name = _md_method(method) + label_mark(numbers[0])
        lines.append(_md_row([name, *(_md_cell(number, main, above) for number in numbers)]))
    return lines


def _md_cell(number: Number, main: Sequence[Number], above: Collection[str]) -> str:
    text = f"{show(number.value, number.unit)} {show_spread(number)}".strip()
    text = f"**{text}**" if is_best(number, main) else text
    return f"{text} {ABOVE_FLOOR}" if number.id in above else text


def legend(main: Sequence[Number]) -> str:
    """Return what the marks of the Markdown table say."""
    return (
        f"Mean over {seeds_text(main)}; interval: {intervals(main) or 'none'}. "
        "Bold: the best rank group, its leader and all that the test does not tell from it; none "
        "where the test tells no method from another. "
        f"{ABOVE_FLOOR}: the interval lies above that of the untrained network with these layers. "
        "Italic: floor and ceiling, for reading the others." + label_legend(main)
    )


def label_mark(number: Number) -> str:
    """Return the mark of a method that saw labels, or nothing."""
    return f" {LABELLED}" if saw_labels(number) else ""


def label_legend(numbers: Sequence[Number]) -> str:
    """Return what the mark of labels says, where a method bears it."""
    is_marked = any(map(saw_labels, numbers))
    return f" {LABELLED}: pretraining saw labels, so it is not ranked." if is_marked else ""


def _md_layers(rows: Sequence[LayerRow]) -> list[str]:
    lines = [
        "### Layer by layer",
        "",
        _md_row(["method", "protocol", "layer", "value", "floor", "last layer", "value", "floor"]),
        _md_rule(8),
    ]
    for row in rows:
        chosen = [row.layer, show(row.value, row.unit), show(row.floor_value, row.unit)]
        last = [row.last, *(show(value, row.unit) for value in row.at_last)]
        lines.append(_md_row([_md(text) for text in (row.method, row.protocol, *chosen, *last)]))
    floors = ", ".join(dict.fromkeys(row.floor for row in rows if row.floor)) or NONE
    note = f"In {show_unit(rows[0].unit)}; floor: {_md(floors)} at the same layer."
    return [*lines, "", note, ""]


def _md_health(rows: Sequence[HealthRow]) -> list[str]:
    names = figures_of(rows)
    lines = [_md_row(["method", *(FIGURES[name] for name in names)]), _md_rule(len(names) + 1)]
    lines += [_md_row([_md_method(row.method), *map(row.show, names)]) for row in rows]
    note = f"Of pretraining, mean over seeds at the last epoch. {alarm_text(names)}"
    return ["## Health against collapse", "", *lines, "", note, ""]


def _md_method(method: str) -> str:
    return f"*{_md(method)}*" if is_baseline(method) else _md(method)


def leaderboard_text(numbers: Sequence[Number]) -> str:
    """Return the leaderboard for a terminal, one aligned table for each dataset."""
    parts = []
    for dataset in datasets(numbers):
        main = main_numbers(numbers, dataset)
        parts.append(f"{dataset}\n" + _aligned(_text_rows(main)))
    return "\n\n".join([*parts, _text_legend(numbers)]) + "\n"


def _text_rows(main: Sequence[Number]) -> list[list[str]]:
    cells = {(number.method, number.protocol): number for number in main}
    columns = protocols(main)
    heads = [f"{heading(next(n for n in main if n.protocol == name))}  " for name in columns]
    rows = [["method", *heads]]
    for method in ranked_methods(main):
        numbers = [cells[method, protocol] for protocol in columns]
        name = method + label_mark(numbers[0])
        rows.append([name, *(_text_cell(number, main) for number in numbers)])
    return rows


def _text_cell(number: Number, main: Sequence[Number]) -> str:
    mark = " *" if is_best(number, main) else "  "
    return f"{show(number.value, number.unit)} {show_spread(number)}".strip() + mark


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join([f"{row[0]:<{widths[0]}}", *cells]).rstrip())
    rule = "  " + "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([lines[0], rule, *lines[1:]])


def _text_legend(numbers: Sequence[Number]) -> str:
    return (
        f"Mean over {seeds_text(numbers)} with its interval.  * best rank group, baselines aside "
        f"(none: not told apart).{label_legend(numbers)}\n"
        "Why a number is what it is: sslbench trace DATASET/METHOD/PROTOCOL/METRIC"
    )
