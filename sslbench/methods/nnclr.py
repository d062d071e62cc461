"""NNCLR: the nearest past projection of a view stands for it as the other view's positive.

Paper    Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548, eq. 2 to 4 and algorithm 1
Code     none by the authors; algorithm 1 is followed
Family   contrastive          Views  two, drawn alike (paper: BYOL's)
Differs  the support set begins as random unit rows (the paper does not say); batch and optimiser
         follow the common recipe, as for every method here
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.models.modules import NNCLRPredictionHead, NNCLRProjectionHead
from torch import Tensor
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.queue import Queue
from sslbench.objectives.info_nce import accuracy, batch_cosines, info_nce
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of NNCLR.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's hidden layers.
        output_dim: width of projections and predictions.
        prediction_hidden_dim: width of the prediction head's hidden layer.
        queue_size: past projections that make up the support set.
        temperature: divides the cosines.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    prediction_hidden_dim: int
    queue_size: int
    temperature: float

    def __post_init__(self) -> None:
        """Refuse an empty support set."""
        if self.queue_size < 1:
            raise ValueError(f"queue_size must be at least 1, found {self.queue_size}")


class NNCLR(Method):
    """InfoNCE of neighbours and predictions of the batch, both ways."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        width = params.output_dim
        self.projection_head = NNCLRProjectionHead(backbone.feature_dim, params.hidden_dim, width)
        self.prediction_head = NNCLRPredictionHead(width, params.prediction_hidden_dim, width)
        self.queue = Queue(params.queue_size, width)
        self.temperature = params.temperature

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean loss of both directions; the first view joins the support set."""
        first, second = (self.projection_head(self.backbone(view)) for view in batch.views)
        own = torch.arange(len(first), device=first.device)
        forth, back = self._cosines(first, second), self._cosines(second, first)
        loss = info_nce(forth, own, self.temperature) + info_nce(back, own, self.temperature)
        parts = {"accuracy": accuracy(forth, own), "queue_noise": self.queue.noise_share()}
        self.queue.push(first)
        return StepOutput(loss / 2, parts)

    def _cosines(self, projections: Tensor, others: Tensor) -> Tensor:
        """Return cosines (batch, batch) of one view's neighbours and the other's predictions."""
        neighbours = in_float32(nearest_rows, projections, self.queue.rows)
        return in_float32(batch_cosines, neighbours, self.prediction_head(others))


@torch.no_grad()
def nearest_rows(rows: Tensor, bank: Tensor) -> Tensor:
    """Return each row's nearest row of a bank (num_rows, dim) of unit rows, by cosine."""
    return bank[(functional.normalize(rows, dim=1) @ bank.T).argmax(dim=1)]


METHOD = NNCLR
