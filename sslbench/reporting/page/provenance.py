"""The part of the page where each number says how it came about and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sslbench.reporting.layers import LayerRow
from sslbench.reporting.leaderboard import group_text, seeds_text, show, show_spread, show_unit
from sslbench.reporting.markup import Markup, anchor, breakable, element, join
from sslbench.reporting.page.boards import scrolling
from sslbench.reporting.tables import Number

_LOCK = "requirements.lock"
_ABSENT = "not recorded"


def provenance_section(
    numbers: Sequence[Number],
    rows: Sequence[LayerRow],
    provenance: Mapping[str, Mapping[str, Any]],
) -> Markup:
    """Return the section with an anchor for each number and each cell.

    Args:
        numbers: every number of the report.
        rows: values of single layers, shown with the number whose records hold them.
        provenance: id -> `{"cells": [{"cell", "command", "fingerprint", "deps": {path: md5},
            "params", "environment"}]}`, the lock's md5 under `environment.lock_md5`;
            a cell that several numbers share is shown once.
    """
    lead = (
        "A number is the mean of one record for each seed. A record's fingerprint is the sha256 "
        "of its stage, command, parameters and the md5 of every input, code included; it can be "
        "recomputed from dvc.lock alone."
    )
    cells = _unique_cells(provenance)
    environments = _environments(cells.values())
    by_id = {row.number_id: row for row in rows}
    groups: dict[tuple[str, str], list[Markup]] = {}
    for number in numbers:
        record = provenance.get(number.id, {}).get("cells", [])
        article = _number(number, by_id.get(number.id), record)
        groups.setdefault((number.dataset, number.method), []).append(article)
    return element(
        "section",
        element("h2", "Provenance"),
        element("p", lead),
        element("h3", "Numbers"),
        *(_group(f"{key[0]} / {key[1]}", articles) for key, articles in groups.items()),
        *_cell_parts(cells, environments),
        class_="part",
        id="provenance",
    )


def _group(title: str, articles: Sequence[Markup]) -> Markup:
    count = element("span", f" {len(articles)} numbers", class_="muted")
    return element("details", element("summary", title, count), *articles, class_="group")


def _unique_cells(provenance: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    found = {
        str(cell["cell"]): cell for entry in provenance.values() for cell in entry.get("cells", [])
    }
    return dict(sorted(found.items()))


def _environments(cells: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return each distinct environment as JSON, numbered from 1: most cells share one."""
    texts = dict.fromkeys(_json(cell.get("environment", {})) for cell in cells)
    return {text: index for index, text in enumerate(texts, 1)}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


def _number(number: Number, layers: LayerRow | None, cells: Sequence[Mapping[str, Any]]) -> Markup:
    unit = show_unit(number.unit)
    result = f"{show(number.value, number.unit)} {show_spread(number)}".strip()
    summary = join(
        element("strong", f"{result} {unit}"),
        f"; mean over {seeds_text([number])}; interval: {number.interval or 'none'}; ",
        group_text(number),
        f" ({number.test})" if number.test else "",
        f"; {number.samples} test samples" if number.samples else "",
        ".",
    )
    return element(
        "article",
        element("h4", element("code", breakable(number.id))),
        element("p", summary),
        _seeds(number),
        _pairs(_number_facts(number, layers, cells)),
        id=anchor(number.id),
    )


def _seeds(number: Number) -> Markup:
    triples = zip(number.seeds, number.values, number.fingerprints, strict=True)
    rows = (
        element(
            "tr",
            element("th", str(seed), scope="row"),
            element("td", f"{value:.8g}"),
            element("td", element("code", fingerprint), class_="text"),
        )
        for seed, value, fingerprint in triples
    )
    heads = (
        element("th", "seed", scope="col"),
        element("th", f"value ({number.unit})", scope="col"),
        element("th", "fingerprint of the record", scope="col", class_="text"),
    )
    caption = element("caption", element("span", f"The records behind {number.id}"))
    table = element(
        "table", caption, element("thead", element("tr", *heads)), element("tbody", *rows)
    )
    return scrolling(table, f"Seeds of {number.id}")


