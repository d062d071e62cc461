"""What every form of the leaderboard shares: order, marks, words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sslbench.reporting.tables import Number, competes, is_baseline

NONE = "n/a"
LABELLED = "†"
ABOVE_FLOOR = "↑"
# Of values in numbers.csv. Rounded to them first, a half is shown alike before and after the file.
DIGITS = 8
_UNITS = {"fraction": "%"}


def show(value: float | None, unit: str, *, like: float | None = None) -> str:
    """Return a value as read by people: percent with one decimal, else about three digits.

    Args:
        value: the value, in its unit.
        unit: such as `fraction`.
        like: a value whose decimals to take; the value's own without.
    """
    if value is None:
        return NONE
    value = float(f"{value:.{DIGITS}g}")
    if unit == "fraction":
        return f"{100 * value:.1f}"
    return f"{value:.{_decimals(value if like is None else like)}f}"


def _decimals(value: float) -> int:
    return min(6, max(0, 2 - math.floor(math.log10(abs(value))))) if value else 2


def show_unit(unit: str) -> str:
    """Return a unit's sign."""
    return _UNITS.get(unit, unit)


def metric_text(metric: str, unit: str) -> str:
    """Return a metric with its unit, as cells of tables have it."""
    return f"{metric} {show_unit(unit)}".rstrip()


def show_spread(number: Number) -> str:
    """Return the spread of a number, as `interval_text` has it."""
    return interval_text(number.value, number.low, number.high, number.unit)


def interval_text(value: float, low: float | None, high: float | None, unit: str) -> str:
    """Return `± half-width`, or `[low, high]` where the interval is not symmetric, or nothing."""
    if low is None or high is None:
        return ""

    def text(end: float) -> str:
        return show(end, unit, like=value)

    left, right = value - low, high - value
    rounded = 10 ** (1 - DIGITS) * (1.0 if unit == "fraction" else max(abs(low), abs(high)))
    if abs(left - right) <= max(1e-3 * max(abs(left), abs(right)), rounded):
        return f"± {text(right)}"
    return f"[{text(low)}, {text(high)}]"


def datasets(numbers: Sequence[Number]) -> list[str]:
    """Return the datasets in the grid's order."""
    return list(dict.fromkeys(number.dataset for number in numbers))


def main_numbers(numbers: Sequence[Number], dataset: str) -> list[Number]:
    """Return the main number of each protocol on one dataset."""
    return [number for number in numbers if number.dataset == dataset and number.is_main]


def protocols(numbers: Sequence[Number]) -> list[str]:
    """Return the protocols in the grid's order."""
    return list(dict.fromkeys(number.protocol for number in numbers))


def goodness(number: Number) -> float:
    """Return what is larger for a better number; the value itself where no way is better."""
    return -number.value if number.better == "lower" else number.value


def ranked_methods(numbers: Sequence[Number]) -> list[str]:
    """Return the methods, best first under the first protocol that ranks, baselines last."""
    ranking = [number for number in numbers if number.better != "neither"] or numbers
    first = protocols(ranking)[0]
    values = {number.method: goodness(number) for number in numbers if number.protocol == first}
    return sorted(values, key=lambda method: (is_baseline(method), -values[method]))


def saw_labels(number: Number) -> bool:
    """Return whether a method, baselines aside, was shown labels while it was pretrained."""
    return not is_baseline(number.method) and not competes(number.method, number.labels)


def is_best(number: Number, numbers: Sequence[Number]) -> bool:
    """Return whether a method is in the first of several rank groups of its column.

    Baselines and methods that saw labels have no group. Where the test tells no two methods apart,
    all are in one group and none is best.
    """
    column = (number.dataset, number.protocol, number.metric)
    groups = {n.rank_group for n in numbers if (n.dataset, n.protocol, n.metric) == column}
    return number.rank_group == 1 and len(groups - {None}) > 1


def above_floor(numbers: Sequence[Number], floors: Mapping[str, str]) -> frozenset[str]:
    """Return the ids of numbers better than their untrained network's, and told from it.

    Args:
        numbers: of one or more datasets.
        floors: the untrained network of each method, from `layers.floors`.
    """
    found = {number.id: number for number in numbers}
    above = set()
    for number in numbers:
        name = floors.get(number.method, "")
        floor = found.get(replace(number, method=name).id)
        if floor is None or name not in number.told_from or number.better == "neither":
            continue
        if goodness(number) > goodness(floor):
            above.add(number.id)
    return frozenset(above)


def intervals(numbers: Sequence[Number]) -> str:
    """Return the intervals in use, each with its protocols where there are several."""
    return _by_protocol([(number.protocol, number.interval) for number in numbers])


def _by_protocol(pairs: Sequence[tuple[str, str]]) -> str:
    """Return `text`, or `knn, linear: text; mlp: text` where protocols differ."""
    found: dict[str, list[str]] = {}
    for protocol, text in pairs:
        names = found.setdefault(text, [])
        names += [protocol] if protocol not in names else []
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in found.items())


def seeds_text(numbers: Sequence[Number]) -> str:
    """Return `1 seed`, `3 seeds`, or nothing to speak of as `0 seeds`."""
    count = len(numbers[0].seeds) if numbers else 0
    return "1 seed" if count == 1 else f"{count} seeds"


def group_text(number: Number) -> str:
    """Return `rank group 2`, or that there is none."""
    return "no rank group" if number.rank_group is None else f"rank group {number.rank_group}"


def headings(number: Number) -> tuple[str, str]:
    """Return a column's two heads: protocol with version; metric, unit, way if not upwards."""
    words = [word for word in (show_unit(number.unit), way_text(number)) if word]
    inside = f" ({', '.join(words)})" if words else ""
    return f"{number.protocol} v{number.version}", f"{number.metric}{inside}"


def heading(number: Number) -> str:
    """Return both heads of a column in one line."""
    return " ".join(headings(number))


def way_text(number: Number) -> str:
    """Return which way is better where it is not the higher one, or nothing."""
    ways = {"higher": "", "lower": "lower is better", "neither": "not ranked"}
    return ways[number.better]


def tests_text(numbers: Sequence[Number]) -> str:
    """Return what the rank groups of each protocol stand on."""
    return f"Rank groups: {_by_protocol([(n.protocol, n.test) for n in numbers])}."


def legend(main: Sequence[Number], floors: Mapping[str, str]) -> str:
    """Return what the marks of the Markdown table say."""
    return (
        f"Mean over {seeds_text(main)}; interval: {intervals(main) or 'none'}. "
        "Bold: the best rank group, its leader and those after it down to the first that the test "
        f"tells from it; none where the test tells no method from another. {tests_text(main)}"
        f"{floor_legend(floors)} Italic: floor and ceiling, for reading the others."
        + label_legend(main)
    )


def floor_legend(floors: Mapping[str, str]) -> str:
    """Return what the arrow says; nothing where no layer tells which untrained network is whose."""
    if not floors:
        return ""
    return (
        f" {ABOVE_FLOOR}: better than the untrained network with these layers, by the same test "
        "with Holm's correction over the methods of the column."
    )


def label_mark(number: Number) -> str:
    """Return the mark of a method that saw labels, or nothing."""
    return f" {LABELLED}" if saw_labels(number) else ""


def label_legend(numbers: Sequence[Number]) -> str:
    """Return what the mark of labels says, where a method bears it."""
    is_marked = any(map(saw_labels, numbers))
    return f" {LABELLED}: pretraining saw labels, so it is not ranked." if is_marked else ""
