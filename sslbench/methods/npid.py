"""NPID (instance discrimination): tell an image's remembered feature from those of other images.

Paper    Wu et al. 2018, https://arxiv.org/abs/1805.01978, eq. 4 to 8
Code     https://github.com/zhirongw/lemniscate.pytorch/blob/06c2d49de8a05a2034a0df2942f9121621f49dc0/lib/NCEAverage.py
Family   contrastive          Views  one
Differs  the bank starts with the untrained network's features (random rows took longer than our
         budget to forget); negatives are never the image itself; Z is estimated a second time
         after the first epoch; no proximal term (eq. 9)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.bank_nce import BankNCE, compare, own_and_others, own_row_wins
from sslbench.methods.parts.memory import IndexBank
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of NPID.

    Attributes:
        views: one view.
        output_dim: width of the projections and of the bank.
        temperature: divides the cosines.
        num_negatives: other images' rows that each image is held against.
        bank_momentum: share of the old row kept when an image comes by again, in [0, 1).
    """

    views: tuple[View, ...]
    output_dim: int
    temperature: float
    num_negatives: int
    bank_momentum: float

    def __post_init__(self) -> None:
        """Refuse a bank that never learns."""
        if not 0 <= self.bank_momentum < 1:
            raise ValueError(f"bank_momentum must lie in [0, 1), found {self.bank_momentum}")


class NPID(Method):
    """Noise-contrastive estimation against a bank of one row an image."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.num_negatives = params.num_negatives
        self.projection_head = nn.Linear(backbone.feature_dim, params.output_dim)
        self.bank = IndexBank(data.num_samples, params.output_dim, momentum=params.bank_momentum)
        self.criterion = BankNCE(data.num_samples, params.temperature)

    def on_epoch_start(self, context: EpochContext) -> None:
        """Fill the bank before the first epoch; estimate Z then, and again a pass later."""
        if context.progress.step == 0:
            self.bank.fill(context.extract(lambda views: self._project(views[0])))
        if context.progress.epoch <= 1:
            self.criterion.forget()

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the NCE loss and how often the own row was nearest; remember the projections."""
        projections = self._project(batch.views[0])
        candidates = own_and_others(
            batch.index, len(self.bank.rows), self.num_negatives, batch.generator
        )
        similarities = in_float32(compare, projections, self.bank.read(candidates))
        loss = in_float32(self.criterion, similarities)
        self.bank.write(batch.index, projections.detach())
        return StepOutput(loss, {"accuracy": own_row_wins(similarities)})

    def _project(self, view: Tensor) -> Tensor:
        """Return unit projections (batch, output_dim)."""
        projections = self.projection_head(self.backbone(view))
        return functional.normalize(projections.float(), dim=1)


METHOD = NPID
