"""When a figure of a history's health block looks collapsed: for the loop and for the report."""

from __future__ import annotations

from collections.abc import Mapping

# The least healthy value of each figure; no result depends on them.
LEAST: Mapping[str, float] = {
    "feature_std": 0.05,  # random directions have about 1
    "effective_rank": 1.5,  # directions in use
    "prototype_entropy": 0.1,  # about 2 of 1000 prototypes in use
}


def alarms(figures: Mapping[str, float]) -> list[str]:
    """Return the names of the figures that are below their least healthy value."""
    return [name for name, least in LEAST.items() if figures.get(name, least) < least]
