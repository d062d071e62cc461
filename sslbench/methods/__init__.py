"""One file per method, found by its name; base.py is the contract, parts/ is what they share."""

from __future__ import annotations

from types import ModuleType

from sslbench.core import listing


def names() -> list[str]:
    """Return the method names."""
    return listing.names(__name__)


def load(name: str) -> ModuleType:
    """Return the module `sslbench.methods.<name>`, which holds `METHOD` and `Params`.

    Raises:
        UserError: no such method.
    """
    return listing.load(__name__, name, "method")
