"""Write a whole report, byte for byte: two CSV files, leaderboard.md, index.html, figures/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslbench.core import artifacts
from sslbench.reporting.across import across
from sslbench.reporting.collect import Collected
from sslbench.reporting.csv_file import csv_text
from sslbench.reporting.epochs import epoch_rows
from sslbench.reporting.figures import figures
from sslbench.reporting.health import health_rows
from sslbench.reporting.inference import Inference
from sslbench.reporting.layers import layer_rows
from sslbench.reporting.layers_csv import layers_text
from sslbench.reporting.markdown import markdown
from sslbench.reporting.page import page
from sslbench.reporting.tables import References, numbers
from sslbench.reporting.twins import twin_rows

NUMBERS = "numbers.csv"
LAYERS = "layers.csv"
LEADERBOARD = "leaderboard.md"
INDEX = "index.html"
FIGURES = "figures"


def write_report(
    out: Path,
    collected: Collected,
    inference: Inference,
    provenance: Mapping[str, Mapping[str, Any]],
    references: References,
) -> None:
    """Write every file of the report into a folder; the same input gives the same bytes.

    Args:
        out: the folder `report`; made when absent, figures of an older grid removed.
        collected: the records that the grid names.
        inference: intervals, rank groups, average ranks and variance components.
        provenance: id -> cells, see `sslbench.reporting.page.provenance`.
        references: id -> published value and where it stands.
    """
    made = numbers(collected, inference, references)
    rows = layer_rows(collected)
    beside = twin_rows(collected, made, inference)
    by_epoch = epoch_rows(collected, inference)
    health = health_rows(collected.pretraining)
    spanning = across(collected, made, inference)
    drawn = figures(made, rows, collected.pretraining, spanning, by_epoch)
    for name, text in drawn.items():
        artifacts.write_text(out / FIGURES / name, text)
    for old in (out / FIGURES).glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    artifacts.write_text(out / NUMBERS, csv_text(made, beside))
    artifacts.write_text(out / LAYERS, layers_text(rows))
    text = markdown(made, rows, beside, by_epoch, health, spanning)
    artifacts.write_text(out / LEADERBOARD, text)
    text = page(collected, made, rows, beside, by_epoch, spanning, provenance)
    artifacts.write_text(out / INDEX, text)
