"""DeepCluster-v2: predict the cluster of last epoch's projection; k-means redraws them each epoch.

Paper    Caron et al. 2020, https://arxiv.org/abs/2006.09882, appendix C ("DeepCluster-v2")
Code     https://github.com/facebookresearch/swav/blob/04b8f4310a21ddd92af7e2b8f2ea2ef501ce7158/main_deepclusterv2.py
Family   clustering          Views  two, drawn alike
Differs  empty clusters take over the worst-fitted row (the authors keep the old centroid); the
         first bank is filled by a pass in eval mode; prototypes are buffers, not parameters
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightly.models.modules import SwaVProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.clustering import ClusterBank
from sslbench.methods.parts.memory import IndexBank
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of DeepCluster-v2.

    Attributes:
        views: two copies in all.
        hidden_dim: width of the projection head's hidden layer.
        output_dim: width of the projections.
        num_prototypes: clusters of each prototype set; sets take the views' banks in turn.
        temperature: divides the cosines.
        kmeans_iterations: centroid updates before each epoch.
    """

    views: tuple[View, ...]
    hidden_dim: int
    output_dim: int
    num_prototypes: tuple[int, ...]
    temperature: float
    kmeans_iterations: int


class DeepClusterV2(Method):
    """Cross entropy to the clusters of the last epoch's projections."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        if max(params.num_prototypes) > data.num_samples:
            mend = f"give methods.deepclusterv2.num_prototypes at most {data.num_samples}"
            raise UserError("more prototypes than images", where="deepclusterv2", mend=mend)
        self.projection_head = SwaVProjectionHead(
            backbone.feature_dim, params.hidden_dim, params.output_dim
        )
        self.temperature = params.temperature
        self.kmeans_iterations = params.kmeans_iterations
        num_views = sum(view.copies for view in params.views)
        size = (data.num_samples, params.output_dim)
        self._banks = nn.ModuleList(IndexBank(*size) for _ in range(num_views))
        self._clusterings = nn.ModuleList(
            ClusterBank(size[0], count, size[1]) for count in params.num_prototypes
        )

    @property
    def banks(self) -> list[IndexBank]:
        """One bank a view."""
        return cast("list[IndexBank]", list(self._banks))

    @property
    def clusterings(self) -> list[ClusterBank]:
        """One clustering a prototype set."""
        return cast("list[ClusterBank]", list(self._clusterings))

    def on_epoch_start(self, context: EpochContext) -> None:
        """Fill the banks before the first epoch; redraw every prototype set."""
        if context.progress.step == 0:
            rows = context.extract(lambda views: torch.cat([*self._project(views)], dim=1))
            for bank, part in zip(self.banks, rows.chunk(len(self.banks), dim=1), strict=True):
                bank.fill(part)
        for position, clustering in enumerate(self.clusterings):
            bank = self.banks[position % len(self.banks)]
            clustering.refresh(bank.rows, self.kmeans_iterations, context.generator)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the means over prototype sets of loss and entropy; remember the projections."""
        views = self._project(batch.views)
        projections = torch.cat([*views])  # (num_views * batch, output_dim), unit
        losses = [self._loss(projections, clusters, batch.index) for clusters in self.clusterings]
        for bank, rows in zip(self.banks, views, strict=True):
            bank.write(batch.index, rows.detach())
        entropies = [clusters.prototype_entropy for clusters in self.clusterings]
        parts = {"prototype_entropy": torch.stack(entropies).mean()}
        return StepOutput(torch.stack(losses).mean(), parts)

    def _project(self, views: list[Tensor]) -> tuple[Tensor, ...]:
        """Return unit projections (batch, output_dim) of each view."""
        projections = self.projection_head(self.backbone(torch.cat(views)))
        return functional.normalize(projections.float(), dim=1).chunk(len(views))

    def _loss(self, projections: Tensor, clusters: ClusterBank, index: Tensor) -> Tensor:
        targets = clusters.assignments[index].repeat(len(self.banks))
        return in_float32(cluster_loss, projections, clusters.centroids / self.temperature, targets)


def cluster_loss(projections: Tensor, prototypes: Tensor, targets: Tensor) -> Tensor:
    """Return the cross entropy of projections . prototypes to the target cluster.

    Args:
        projections: (rows, dim).
        prototypes: (num_clusters, dim), divided by the temperature.
        targets: (rows,) cluster of each row.
    """
    return functional.cross_entropy(projections @ prototypes.T, targets)


METHOD = DeepClusterV2
