"""leaderboard.md: the leaderboard as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from sslbench.reporting import epochs
from sslbench.reporting.across import NO_RANKS, Across, SpreadRow, ranks_text, spread_text
from sslbench.reporting.epochs import EpochRow
from sslbench.reporting.health import FIGURES, HealthRow, alarm_text, figures_of
from sslbench.reporting.layers import LayerRow, floors
from sslbench.reporting.leaderboard import (
    ABOVE_FLOOR,
    NONE,
    above_floor,
    datasets,
    heading,
    is_best,
    label_mark,
    legend,
    main_numbers,
    metric_text,
    protocols,
    ranked_methods,
    show,
    show_spread,
)
from sslbench.reporting.tables import Number, is_baseline
from sslbench.reporting.twins import NOTE, TwinRow

LAYER_HEADS = (
    *("method", "protocol", "metric", "layer", "value", "floor"),
    *("last layer", "value", "floor", "best on test"),
)


def markdown(
    numbers: Sequence[Number],
    layer_rows: Sequence[LayerRow],
    twin_rows: Sequence[TwinRow],
    epoch_rows: Sequence[EpochRow],
    health_rows: Sequence[HealthRow],
    across: Across,
) -> str:
    """Return leaderboard.md: tables of each dataset, of what spans datasets, and of health."""
    parts = ["# Leaderboard", ""]
    untrained = floors(layer_rows)
    for dataset in datasets(numbers):
        main = main_numbers(numbers, dataset)
        rows = [row for row in layer_rows if row.dataset == dataset]
        table = method_table(main, above_floor(main, untrained))
        parts += [f"## {_md(dataset)}", "", *table, "", legend(main, untrained), ""]
        parts += _md_layers(rows) if rows else []
        beside = [row for row in twin_rows if row.number.dataset == dataset]
        parts += _md_twins(beside) if beside else []
        followed = [row for row in epoch_rows if row.dataset == dataset]
        parts += _md_epochs(followed) if followed else []
    parts += _md_ranks(across)
    parts += _md_spread(across.spread) if across.spread else []
    parts += _md_health(health_rows) if figures_of(health_rows) else []
    parts += ["Each number with its ancestry: index.html. From a shell: `sslbench trace ID`."]
    return "\n".join(parts) + "\n"


def _md(text: str) -> str:
    return escape(text, quote=False).replace("|", "\\|")


def md_row(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(cells) + " |"


def md_rule(columns: int) -> str:
    """Return the rule below the heads: names to the left, numbers to the right."""
    return "|---|" + "---:|" * (columns - 1)


def method_table(main: Sequence[Number], above: Collection[str]) -> list[str]:
    """Return a row for each method and a column for each protocol, marked.

    Args:
        main: the main numbers of one dataset, for each method and protocol.
        above: the ids to mark with an arrow.
    """
    cells = {(number.method, number.protocol): number for number in main}
    columns = protocols(main)
    heads = [_md(heading(next(n for n in main if n.protocol == name))) for name in columns]
    lines = [md_row(["method", *heads]), md_rule(len(heads) + 1)]
    for method in ranked_methods(main):
        numbers = [cells[method, protocol] for protocol in columns]
        name = method_name(method) + label_mark(numbers[0])
        lines.append(md_row([name, *(cell(number, main, above) for number in numbers)]))
    return lines


def cell(number: Number, main: Sequence[Number], above: Collection[str]) -> str:
    """Return a value with its spread, bold for the best group of `main`, and its arrow."""
    text = f"{show(number.value, number.unit)} {show_spread(number)}".strip()
    text = f"**{text}**" if is_best(number, main) else text
    return f"{text} {ABOVE_FLOOR}" if number.id in above else text


def _md_layers(rows: Sequence[LayerRow]) -> list[str]:
    lines = ["### Layer by layer", "", md_row(LAYER_HEADS), md_rule(len(LAYER_HEADS))]
    for row in rows:
        chosen = [row.layer, show(row.value, row.unit), show(row.floor_value, row.unit)]
        last = [row.last, *(show(value, row.unit) for value in row.at_last)]
        metric = metric_text(row.metric, row.unit)
        best = show(row.peeked, row.unit)
        cells = (row.method, row.protocol, metric, *chosen, *last, best)
        lines.append(md_row([_md(text) for text in cells]))
    floors = ", ".join(dict.fromkeys(row.floor for row in rows if row.floor)) or NONE
    note = (
        f"Floor: {_md(floors)} at the same layer. Best on test: what choosing the layer on test "
        "would have given; never use it."
    )
    return [*lines, "", note, ""]


def _md_twins(rows: Sequence[TwinRow]) -> list[str]:
    heads = ["method", "protocol", "metric", "value", "random weights", "gain"]
    lines = ["### Beside random weights", "", md_row(heads), md_rule(len(heads))]
    for row in rows:
        number = row.number
        metric = metric_text(number.metric, number.unit)
        lines.append(md_row([method_name(number.method), number.protocol, metric, *row.shown()]))
    return [*lines, "", NOTE, ""]


def _md_epochs(rows: Sequence[EpochRow]) -> list[str]:
    lines = ["### Epoch by epoch", "", md_row(epochs.HEADS), md_rule(len(epochs.HEADS))]
    for row in rows:
        metric = metric_text(row.metric, row.unit)
        lines.append(md_row([method_name(row.method), row.protocol, metric, *row.shown()]))
    return [*lines, "", epochs.NOTE, ""]


def _md_ranks(across: Across) -> list[str]:
    title = ["## Average ranks", ""]
    if across.ranks is None:
        return [*title, NO_RANKS, ""]
    rows = [md_row([_md(name), f"{rank:.2f}"]) for name, rank in across.ranks.ranks.items()]
    note = ranks_text(across.ranks)
    if across.ranks.p_value is not None:
        cliques = "; ".join(_md(", ".join(clique)) for clique in across.ranks.cliques) or "none"
        note += f" Not told apart: {cliques}."
    return [*title, md_row(["method", "average rank"]), md_rule(2), *rows, "", note, ""]


def _md_spread(rows: Sequence[SpreadRow]) -> list[str]:
    heads = ["number", "seeds x draws", "between seeds", "between draws", "rest"]
    lines = [md_row(heads), md_rule(len(heads))]
    for row in rows:
        size = f"{row.num_seeds} x {row.num_draws}"
        lines.append(md_row([_md(row.number_id), size, *row.shown()]))
    return ["## Where the spread comes from", "", *lines, "", spread_text(rows), ""]


def _md_health(rows: Sequence[HealthRow]) -> list[str]:
    names = figures_of(rows)
    lines = [md_row(["method", *(FIGURES[name] for name in names)]), md_rule(len(names) + 1)]
    lines += [md_row([method_name(row.method), *map(row.show, names)]) for row in rows]
    note = f"Of pretraining, mean over seeds at the last epoch. {alarm_text(names)}"
    return ["## Health against collapse", "", *lines, "", note, ""]


def method_name(method: str) -> str:
    """Return a method as it is written: floor and ceiling in italics."""
    return f"*{_md(method)}*" if is_baseline(method) else _md(method)
