"""report/layers.csv: every layer's value and its floor, for tables such as conv1 to conv5."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from sslbench.reporting.csv_file import digits
from sslbench.reporting.layers import LayerRow

COLUMNS = ("id", "layer", "value", "unit", "seeds_chosen", "floor", "floor_value")


def layers_text(rows: Sequence[LayerRow]) -> str:
    """Return the text of layers.csv: a row for each layer, from input to output.

    `id` is the number whose records hold the values; `value` is the mean over seeds on test;
    `seeds_chosen` counts the seeds whose choice on val the layer is; `floor` is the untrained
    network with the same layers, and `floor_value` what it reaches there.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        chosen = Counter(row.chosen)
        for layer, value in row.by_layer.items():
            floor_value = digits(row.floor_by_layer.get(layer))
            seeds = str(chosen[layer])
            line = (row.number_id, layer, digits(value), row.unit, seeds, row.floor, floor_value)
            writer.writerow(line)
    return buffer.getvalue()
