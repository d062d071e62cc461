"""One file per format, found by its name; each has SUITS and `write(backbone, info, folder)`."""

from __future__ import annotations

from types import ModuleType

from sslbench.core import listing


def names() -> list[str]:
    """Return the names of the formats."""
    return listing.names(__name__)


def load(name: str) -> ModuleType:
    """Return a format's module.

    Raises:
        UserError: no such format.
    """
    return listing.load(__name__, name, "format")
