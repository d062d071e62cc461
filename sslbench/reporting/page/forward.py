"""The part of the page that reads provenance forward: what each input touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sslbench.reporting.markup import Markup, anchor, breakable, element
from sslbench.reporting.tables import Number

_MADE_HERE = ("runs/", "metrics/")  # between the inputs and the numbers
_LEAD = (
    "What would have to be made again if one of these changed. An evaluation is one method under "
    "one protocol on one data set, all its seeds and metrics. For a single file, or for a commit: "
)


def forward_section(
    numbers: Sequence[Number], provenance: Mapping[str, Mapping[str, Any]]
) -> Markup:
    """Return the section with every data set, file of code and parameter that numbers stand on.

    Args:
        numbers: every number of the report.
        provenance: as `provenance_section` takes it.
    """
    first: dict[str, str] = {}
    for number in numbers:
        first.setdefault(_evaluation(number.id), number.id)
    touched = _touched(provenance)
    parts = [
        part
        for title, inputs in touched.items()
        for part in (element("h3", title), *(_input(n, e, first) for n, e in inputs.items()))
    ]
    command = element("code", "sslbench trace --touched-by WHAT")
    lead = element("p", _LEAD, command, ".")
    title = element("h2", "What an input touches")
    return element("section", title, lead, *parts, class_="part", id="forward")


def _evaluation(identifier: str) -> str:
    return identifier.rsplit("/", 1)[0]


def _touched(provenance: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Return by kind, for each input, the evaluations that stand on it, all in order of names."""
    kinds: dict[str, dict[str, set[str]]] = {"Data sets": {}, "Code": {}, "Parameters": {}}
    for identifier, entry in provenance.items():
        for cell in entry.get("cells", ()):
            for kind, name in _inputs(cell):
                kinds[kind].setdefault(name, set()).add(_evaluation(identifier))
    return {
        kind: {name: sorted(found[name]) for name in sorted(found)}
        for kind, found in kinds.items()
        if found
    }


def _inputs(cell: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the kind and name of what a cell reads that no cell made."""
    found = [("Parameters", str(key)) for key in cell.get("params", {})]
    for path in cell.get("deps", {}):
        if path.startswith("data/"):
            found.append(("Data sets", path.split("/")[1]))
        elif not path.startswith(_MADE_HERE):
            found.append(("Code", path))
    return found


def _input(name: str, evaluations: Sequence[str], first: Mapping[str, str]) -> Markup:
    links = [
        element("a", breakable(evaluation), href=f"#{anchor(first[evaluation])}")
        for evaluation in evaluations
        if evaluation in first
    ]
    count = "all" if len(links) == len(first) else f"{len(links)} of {len(first)}"
    muted = element("span", f" {count} evaluations", class_="muted")
    summary = element("summary", element("code", breakable(name)), muted)
    return element("details", summary, element("p", Markup(", ".join(links))), class_="group")
