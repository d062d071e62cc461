"""SeLa: classify images by labels that the network gave them, all labels equally often.

A balanced assignment of all images to clusters is solved now and then by Sinkhorn on the
network's own predictions; in between it is learned like any other classification, by several heads.

Paper    Asano et al. 2020, https://arxiv.org/abs/1911.05371, eq. 5 to 8, section 3.3
Code     https://github.com/yukimasano/self-label/blob/5f7fce22f603cf6e6666c59853af1f862c6505a2/main.py
Family   clustering          Views  one
Differs  labels are solved at the starts of epochs only (authors: within them too), by a pass in
         eval mode, and rounded to counts that differ by at most one (authors: largest entry);
         the schedule ends with the last epoch (authors: 1 % after it); batch and optimiser
         follow the common recipe
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.self_labels import round_to_balance, transport_plan
from sslbench.objectives.entropy import prototype_entropy
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SeLa.

    Attributes:
        views: one view.
        num_heads: classifiers, each with its own labels.
        num_clusters: labels of each head.
        sharpness: exponent of the probabilities in the assignment (the paper's lambda).
        tolerance: the assignment's sums may be off by about this share, over all images.
        num_solutions: how often labels are solved anew; twice within an epoch counts once.
        schedule_power: 1 spreads the solutions evenly, 2 puts most of them early.
    """

    views: tuple[View, ...]
    num_heads: int
    num_clusters: int
    sharpness: float
    tolerance: float
    num_solutions: int
    schedule_power: float

    def __post_init__(self) -> None:
        """Refuse more than one view, and numbers that give nothing to learn."""
        if sum(view.copies for view in self.views) != 1:
            raise ValueError("views must make one copy")
        if self.num_clusters < 2 or min(self.num_heads, self.num_solutions) < 1:
            raise ValueError("needs two clusters, one head and one solution at least")
        if min(self.sharpness, self.tolerance, self.schedule_power) <= 0:
            raise ValueError("sharpness, tolerance and schedule_power must be above 0")


class SeLa(Method):
    """Cross entropy to balanced self-labels, mean over heads."""

    labels: Tensor

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        if params.num_clusters > data.num_samples:
            mend = f"give methods.sela.num_clusters at most {data.num_samples}"
            raise UserError("more clusters than images", where="sela", mend=mend)
        self.params = params
        self.heads = nn.ModuleList(
            nn.Linear(backbone.feature_dim, params.num_clusters) for _ in range(params.num_heads)
        )
        empty = torch.zeros(params.num_heads, data.num_samples, dtype=torch.int64)
        self.register_buffer("labels", empty)

    def on_epoch_start(self, context: EpochContext) -> None:
        """Solve every head's labels, if the schedule says so."""
        progress = context.progress
        num_epochs = max(1, progress.total_steps // progress.steps_per_epoch)
        planned = epochs_of(self.params.num_solutions, self.params.schedule_power, num_epochs)
        if progress.epoch not in planned:
            return
        features = context.extract(lambda views: self.backbone(views[0]).float())
        with torch.no_grad():
            for head, labels in zip(self.heads, self.labels, strict=True):
                logits = in_float32(head, features)
                labels.copy_(self_labels(logits, self.params.sharpness, self.params.tolerance))

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean over heads of cross entropy, the share of labels found, and an entropy.

        It is that of the predictions: labels are balanced by force, whatever the network.
        """
        features = self.backbone(batch.views[0])
        logits = torch.cat([head(features) for head in self.heads])  # (heads * batch, clusters)
        targets = self.labels[:, batch.index].flatten()
        loss = in_float32(functional.cross_entropy, logits, targets)
        accuracy = (logits.detach().argmax(dim=1) == targets).float().mean()
        predicted = functional.softmax(logits.detach().float(), dim=1)
        used = prototype_entropy(predicted.view(len(self.heads), len(features), -1))
        return StepOutput(loss, {"accuracy": accuracy, "prototype_entropy": used})


def epochs_of(num_solutions: int, power: float, num_epochs: int) -> set[int]:
    """Return the epochs before which labels are solved: epochs * (i / n)^power, rounded down."""
    return {int(num_epochs * i**power / num_solutions**power) for i in range(num_solutions)}


def self_labels(logits: Tensor, sharpness: float, tolerance: float) -> Tensor:
    """Return balanced labels (num_samples,) of logits (num_samples, num_clusters)."""
    log_scores = sharpness * functional.log_softmax(logits.double(), dim=1)
    return round_to_balance(transport_plan(log_scores, tolerance))


METHOD = SeLa
