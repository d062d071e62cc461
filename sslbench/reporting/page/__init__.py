"""index.html: one self-contained page, and what a newcomer sees first.

It asks for nothing over the network and needs no script; the few lines of script in it sort tables
and open what a link points into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslbench.reporting.across import Across
from sslbench.reporting.collect import Collected
from sslbench.reporting.epochs import EpochRow
from sslbench.reporting.layers import LayerRow
from sslbench.reporting.leaderboard import datasets, intervals
from sslbench.reporting.markup import Markup, anchor, element, join
from sslbench.reporting.page.boards import dataset_section
from sslbench.reporting.page.following import epochs_part
from sslbench.reporting.page.forward import forward_section
from sslbench.reporting.page.provenance import provenance_section
from sslbench.reporting.page.spanning import spanning_section
from sslbench.reporting.page.training import training_section
from sslbench.reporting.plot import PALETTE, STYLE
from sslbench.reporting.tables import Number, is_baseline
from sslbench.reporting.twins import TwinRow

_HERE = Path(__file__).parent


def page(
    collected: Collected,
    numbers: Sequence[Number],
    rows: Sequence[LayerRow],
    beside: Sequence[TwinRow],
    by_epoch: Sequence[EpochRow],
    across: Across,
    provenance: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return the text of index.html.

    Args:
        collected: what the numbers were made of; its pretraining gives the curves.
        numbers: every number, in the grid's order.
        rows: values of single layers.
        beside: numbers beside those of random weights.
        by_epoch: values at single epochs.
        across: what spans the columns.
        provenance: for each number's id its cells, see `provenance_section`.
    """
    names = datasets(numbers)
    body = element(
        "body",
        _header(collected, numbers, names),
        element(
            "main",
            _guide(numbers),
            *(
                dataset_section(name, numbers, rows, beside, _epochs(name, by_epoch))
                for name in names
            ),
            spanning_section(across),
            training_section(collected),
            provenance_section(numbers, rows, provenance),
            forward_section(numbers, provenance),
        ),
        _footer(),
        element("script", _asset("page.js")),
    )
    return f"<!DOCTYPE html>\n{element('html', _head(), body, lang='en')}\n"


def _epochs(name: str, by_epoch: Sequence[EpochRow]) -> list[Markup]:
    return epochs_part(name, [row for row in by_epoch if row.dataset == name])


def _asset(name: str) -> Markup:
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def _head() -> Markup:
    viewport = "width=device-width, initial-scale=1"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content=viewport),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "sslbench report"),
        element("style", Markup(PALETTE), _asset("style.css"), Markup(STYLE)),
    )


def _header(collected: Collected, numbers: Sequence[Number], names: Sequence[str]) -> Markup:
    grid = collected.grid
    facts = {
        "methods": len([name for name in grid["methods"] if not is_baseline(name)]),
        "floor and ceiling rows": len([name for name in grid["methods"] if is_baseline(name)]),
        "seeds for each": len(grid["seeds"]),
        "numbers, each traced": len(numbers),
    }
    lead = join(
        "Vision methods that learn without labels, all pretrained on ",
        element("strong", str(grid["source"])),
        " under one budget and measured the same way. Every number below is a link: to the runs "
        "it is the mean of, their inputs, and the command that recomputes it.",
    )
    pairs = (
        element("div", element("dt", key), element("dd", str(value)))
        for key, value in facts.items()
    )
    inside = element(
        "div",
        element("h1", "sslbench report"),
        element("p", lead, class_="lead"),
        element("dl", *pairs, class_="facts"),
        _navigation(names),
    )
    return element("header", inside)


def _navigation(names: Sequence[str]) -> Markup:
    links = [(f"Results on {name}", f"dataset/{name}") for name in names]
    links += [("Across columns", "across"), ("Training", "training"), ("Provenance", "provenance")]
    links += [("What an input touches", "forward")]
    items = (element("li", element("a", text, href=f"#{anchor(target)}")) for text, target in links)
    return element("nav", element("ul", *items), aria_label="Sections")


def _guide(numbers: Sequence[Number]) -> Markup:
    shown = intervals([number for number in numbers if number.is_main])
    guide = {
        "51.2 ± 2.1": f"Mean over seeds and its interval ({shown or 'none'}), on the "
        "test split. [low, high] where the interval is not symmetric.",
        "Bold": "The best rank group of a column: its leader and those that follow it, down to the "
        "first that a paired test tells from it. Below each table stands what the test lets vary.",
        "random_init and supervised": "The floor, a backbone that was never trained, and the "
        "ceiling, one trained with all labels. A method is worth what it adds to the floor.",
        "A number": "Follow it to its provenance. Column heads sort the table.",
    }
    pairs = (
        element("div", element("dt", key), element("dd", value)) for key, value in guide.items()
    )
    return element("dl", *pairs, class_="guide", aria_label="How to read this page")


def _footer() -> Markup:
    text = join(
        "The same numbers as tables: ",
        element("a", "numbers.csv", href="numbers.csv"),
        ", ",
        element("a", "layers.csv", href="layers.csv"),
        ", ",
        element("a", "leaderboard.md", href="leaderboard.md"),
        ". Made by the report stage from the cells that params.yaml names; a missing, stray or "
        "stale cell would have stopped it.",
    )
    return element("footer", element("p", text))