def _number_facts(
    number: Number, layers: LayerRow | None, cells: Sequence[Mapping[str, Any]]
) -> dict[str, Markup]:
    commands = f"sslbench trace {number.id}\nsslbench verify {number.id} --recompute"
    facts = {
        "See its whole ancestry; make it again and compare": element("pre", commands),
        "Made by": _cell_links(cells),
        "Data hash": _data_hashes(cells),
        "Lock hash": _lock_hashes(cells),
    }
    if number.reference is not None:
        published = f"{show(number.reference, number.unit)} {show_unit(number.unit)}"
        facts["Published"] = join(f"{published}, {number.reference_source}")
    if layers:
        values = (f"{name} {show(v, layers.unit)}" for name, v in layers.by_layer.items())
        facts["By layer, mean over seeds"] = join("; ".join(values))
    return facts


def _cell_links(cells: Sequence[Mapping[str, Any]]) -> Markup:
    links = [
        element("a", element("code", str(cell["cell"])), href=f"#{_cell_anchor(cell['cell'])}")
        for cell in cells
    ]
    return Markup(", ".join(links)) if links else join(_ABSENT)


def _cell_anchor(name: str) -> str:
    return anchor(f"cell/{name}")


def _data_hashes(cells: Sequence[Mapping[str, Any]]) -> Markup:
    deps = {path: md5 for cell in cells for path, md5 in cell.get("deps", {}).items()}
    found = [f"{md5}  {path}" for path, md5 in sorted(deps.items()) if path.startswith("data/")]
    return _lines(found)


def _lock_hashes(cells: Sequence[Mapping[str, Any]]) -> Markup:
    locks = {cell.get("environment", {}).get("lock_md5") for cell in cells} - {None}
    return _lines([f"{md5}  {_LOCK}" for md5 in sorted(map(str, locks))])


def _lines(found: Sequence[str]) -> Markup:
    return element("pre", "\n".join(found)) if found else join(_ABSENT)


def _pairs(facts: Mapping[str, Markup]) -> Markup:
    items = (join(element("dt", key), element("dd", value)) for key, value in facts.items())
    return element("dl", *items, class_="record")


def _cell_parts(
    cells: Mapping[str, Mapping[str, Any]], environments: Mapping[str, int]
) -> list[Markup]:
    if not cells:
        return []
    shown = (_cell(name, cell, environments) for name, cell in cells.items())
    title = element(
        "summary", "Every cell", element("span", f" {len(cells)} cells", class_="muted")
    )
    return [
        element("h3", "Cells"),
        element("details", title, *shown, class_="group"),
        element("h3", "Environments"),
        *(_environment(text, index) for text, index in environments.items()),
    ]


def _cell(name: str, cell: Mapping[str, Any], environments: Mapping[str, int]) -> Markup:
    index = environments[_json(cell.get("environment", {}))]
    deps = "\n".join(f"{md5}  {path}" for path, md5 in sorted(cell.get("deps", {}).items()))
    facts = {
        "Command": element("pre", str(cell.get("command", _ABSENT))),
        "Fingerprint": element("code", str(cell.get("fingerprint", _ABSENT))),
        "Parameters": element("pre", _json(cell.get("params", {}))),
        "Inputs, md5": element("pre", deps or _ABSENT),
        "Environment": element("a", f"environment {index}", href=f"#environment/{index}"),
    }
    title = element("summary", element("code", name))
    return element("details", title, _pairs(facts), id=_cell_anchor(name), class_="group")


def _environment(text: str, index: int) -> Markup:
    return element(
        "details",
        element("summary", f"environment {index}"),
        element("pre", text),
        id=f"environment/{index}",
        class_="group",
    )
