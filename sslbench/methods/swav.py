"""SwAV: from one view, predict the prototypes that a balanced code gives to another view.

Codes come from Sinkhorn over the batch, and a queue of earlier projections where batches are small.

Paper    Caron et al. 2020, https://arxiv.org/abs/2006.09882, eq. 2 to 5, appendix A
Code     https://github.com/facebookresearch/swav/blob/04b8f4310a21ddd92af7e2b8f2ea2ef501ce7158/main_swav.py
Family   clustering          Views  global ones, which give codes, then smaller local ones, if any
Differs  the queue fills from the first step, to be full where its use starts; batch and optimiser
         follow the common recipe
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.multi_crop import count_global, forward_by_size
from sslbench.methods.parts.prototypes import Prototypes
from sslbench.methods.parts.queue import Queue
from sslbench.objectives.entropy import prototype_entropy
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SwAV.

    Attributes:
        views: at least two copies in all; those of the first one's size come first and give codes.
        hidden_dim: width of the projection head's hidden layer.
        output_dim: width of the projections.
        num_prototypes: unit vectors that projections are compared with.
        frozen_epochs: epochs at the start during which the prototypes do not move.
        temperature: divides the cosines in the prediction.
        sinkhorn_epsilon: divides the cosines in the codes; the smaller, the harder the codes.
        sinkhorn_iterations: normalisations of prototypes and of images, in turn.
        queue_size: projections remembered of each global view, or null for no queue.
        queue_start_fraction: share of training after which codes see the queue; null without one.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    num_prototypes: int
    frozen_epochs: int
    temperature: float
    sinkhorn_epsilon: float
    sinkhorn_iterations: int
    queue_size: int | None
    queue_start_fraction: float | None

    def __post_init__(self) -> None:
        """Refuse a lone view, and half a queue."""
        if sum(view.copies for view in self.views) < 2:
            raise ValueError("views must make at least two copies: one predicts another's code")
        if (self.queue_size is None) != (self.queue_start_fraction is None):
            raise ValueError("give both queue_size and queue_start_fraction, or null for both")


class SwAV(Method):
    """Cross entropy between the codes of global views and the predictions of all others."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.params = params
        self.num_global = count_global(params.views, data.image_size, "swav")
        dim = params.output_dim
        self.projection_head = SwaVProjectionHead(backbone.feature_dim, params.hidden_dim, dim)
        self.prototypes = Prototypes(params.num_prototypes, dim, frozen_epochs=params.frozen_epochs)
        self.criterion = SwaVLoss(
            params.temperature, params.sinkhorn_iterations, params.sinkhorn_epsilon
        )
        sizes = [params.queue_size] * self.num_global if params.queue_size else []
        self._queues = nn.ModuleList(Queue(size, dim) for size in sizes)

    @property
    def queues(self) -> list[Queue]:
        """One queue a global view, or none."""
        return cast("list[Queue]", list(self._queues))

    def before_step(self, progress: Progress) -> None:
        """Bring the prototypes to unit length."""
        self.prototypes.normalise()

    def after_backward(self, progress: Progress, phase: str) -> None:
        """Hold the prototypes at first."""
        self.prototypes.freeze(progress)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the swapped prediction loss; remember the global views' projections."""
        features = forward_by_size(self.backbone, batch.views)
        projections = functional.normalize(self.projection_head(features).float(), dim=1)
        cosines = self.prototypes(projections)  # (num_views * batch, num_prototypes)
        queued = self._queued(progress, len(batch.index))
        loss = in_float32(self._swapped, *cosines.chunk(len(batch.views)), *queued)
        for queue, rows in zip(self.queues, projections.chunk(len(batch.views)), strict=False):
            queue.push(rows.detach())
        predicted = functional.softmax(cosines.detach() / self.params.temperature, dim=1)
        return StepOutput(loss, {"prototype_entropy": prototype_entropy(predicted)})

    def _swapped(self, *cosines: Tensor) -> Tensor:
        """Return the loss of every view's cosines, followed by those of the queues, if any."""
        count = sum(view.copies for view in self.views)
        seen, local = cosines[: self.num_global], cosines[self.num_global : count]
        loss: Tensor = self.criterion(list(seen), list(local), list(cosines[count:]) or None)
        return loss.squeeze()

    @torch.no_grad()
    def _queued(self, progress: Progress, batch_size: int) -> list[Tensor]:
        """Return each queue's cosines (queue_size, num_prototypes), or nothing before its time.

        Rows not written yet would weigh on the codes, hence the wait until every one is.
        """
        start = self.params.queue_start_fraction or 0.0
        is_full = progress.step * batch_size >= (self.params.queue_size or 0)
        is_used = is_full and progress.fraction >= start
        return [self.prototypes(queue.rows) for queue in self.queues] if is_used else []


METHOD = SwAV
