"""Per-layer values: where a method's features are best, and what no training gives there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sslbench.reporting.collect import CellRecord, Collected
from sslbench.reporting.records import headlines, layers
from sslbench.reporting.tables import FLOOR, mean


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One method under one protocol, layer by layer.

    Attributes:
        metric: of all values here: the first that was measured layer by layer.
        unit: their unit.
        chosen: the headline's layer for each seed, in the order of seeds.
        value: the headline's mean over seeds.
        peeked: what choosing each seed's layer on test would have given: the effect of selection.
        by_layer: mean over seeds for each layer, from input to output.
        floor: the untrained backbone of the same layers, or "" where the grid has none.
        floor_by_layer: its mean over seeds for each layer.
        floor_value: what `floor` reaches at `chosen`, mean over seeds, or None.
    """

    dataset: str
    protocol: str
    method: str
    metric: str
    unit: str
    chosen: tuple[str, ...]
    value: float
    peeked: float
    by_layer: Mapping[str, float]
    floor: str
    floor_by_layer: Mapping[str, float]
    floor_value: float | None

    @property
    def layer(self) -> str:
        """The chosen layer, or all of them where the seeds differ."""
        return ", ".join(dict.fromkeys(self.chosen))

    @property
    def last(self) -> str:
        """The last layer, which is the pooled feature that most tables elsewhere report."""
        return list(self.by_layer)[-1]

    @property
    def at_last(self) -> tuple[float, float | None]:
        """The value at the last layer, and the floor's there (None without a floor)."""
        return self.by_layer[self.last], self.floor_by_layer.get(self.last)

    @property
    def number_id(self) -> str:
        """The number whose records hold these values."""
        return f"{self.dataset}/{self.method}/{self.protocol}/{self.metric}"


def layer_rows(collected: Collected) -> list[LayerRow]:
    """Return a row for each trained method and protocol that measured single layers."""
    groups: dict[tuple[str, str], dict[str, list[CellRecord]]] = {}
    for cell in collected.cells:
        if layers(cell.record):
            methods = groups.setdefault((cell.dataset, cell.protocol), {})
            methods.setdefault(cell.method, []).append(cell)
    return [row for methods in groups.values() for row in _rows(methods)]


def floors(rows: Sequence[LayerRow]) -> dict[str, str]:
    """Return each method's untrained network with the same layers, which all datasets share."""
    return {row.method: row.floor for row in rows if row.floor}


def _rows(methods: Mapping[str, list[CellRecord]]) -> list[LayerRow]:
    values = {method: _by_layer(cells) for method, cells in methods.items()}
    return [_row(c, values) for method, c in methods.items() if not method.startswith(FLOOR)]


def _row(cells: Sequence[CellRecord], values: Mapping[str, Mapping[str, float]]) -> LayerRow:
    first = cells[0]
    main = _main(first)
    by_layer = values[first.method]
    chosen = tuple(str(_main(cell).get("layer") or "all") for cell in cells)
    floor = _floor(by_layer, values)
    untrained = values.get(floor, {})
    at_same = [untrained[layer] for layer in chosen if layer in untrained]
    return LayerRow(
        dataset=first.dataset,
        protocol=first.protocol,
        method=first.method,
        metric=str(main["metric"]),
        unit=str(main["unit"]),
        chosen=chosen,
        value=mean([float(_main(cell)["value"]) for cell in cells]),
        peeked=mean([max(_values(cell, main["metric"]).values()) for cell in cells]),
        by_layer=by_layer,
        floor=floor,
        floor_by_layer=untrained,
        floor_value=mean(at_same) if len(at_same) == len(chosen) else None,
    )


def _floor(by_layer: Mapping[str, float], values: Mapping[str, Mapping[str, float]]) -> str:
    """Return the untrained backbone with the very same layers; a ViT's is `random_init_vit`."""
    names = sorted(name for name in values if name.startswith(FLOOR))
    return next((name for name in names if list(values[name]) == list(by_layer)), "")


def _main(cell: CellRecord) -> Mapping[str, Any]:
    """Return the first headline whose metric was also measured layer by layer."""
    measured = {entry["metric"] for entry in layers(cell.record)}
    return next(entry for entry in headlines(cell.record) if entry["metric"] in measured)


def _by_layer(cells: Sequence[CellRecord]) -> dict[str, float]:
    """Return the mean over seeds for each layer, for the metric that layers have."""
    metric = _main(cells[0])["metric"]
    found: dict[str, list[float]] = {}
    for cell in cells:
        for layer, value in _values(cell, metric).items():
            found.setdefault(layer, []).append(value)
    return {layer: mean(values) for layer, values in found.items()}


def _values(cell: CellRecord, metric: str) -> dict[str, float]:
    """Return one cell's value of each layer."""
    rows = (entry for entry in layers(cell.record) if entry["metric"] == metric)
    return {str(entry.get("layer")): float(entry["value"]) for entry in rows}
