"""What params.yaml says about the report."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """A value that somebody else published, to stand beside one of ours.

    Attributes:
        id: of our number, `dataset/method/protocol/metric`.
        value: in our number's unit.
        source: where it stands, and in what it differs.
    """

    id: str
    value: float
    source: str

    def __post_init__(self) -> None:
        """Refuse what is no number of ours, or has no source."""
        if self.id.count("/") != 3:
            raise ValueError(f"id must be dataset/method/protocol/metric, found {self.id!r}")
        if not math.isfinite(self.value):
            raise ValueError(f"value must be finite, found {self.value}")
        # A spreadsheet takes what begins with = or @ for a formula.
        if not self.source[:1].isalnum() or not self.source.isprintable():
            raise ValueError(f"the source of {self.id} must be a line that begins with a word")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The `report` section.

    Attributes:
        confidence: level of the intervals and of the rank groups, in (0, 1).
        published: values to stand beside ours; those of numbers that the grid lacks are left aside.
    """

    confidence: float
    published: tuple[Published, ...]

    def __post_init__(self) -> None:
        """Refuse a level out of range, and two values for one number."""
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie in (0, 1), found {self.confidence}")
        ids = [entry.id for entry in self.published]
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"two published values for {min(twice)}")
