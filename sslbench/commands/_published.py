"""The tables of docs/results.md, made from the numbers in docs/tables: none is typed by hand.

A comment says what is in a table, and another one ends it:

    <!-- table: rows=methods file=default dataset=scenes protocols=knn,linear -->
    <!-- end of table -->

    rows       `methods`: a column for each protocol's main number
               `layers`:  each method's chosen layer and last layer, and the floor at both
               `figures`: every number of each protocol, a column for each method
               `costs`:   what a cell of each protocol took
    file       docs/tables/FILE.csv, a report/numbers.csv, FILE.layers.csv, its layers.csv, and
               FILE.costs.csv, by `sslbench leaderboard --costs`
    dataset    in that file
    protocols  which ones, in this order; `protocol/metric` for one figure of it
    methods    of `figures`: which ones, in this order; all without it
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sslbench.core.errors import UserError
from sslbench.reporting.csv_file import read_csv, read_twins
from sslbench.reporting.leaderboard import above_floor, headings, main_numbers, metric_text, show
from sslbench.reporting.markdown import (
    LAYER_HEADS,
    cell,
    md_row,
    md_rule,
    method_name,
    method_table,
)
from sslbench.reporting.tables import Number

PAGE = Path("docs/results.md")
TABLES = Path("docs/tables")
_HEAD = "<!-- table:"
# Blank lines and rows alone: where an end is forgotten, no text between is taken for a table.
_TABLE = re.compile(_HEAD + r" ([^>\n]+) -->\n(?:\|.*\n|\n)*<!-- end of table -->")


def results_page() -> str:
    """Return docs/results.md with every such table made anew.

    Raises:
        UserError: a table names what is not there, or does not end.
    """
    page = PAGE.read_text(encoding="utf-8")
    if page.count(_HEAD) != len(_TABLE.findall(page)):
        what = "a table without its end, or with other than rows in it"
        raise UserError(what, where=str(PAGE), mend="see the head of commands/_published.py")
    return _TABLE.sub(lambda found: _table(found[1]), page)


def _table(text: str) -> str:
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    kind = words.get("rows", "")
    if kind not in _KINDS or not {"file", "dataset", "protocols"} <= set(words):
        mend = f"name rows (one of {', '.join(_KINDS)}), file, dataset and protocols"
        raise UserError(f"no table `{text}`", where=str(PAGE), mend=mend)
    lines = _KINDS[kind](Published(words["file"], words["dataset"]), words)
    return "\n".join([f"{_HEAD} {text} -->", "", *lines, "", "<!-- end of table -->"])


class Published:
    """One dataset's numbers of a table in docs/tables.

    Attributes:
        numbers: all of them, in the file's order.
        layers: the rows of the table's layers; none where they were not kept.
        costs: what a cell of each protocol took; none where it was not kept.
        twins: what random weights reached and the gain over them, as shown, by the number's id.
        above: the ids of numbers above their untrained network.
    """

    def __init__(self, name: str, dataset: str) -> None:
        path = TABLES / f"{name}.csv"
        self.numbers = [number for number in read_csv(path) if number.dataset == dataset]
        if not self.numbers:
            raise UserError(f"no numbers on {dataset}", where=str(path), mend="see its ids")
        self.layers = _rows_of(path.with_suffix(".layers.csv"))
        costs = _rows_of(path.with_suffix(".costs.csv"))
        self.costs = {row["protocol"]: row for row in costs if row["dataset"] == dataset}
        self.twins = {row.number.id: row.shown()[1:] for row in read_twins(path)}
        floors = {row["id"].split("/")[1]: row["floor"] for row in self.layers if row["floor"]}
        self.above = above_floor(self.numbers, floors)

    def of(self, name: str) -> list[Number]:
        """Return the numbers of a protocol, or of `protocol/metric`.

        Raises:
            UserError: it has none.
        """
        protocol, _, metric = name.partition("/")
        of_protocol = [number for number in self.numbers if number.protocol == protocol]
        found = [number for number in of_protocol if metric in ("", number.metric)]
        if not found:
            raise UserError(f"no numbers of {name}", where=str(TABLES), mend="see its ids")
        return found


def _rows_of(path: Path) -> list[dict[str, str]]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return list(csv.DictReader(text.splitlines()))


def _methods(published: Published, words: Mapping[str, str]) -> list[str]:
    chosen = [n for name in words["protocols"].split(",") for n in published.of(name)]
    return method_table(main_numbers(chosen, words["dataset"]), published.above)


def _layers(published: Published, words: Mapping[str, str]) -> list[str]:
    lines = [md_row(LAYER_HEADS[:-1]), md_rule(len(LAYER_HEADS) - 1)]
    for protocol in words["protocols"].split(","):
        for number in published.of(protocol):
            if rows := [row for row in published.layers if row["id"] == number.id]:
                name = method_name(number.method)
                metric = metric_text(number.metric, number.unit)
                cells = (name, protocol, metric, *_chosen(number, rows))
                lines.append(md_row([*cells, *_at(rows[-1:], number.unit)]))
    return lines


def _chosen(number: Number, rows: Sequence[Mapping[str, str]]) -> tuple[str, str, str]:
    """Return the layers that seeds chose, the number's value, and the mean of its floors there."""
    chosen = [row for row in rows for _ in range(int(row["seeds_chosen"]))]
    names, _, floor = _at(chosen, number.unit)
    return names, show(number.value, number.unit), floor


