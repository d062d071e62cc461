"""DeepCluster: classify images into the k-means clusters of the network's own features.

Every epoch clusters all features anew and starts a new classifier, as clusters have no lasting
names.

Paper    Caron et al. 2018, https://arxiv.org/abs/1807.05520, eq. 2, section 3.3 and 3.4
Code     https://github.com/facebookresearch/deepcluster/blob/b90f878d87eb3eb361eadc656d028ccfaba92592/main.py
Family   clustering          Views  one
Differs  pooled features are clustered, of training views (authors: fc7, centre crops); the loss
         weighs clusters alike where the authors draw images so; an empty cluster takes over the
         worst-fitted row (authors: splits a large one); the classifier keeps the optimiser and its
         state (authors: a fresh SGD each epoch); no Sobel filter: evaluation feeds the backbone
         colours; batch and optimiser follow the common recipe
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.clustering import euclidean_kmeans, mutual_information
from sslbench.methods.parts.whitening import pca_whiten
from sslbench.objectives.entropy import cluster_entropy
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View

CLASSIFIER_STD = 0.01  # of a new classifier's weights, as in the authors' main.py


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of DeepCluster.

    Attributes:
        views: one view.
        num_clusters: of k-means, and classes of the classifier.
        pca_dim: whitened axes that are clustered; at most the width of the features.
        kmeans_iterations: centroid updates before each epoch.
    """

    views: tuple[View, ...]
    num_clusters: int
    pca_dim: int
    kmeans_iterations: int

    def __post_init__(self) -> None:
        """Refuse more than one view, and sizes that leave nothing to cluster."""
        if sum(view.copies for view in self.views) != 1:
            raise ValueError("views must make one copy")
        if self.num_clusters < 2 or self.pca_dim < 1 or self.kmeans_iterations < 1:
            raise ValueError("needs two clusters, one axis and one iteration at least")


class DeepCluster(Method):
    """Cross entropy to this epoch's clusters, every cluster weighing alike."""

    assignments: Tensor
    weights: Tensor
    agreement: Tensor
    prototype_entropy: Tensor

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        _refuse_sizes(params, backbone.feature_dim, data.num_samples)
        self.pca_dim = params.pca_dim
        self.kmeans_iterations = params.kmeans_iterations
        self.classifier = nn.Linear(backbone.feature_dim, params.num_clusters)
        self.register_buffer("assignments", torch.zeros(data.num_samples, dtype=torch.int64))
        self.register_buffer("weights", torch.ones(params.num_clusters))
        self.register_buffer("agreement", torch.zeros(()))
        self.register_buffer("prototype_entropy", torch.zeros(()))

    @torch.no_grad()
    def on_epoch_start(self, context: EpochContext) -> None:
        """Cluster all features and start a new classifier, in place."""
        features = context.extract(lambda views: self.backbone(views[0]).float())
        rows = functional.normalize(pca_whiten(features, self.pca_dim), dim=1)
        count = len(self.weights)
        found = euclidean_kmeans(rows, count, self.kmeans_iterations, context.generator)
        self.agreement.copy_(mutual_information(self.assignments, found.assignments))
        self.assignments.copy_(found.assignments)
        self.prototype_entropy.copy_(cluster_entropy(found.assignments, count))
        self.weights.copy_(cluster_weights(found.assignments, count))
        self.classifier.weight.normal_(0.0, CLASSIFIER_STD, generator=context.generator)
        self.classifier.bias.zero_()

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the weighted cross entropy, its accuracy, and the clusters' figures."""
        logits = self.classifier(self.backbone(batch.views[0]))  # (batch, num_clusters)
        targets = self.assignments[batch.index]
        loss = in_float32(functional.cross_entropy, logits, targets, self.weights)
        accuracy = (logits.detach().argmax(dim=1) == targets).float().mean()
        parts = {"agreement": self.agreement, "prototype_entropy": self.prototype_entropy}
        return StepOutput(loss, {"accuracy": accuracy, **parts})


def _refuse_sizes(params: Params, feature_dim: int, num_samples: int) -> None:
    if params.num_clusters > num_samples:
        mend = f"give methods.deepcluster.num_clusters at most {num_samples}"
        raise UserError("more clusters than images", where="deepcluster", mend=mend)
    if params.pca_dim > feature_dim:
        mend = f"give methods.deepcluster.pca_dim at most {feature_dim}"
        raise UserError("more axes than features", where="deepcluster", mend=mend)


def cluster_weights(assignments: Tensor, num_clusters: int) -> Tensor:
    """Return weights (num_clusters,) that give every cluster the same sum over its images.

    Over all images they are 1 on average; an empty cluster has no image to weigh.
    """
    sizes = assignments.bincount(minlength=num_clusters)
    return len(assignments) / ((sizes > 0).sum() * sizes.clamp_min(1))


METHOD = DeepCluster
