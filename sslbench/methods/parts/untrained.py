"""A backbone left as it was initialised: shared by the floors of each family of networks."""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of random initialisation: none.

    Attributes:
        views: an empty list, since no image is ever looked at.
    """

    views: tuple[View, ...]


class Untrained(Method):
    """The backbone as it was initialised, batch norms at mean 0 and variance 1."""

    trains = False

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
