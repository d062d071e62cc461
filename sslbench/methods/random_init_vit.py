"""Random initialisation of a transformer: the floor for the rows that train one.

Paper    none; see random_init
Code     none
Family   baseline          Views  none
Differs  nothing
"""

from __future__ import annotations

from sslbench.methods.parts.untrained import Params, Untrained

__all__ = ["METHOD", "Params"]

METHOD = Untrained
