"""MSN's objective: anchors meet the prototypes that their target meets, and none is left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from lightly.loss import MSNLoss
from lightly.loss.msn_loss import prototype_probabilities, sharpen
from torch import Tensor, nn
from torch.nn import functional

from sslbench.objectives.entropy import entropies
from sslbench.objectives.precision import in_float32


@dataclass(frozen=True, kw_only=True)
class MatchingParams:
    """Numbers of the prototypes.

    Attributes:
        num_prototypes: learned cluster centres.
        temperature: divides the cosines of projections and prototypes.
        sharpening: temperature on the target's probabilities, in (0, 1]; 1 leaves them.
        sinkhorn_iterations: balancing steps on a batch's targets; 0 for none.
        memax_weight: weight of log(num_prototypes) - entropy of the anchors' mean prediction.
    """

    num_prototypes: int
    temperature: float
    sharpening: float
    sinkhorn_iterations: int
    memax_weight: float

    def __post_init__(self) -> None:
        """Refuse a temperature that divides by nothing, and a sharpening that blurs."""
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, found {self.temperature}")
        if not 0 < self.sharpening <= 1:
            raise ValueError(f"sharpening must lie in (0, 1], found {self.sharpening}")


class PrototypeMatching(nn.Module):
    """Cross entropy of anchors to sharpened targets over learned prototypes, plus me-max."""

    def __init__(self, dim: int, params: MatchingParams) -> None:
        super().__init__()
        self.params = params
        self.prototypes = nn.Parameter(torch.empty(params.num_prototypes, dim))
        nn.init.uniform_(self.prototypes, -(dim**-0.5), dim**-0.5)
        self.criterion = MSNLoss(
            params.temperature, params.sinkhorn_iterations, params.memax_weight
        )

    def forward(self, anchors: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and entropies.

        The prototypes go in as a parameter: lightly's example hands over `.data`, and there they
        never learn.

        Args:
            anchors: projections (num_anchors * batch, dim), view after view.
            targets: the teacher's projections (batch, dim).
        """
        criterion = partial(self.criterion, target_sharpen_temperature=self.params.sharpening)
        loss = in_float32(criterion, anchors, targets, self.prototypes)
        sharp = sharpen(self._probabilities(targets), self.params.sharpening)
        return loss, entropies(sharp, self._probabilities(anchors))

    @torch.no_grad()
    def _probabilities(self, projections: Tensor) -> Tensor:
        """Return probabilities (rows, num_prototypes), for the figures."""
        unit = functional.normalize(projections.float(), dim=1)
        prototypes = functional.normalize(self.prototypes, dim=1)
        found: Tensor = prototype_probabilities(unit, prototypes, self.params.temperature)
        return found
