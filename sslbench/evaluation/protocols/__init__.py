"""One file per protocol, found by its name; base.py is the contract, parts/ is what they share."""

from __future__ import annotations

from types import ModuleType

from sslbench.core import listing


def names() -> list[str]:
    """Return the protocol names."""
    return listing.names(__name__)


def load(name: str) -> ModuleType:
    """Return the module `sslbench.evaluation.protocols.<name>`; base.py says what it holds.

    Raises:
        UserError: no such protocol.
    """
    return listing.load(__name__, name, "protocol")