def _at(rows: Sequence[Mapping[str, str]], unit: str) -> tuple[str, str, str]:
    """Return the layers' names, and the means of their values and floors."""

    def mean(key: str) -> str:
        values = [float(row[key]) for row in rows if row[key]]
        return show(sum(values) / len(values), unit) if values else show(None, unit)

    return (
        ", ".join(dict.fromkeys(row["layer"] for row in rows)),
        mean("value"),
        mean("floor_value"),
    )


def _figures(published: Published, words: Mapping[str, str]) -> list[str]:
    everybody = ",".join(dict.fromkeys(number.method for number in published.numbers))
    methods = words.get("methods", everybody).split(",")
    heads = ["protocol", "figure", *map(method_name, methods)]
    lines = [md_row(heads), md_rule(len(heads))]
    for protocol in words["protocols"].split(","):
        numbers = published.of(protocol)
        for metric in dict.fromkeys(number.metric for number in numbers):
            column = {number.method: number for number in numbers if number.metric == metric}
            lines += _figure_rows(published, column, methods)
    return lines


def _figure_rows(
    published: Published, column: Mapping[str, Number], methods: Sequence[str]
) -> list[str]:
    """Return a figure's row, and where it has twins the row of gains over random weights."""
    everything = list(column.values())
    protocol, figure = headings(everything[0])
    cells = [cell(column[m], everything, published.above) if m in column else "" for m in methods]
    lines = [md_row([protocol, figure, *cells])]
    none = ("", "")
    pairs = [published.twins.get(column[m].id, none) if m in column else none for m in methods]
    if any(gain for _, gain in pairs):
        lines.append(md_row(["", "random weights", *(twin for twin, _ in pairs)]))
        lines.append(md_row(["", "gain over random weights", *(gain for _, gain in pairs)]))
    return lines


def _costs(published: Published, words: Mapping[str, str]) -> list[str]:
    heads = ["one cell of", "seconds, median", "the longest", "peak MiB", "cells"]
    columns = ("protocol", "seconds", "longest", "peak_mib", "tracked")
    lines = [md_row(heads), md_rule(len(heads))]
    for protocol in words["protocols"].split(","):
        if protocol not in published.costs:
            where = str(TABLES / f"{words['file']}.costs.csv")
            mend = "write it where the cells ran: sslbench leaderboard --costs FILE"
            raise UserError(f"no cost of {protocol}", where=where, mend=mend)
        lines.append(md_row([published.costs[protocol][column] for column in columns]))
    return lines


_KINDS = {"methods": _methods, "layers": _layers, "figures": _figures, "costs": _costs}
