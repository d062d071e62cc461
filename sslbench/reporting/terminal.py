"""The leaderboard as plain text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from sslbench.reporting.leaderboard import (
    datasets,
    headings,
    intervals,
    is_best,
    label_legend,
    label_mark,
    main_numbers,
    protocols,
    ranked_methods,
    seeds_text,
    show,
    show_spread,
    tests_text,
)
from sslbench.reporting.tables import Number

_WIDTH = 80
_HEAD_LINES = 2


def leaderboard_text(numbers: Sequence[Number]) -> str:
    """Return the leaderboard for a terminal, aligned tables of at most 80 signs per dataset."""
    parts = []
    for dataset in datasets(numbers):
        main = main_numbers(numbers, dataset)
        tables = "\n\n".join(map(aligned, _tables(_text_columns(main))))
        said = textwrap.fill(tests_text(main), _WIDTH)
        parts.append(f"{dataset}\n{tables}\n\n{said}")
    return "\n\n".join([*parts, _text_legend([n for n in numbers if n.is_main])]) + "\n"


def _text_columns(main: Sequence[Number]) -> list[list[str]]:
    """Return the column of methods, then one for each protocol."""
    cells = {(number.method, number.protocol): number for number in main}
    methods = ranked_methods(main)
    first = protocols(main)[0]
    columns = [["", "method", *(name + label_mark(cells[name, first]) for name in methods)]]
    for protocol in protocols(main):
        numbers = [cells[method, protocol] for method in methods]
        heads = (f"{text}  " for text in headings(numbers[0]))
        columns.append([*heads, *(_text_cell(number, main) for number in numbers)])
    return columns


def _tables(columns: Sequence[Sequence[str]]) -> Iterator[list[tuple[str, ...]]]:
    """Yield the rows of as many tables as it takes for none to be too wide."""
    names, *others = columns
    shown, width = [names], max(map(len, names))
    for column in others:
        wide = 2 + max(map(len, column))
        if len(shown) > 1 and width + wide > _WIDTH:
            yield list(zip(*shown, strict=True))
            shown, width = [names], max(map(len, names))
        shown.append(column)
        width += wide
    yield list(zip(*shown, strict=True))


def _text_cell(number: Number, main: Sequence[Number]) -> str:
    mark = " *" if is_best(number, main) else "  "
    return f"{show(number.value, number.unit)} {show_spread(number)}".strip() + mark


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a table, first column to the left, with a rule below two lines of heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join([f"{row[0]:<{widths[0]}}", *cells]).rstrip())
    rule = "  " + "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([*lines[:_HEAD_LINES], rule, *lines[_HEAD_LINES:]])


def _text_legend(main: Sequence[Number]) -> str:
    return (
        f"Mean over {seeds_text(main)}; interval: {intervals(main) or 'none'}.\n"
        f"* best rank group, baselines aside (none: not told apart).{label_legend(main)}\n"
        "Why a number is what it is: sslbench trace DATASET/METHOD/PROTOCOL/METRIC"
    )
