"""The figures: training and health curves, forest plots, layers. Each is a list of panels.

A panel goes into the page as it is, and together with its fellows into one file under figures/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sslbench.reporting.across import Across
from sslbench.reporting.collect import CellRecord, by_method
from sslbench.reporting.critical_difference import critical_difference_panel
from sslbench.reporting.epochs import EpochRow
from sslbench.reporting.health import FIGURES
from sslbench.reporting.layers import LayerRow
from sslbench.reporting.leaderboard import (
    datasets,
    goodness,
    heading,
    is_best,
    main_numbers,
    protocols,
    show,
    show_spread,
    show_unit,
)
from sslbench.reporting.markup import Markup, element, join
from sslbench.reporting.plot import (
    Panel,
    Scale,
    label,
    line,
    path,
    rows_of_ticks,
    sheet,
    span,
    tick,
)
from sslbench.reporting.tables import Number, is_baseline, mean

QUANTITIES: Mapping[str, str] = {"loss": "loss", **FIGURES}
# (epoch, mean, lowest, highest over seeds)
Curve = list[tuple[int, float, float, float]]


def figures(
    numbers: Sequence[Number],
    rows: Sequence[LayerRow],
    pretraining: Sequence[CellRecord],
    across: Across,
    epoch_rows: Sequence[EpochRow],
) -> dict[str, str]:
    """Return the text of each file under figures/, by its name."""
    made: dict[str, str] = {}
    for name, text in QUANTITIES.items():
        file = f"health_{name}" if name in FIGURES else f"training_{name}"
        panels = list(curve_panels(pretraining, name).values())
        _add(made, file, panels, 3, f"Pretraining: {text}, range over seeds")
    for dataset in datasets(numbers):
        _add(made, f"forest_{dataset}", forest_panels(numbers, dataset), 2, f"Results on {dataset}")
        panels = layer_panels([row for row in rows if row.dataset == dataset])
        _add(made, f"layers_{dataset}", panels, 4, f"Layer by layer on {dataset}")
        panels = epoch_panels([row for row in epoch_rows if row.dataset == dataset])
        _add(made, f"epochs_{dataset}", panels, 3, f"Epoch by epoch on {dataset}")
    ranks = [critical_difference_panel(across.ranks)] if across.ranks else []
    _add(made, "critical_difference", ranks, 1, "Average ranks over all columns and seeds")
    return made


def _add(
    made: dict[str, str], name: str, panels: Sequence[Panel], columns: int, title: str
) -> None:
    if panels:
        made[f"{name}.svg"] = sheet(panels, min(columns, len(panels)), title)


def curve_panels(pretraining: Sequence[CellRecord], quantity: str) -> dict[str, Panel]:
    """Return one panel for each method that recorded a quantity over epochs.

    Losses of different methods do not compare, so each has its own range; the health quantities
    share one range that starts at 0.
    """
    curves = {method: _curve(cells, quantity) for method, cells in by_method(pretraining).items()}
    curves = {method: curve for method, curve in curves.items() if curve}
    shared = None if quantity == "loss" else span(_extent(curves.values()), floor=0.0)
    return {
        method: _curve_panel(method, curve, QUANTITIES[quantity], shared or span(_extent([curve])))
        for method, curve in curves.items()
    }


def epoch_panels(rows: Sequence[EpochRow]) -> list[Panel]:
    """Return one panel for each method that was followed through training, all of one range."""
    curves = [(row, _points(row.by_epoch, row.unit)) for row in rows if row.by_epoch]
    extent = span(_extent([curve for _, curve in curves]), floor=0.0)
    return [
        _curve_panel(row.method, curve, f"{row.metric} ({show_unit(row.unit)})", extent, ticks=6)
        for row, curve in curves
    ]


def _points(by_epoch: Mapping[int, Sequence[float]], unit: str) -> Curve:
    scale = 100 if unit == "fraction" else 1
    return [
        (epoch, scale * mean(values), scale * min(values), scale * max(values))
        for epoch, values in sorted(by_epoch.items())
    ]


def _extent(curves: Any) -> list[float]:
    return [value for curve in curves for point in curve for value in point[1:]]


def _curve(cells: Sequence[CellRecord], quantity: str) -> Curve:
    found: dict[int, list[float]] = {}
    for cell in cells:
        for entry in cell.record["history"]:
            value = entry.get(quantity, (entry.get("health") or {}).get(quantity))
            if isinstance(value, int | float):
                found.setdefault(int(entry["epoch"]), []).append(float(value))
    return [(epoch, mean(v), min(v), max(v)) for epoch, v in sorted(found.items())]


def _curve_panel(
    method: str, curve: Curve, text: str, extent: tuple[float, float], *, ticks: int = 4
) -> Panel:
    width, height, left, top, bottom = 260.0, 132.0, 44.0, 24.0, 108.0
    last = max(curve[-1][0], curve[0][0] + 1)
    x = Scale(curve[0][0], last, left, width - 8)
    y = Scale(*extent, bottom, top)
    upper = [(x(epoch), y(high)) for epoch, _, _, high in curve]
    lower = [(x(epoch), y(low)) for epoch, _, low, _ in reversed(curve)]
    marks = [label(x(e), bottom + 14, str(e)) for e in (curve[0][0], last)]
    body = join(
        label(left, 13, method, at="start", kind="name"),
        label(width - 8, 13, text, at="end"),
        rows_of_ticks(y, left, width - 8, ticks),
        *marks,
        label((left + width - 8) / 2, bottom + 14, "epoch"),
        path(upper + lower, "band", closed=True),
        _trace([(x(epoch), y(middle)) for epoch, middle, _, _ in curve]),
    )
    ends = f"from {curve[0][1]:.3g} to {curve[-1][1]:.3g}"
    return Panel(width, height, f"{method}: {text} {ends}", body)


def _trace(points: Sequence[tuple[float, float]]) -> Markup:
    if len(points) > 1:
        return path(points, "line")
    return element("circle", cx=points[0][0], cy=points[0][1], r=3, class_="dot")


def forest_panels(numbers: Sequence[Number], dataset: str) -> list[Panel]:
    """Return one panel for each protocol: methods with their intervals, best first."""
    main = main_numbers(numbers, dataset)
    columns = [[n for n in main if n.protocol == protocol] for protocol in protocols(main)]
    return [_forest_panel(sorted(column, key=goodness, reverse=True)) for column in columns]


def _forest_panel(column: Sequence[Number]) -> Panel:
    step, top, width = 20.0, 30.0, 320.0
    left = 16 + 6.6 * max(len(number.method) for number in column)
    bottom = top + step * len(column)
    ends = [v for n in column for v in (n.value, n.low, n.high) if v is not None]
    x = Scale(*span(ends), left, width - 46)
    unit = column[0].unit
    ticks = x.ticks(max(1, min(6, int((x.end - x.start) / 22))))  # so that texts stand apart
    axis = [label(x(value), bottom + 16, _tick(value, unit)) for value in ticks]
    grid = [line(x(value), top - 4, x(value), bottom, "grid") for value in ticks]
    floors = [n for n in column if n.method == "random_init"]
    rows = [_forest_row(n, x, top + step * (i + 0.5), width, column) for i, n in enumerate(column)]
    body = join(
        label(0, 13, heading(column[0]), at="start", kind="name"),
        *grid,
        *(line(x(n.value), top - 4, x(n.value), bottom, "level") for n in floors),
        *axis,
        *rows,
    )
    text = "; ".join(f"{n.method} {show(n.value, n.unit)}" for n in column)
    title = f"{heading(column[0])} with intervals: {text}"
    return Panel(width, bottom + 24, title, body)


def _forest_row(
    number: Number, x: Scale, y: float, width: float, column: Sequence[Number]
) -> Markup:
    base = is_baseline(number.method)
    dot = "base" if base else "dot" if is_best(number, column) else "open"
    parts: list[Markup] = [label(0, y + 3.5, number.method, at="start", kind="method")]
    if number.low is not None and number.high is not None:
        parts.append(line(x(number.low), y, x(number.high), y, "base-span" if base else "span"))
    parts.append(element("circle", cx=x(number.value), cy=y, r=3, class_=dot))
    parts.append(label(width, y + 3.5, show(number.value, number.unit), at="end", kind="method"))
    hint = f"{number.method}: {show(number.value, number.unit)} {show_spread(number)}".strip()
    return element("g", element("title", hint), *parts)


def layer_panels(rows: Sequence[LayerRow]) -> list[Panel]:
    """Return one panel for each row: a bar for each layer, and the untrained backbone's level."""
    extent = span([v for row in rows for v in row.by_layer.values()], floor=0.0)
    return [_layer_panel(row, extent) for row in rows]


