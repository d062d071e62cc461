"""The few parts that a figure is drawn from: scales, ticks, axes, lines, bands.

Written by hand, not with matplotlib: it is no dependency of ours and takes a second to import, its
bytes change with its version and fonts, and its SVG cannot follow the page's light and dark
colours. Here the same numbers give the same bytes on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sslbench.reporting.markup import Markup, decimal, element, join

# Colours come from variables, so one drawing serves light and dark, inline and as a file.
PALETTE = """\
:root{--paper:#fbfbf9;--card:#fff;--ink:#1b1f24;--muted:#5d646d;--rule:#e2e2dc;--accent:#0a66a3;
--soft:#d9e9f4;--floor:#a4600a;--alarm:#b3261e}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1a1e22;--ink:#e9e9e5;
--muted:#a0a7af;--rule:#30363c;--accent:#6fbcf0;--soft:#1d3a4f;--floor:#e0a35c;--alarm:#ff8a80}}
"""
STYLE = """\
.plot{font:11px/1 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums}
.plot text{fill:var(--muted)}
.plot .name{fill:var(--ink);font-weight:600}
.plot .method{fill:var(--ink)}
.plot .grid{stroke:var(--rule);stroke-width:1}
.plot .axis{stroke:var(--muted);stroke-width:1}
.plot .line{fill:none;stroke:var(--accent);stroke-width:1.7;stroke-linejoin:round}
.plot .band{fill:var(--accent);opacity:.2}
.plot .dot{fill:var(--accent);stroke:var(--accent);stroke-width:1.5}
.plot .open{fill:var(--card);stroke:var(--accent);stroke-width:1.5}
.plot .base{fill:var(--card);stroke:var(--floor);stroke-width:1.5}
.plot .span{stroke:var(--accent);stroke-width:1.7}
.plot .base-span{stroke:var(--floor);stroke-width:1.7}
.plot .level{stroke:var(--floor);stroke-width:1.7;stroke-dasharray:2 3;opacity:.75}
.plot .floor{stroke:var(--floor);stroke-width:2}
.plot .arm{fill:none;stroke:var(--muted);stroke-width:1}
.plot .clique{stroke:var(--accent);stroke-width:4;stroke-linecap:round}
.plot .bar{fill:var(--soft)}
.plot .chosen{fill:var(--accent)}
"""


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        width: in user units, about one CSS pixel each.
        height: in the same.
        label: what it shows, for those who do not see it.
        body: its elements.
    """

    width: float
    height: float
    label: str
    body: Markup

    def inline(self) -> Markup:
        """Return the SVG element for a page that holds `PALETTE` and `STYLE`."""
        box = f"0 0 {decimal(self.width)} {decimal(self.height)}"
        return element(
            "svg", self.body, viewBox=box, class_="plot", role="img", aria_label=self.label
        )


@dataclass(frozen=True)
class Scale:
    """A straight map from values [low, high] to positions [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Return at most `count` + 1 round values inside [low, high]."""
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(round(self.low / step, 9))
        last = math.floor(round(self.high / step, 9))
        return [index * step for index in range(first, last + 1)]


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= least * (1 - 1e-9))


def span(values: Sequence[float], *, floor: float | None = None) -> tuple[float, float]:
    """Return a range that holds all values with a little air, from `floor` where it is given."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = low if floor is None else min(floor, low)
    air = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (low if floor is not None and low == floor else low - air), high + air


def label(
    x: float, y: float, content: str, *, at: str = "middle", kind: str | None = None
) -> Markup:
    """Return a text whose start, middle or end (`at`) is at (x, y)."""
    return element("text", content, x=x, y=y, text_anchor=at, class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def path(points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> Markup:
    """Return an open or closed line through points."""
    steps = "L".join(f"{decimal(x)} {decimal(y)}" for x, y in points)
    return element("path", d=f"M{steps}{'Z' if closed else ''}", class_=kind)


def rows_of_ticks(y: Scale, left: float, right: float, count: int = 4) -> Markup:
    """Return horizontal grid lines with their values at the left."""
    parts = []
    for value in y.ticks(count):
        parts.append(line(left, y(value), right, y(value), "grid"))
        parts.append(label(left - 5, y(value) + 3.5, tick(value), at="end"))
    return join(*parts)


def tick(value: float) -> str:
    """Return a tick's text, with as many digits as tell it from its neighbours."""
    return format(value + 0.0, ".6g")


def sheet(panels: Sequence[Panel], columns: int, title: str) -> str:
    """Return a whole SVG file with the panels side by side in rows."""
    width, height = max(p.width for p in panels), max(p.height for p in panels)
    rows = math.ceil(len(panels) / columns)
    gap, top = 16.0, 34.0
    total = (gap + columns * (width + gap), top + rows * (height + gap))
    placed = [
        element(
            "g",
            panel.body,
            transform=f"translate({decimal(gap + index % columns * (width + gap))} "
            f"{decimal(top + index // columns * (height + gap))})",
        )
        for index, panel in enumerate(panels)
    ]
    body = join(
        element("title", title),
        element("style", Markup(PALETTE + STYLE + ".paper{fill:var(--paper)}")),
        element("rect", width=total[0], height=total[1], class_="paper"),
        label(gap, 20, title, at="start", kind="name"),
        *placed,
    )
    box = f"0 0 {decimal(total[0])} {decimal(total[1])}"
    svg = element(
        "svg",
        body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=box,
        width=total[0],
        height=total[1],
        class_="plot",
    )
    return f"{svg}\n"
