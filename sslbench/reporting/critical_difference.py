"""The critical-difference picture: average ranks on an axis, bars over what is not told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sslbench.reporting.inference import AverageRanks
from sslbench.reporting.markup import Markup, join
from sslbench.reporting.plot import Panel, Scale, label, line, path

_AXIS, _TOP, _STEP, _LEVEL = 360.0, 24.0, 17.0, 7.0
_LETTER = 6.4  # width of a letter, about


def critical_difference_panel(ranks: AverageRanks) -> Panel:
    """Return the picture, best at the left. Source: Demsar 2006, figure 1."""
    names = list(ranks.ranks)
    room = 24 + _LETTER * (5 + max(map(len, names)))
    x = Scale(1, len(names), room, room + _AXIS)
    names_top = _TOP + 12 + _LEVEL * len(ranks.cliques) + 12
    half = math.ceil(len(names) / 2)
    left, right = names[:half], names[half:][::-1]
    body = join(
        _axis(x),
        *_bars(ranks.ranks, ranks.cliques, x),
        *(_arm(name, ranks.ranks, x, names_top + _STEP * i, -1) for i, name in enumerate(left)),
        *(_arm(name, ranks.ranks, x, names_top + _STEP * i, 1) for i, name in enumerate(right)),
    )
    told = "; ".join(f"{name} {rank:.2f}" for name, rank in ranks.ranks.items())
    joined = "; ".join(", ".join(clique) for clique in ranks.cliques) or "none"
    tested = "" if ranks.p_value is None else f". Not told apart: {joined}"
    text = f"Average ranks: {told}{tested}"
    return Panel(2 * room + _AXIS, names_top + _STEP * half, text, body)


def _axis(x: Scale) -> Markup:
    places = range(int(x.low), int(x.high) + 1, math.ceil(x.high / 20))
    ticks = [line(x(place), _TOP - 4, x(place), _TOP, "axis") for place in places]
    texts = [label(x(place), _TOP - 8, str(place)) for place in places]
    title = label(x.start - 12, _TOP - 8, "average rank", at="end")
    return join(title, line(x.start, _TOP, x.end, _TOP, "axis"), *ticks, *texts)


def _bars(ranks: Mapping[str, float], cliques: Sequence[Sequence[str]], x: Scale) -> list[Markup]:
    return [
        line(x(ranks[clique[0]]) - 3, y, x(ranks[clique[-1]]) + 3, y, "clique")
        for y, clique in ((_TOP + 12 + _LEVEL * i, clique) for i, clique in enumerate(cliques))
    ]


def _arm(name: str, ranks: Mapping[str, float], x: Scale, y: float, side: int) -> Markup:
    """Return the line from a method's rank on the axis to its name, left (-1) or right (1)."""
    rank = ranks[name]
    end = (x.start if side < 0 else x.end) + 12 * side
    text, at = (f"{name} {rank:.2f}", "end") if side < 0 else (f"{rank:.2f} {name}", "start")
    return join(
        path([(x(rank), _TOP), (x(rank), y), (end, y)], "arm"),
        label(end + 4 * side, y + 3.5, text, at=at, kind="method"),
    )