def _layer_panel(row: LayerRow, extent: tuple[float, float]) -> Panel:
    width, height, left, top, bottom = 220.0, 132.0, 34.0, 24.0, 110.0
    y = Scale(*extent, bottom, top)
    step = (width - left) / len(row.by_layer)
    parts: list[Markup] = []
    for index, (layer, value) in enumerate(row.by_layer.items()):
        start, kind = left + index * step, "chosen" if layer in row.chosen else "bar"
        parts.append(_bar(start + 0.15 * step, y(value), 0.7 * step, bottom, kind))
        if layer in row.floor_by_layer:
            level = y(row.floor_by_layer[layer])
            parts.append(line(start + 0.08 * step, level, start + 0.92 * step, level, "floor"))
        parts.append(label(start + step / 2, bottom + 14, _short(layer, row.by_layer)))
    body = join(
        label(left, 13, row.method, at="start", kind="name"),
        label(width, 13, f"{row.protocol} ({show_unit(row.unit)})", at="end"),
        _percent_ticks(y, left, width, row.unit),
        *parts,
    )
    text = "; ".join(f"{layer} {show(v, row.unit)}" for layer, v in row.by_layer.items())
    return Panel(width, height, f"{row.method}, {row.protocol}, by layer: {text}", body)


def _bar(x: float, y: float, width: float, bottom: float, kind: str) -> Markup:
    return element("rect", x=x, y=y, width=width, height=bottom - y, class_=kind)


def _percent_ticks(y: Scale, left: float, right: float, unit: str) -> Markup:
    parts = []
    for value in y.ticks(3):
        parts.append(line(left, y(value), right, y(value), "grid"))
        parts.append(label(left - 5, y(value) + 3.5, _tick(value, unit), at="end"))
    return join(*parts)


def _tick(value: float, unit: str) -> str:
    return tick(100 * value if unit == "fraction" else value)


def _short(layer: str, layers: Mapping[str, float]) -> str:
    """Return a layer's name, shortened (b4 for block4, mean for patch_mean) on a full axis."""
    if len(layer) <= max(3, 32 // len(layers)):
        return layer
    numbered = re.fullmatch(r"([a-z])[a-z]*(\d+)", layer)
    return "".join(numbered.groups()) if numbered else layer.rsplit("_", 1)[-1]
