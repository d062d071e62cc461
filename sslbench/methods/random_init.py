"""Random initialisation: no training at all; the floor that every method has to clear.

Paper    none; a row of every frozen-feature table since Zhang et al. 2016, arXiv 1603.08511
Code     none
Family   baseline          Views  none
Differs  nothing
"""

from __future__ import annotations

from sslbench.methods.parts.untrained import Params, Untrained

__all__ = ["METHOD", "Params"]

METHOD = Untrained
