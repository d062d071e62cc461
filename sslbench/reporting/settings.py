"""What params.yaml says about the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The `report` section.

    Attributes:
        confidence: level of the intervals and of the rank groups, in (0, 1).
    """

    confidence: float

    def __post_init__(self) -> None:
        """Refuse a level out of range."""
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie in (0, 1), found {self.confidence}")
