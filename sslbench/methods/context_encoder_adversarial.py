"""Context encoder with an adversary: the painted centre must also fool a discriminator.

Paper    Pathak et al. 2016, https://arxiv.org/abs/1604.07379, eq. 2 and 3
Code     https://github.com/pathak22/context-encoder/blob/defa69a94c12737e70b74712852e98d323795702/train.lua
Family   pretext          Views  one, flipped
Differs  a 1x1 bottleneck in place of the channel-wise layer; centre block only; the generator's
         adversarial loss is the non-saturating one, as in the authors' code
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.heads.discriminator import BlockDiscriminator
from sslbench.methods.base import (
    DataInfo,
    Method,
    ParameterGroup,
    Progress,
    StepOutput,
    ViewBatch,
    split_weight_decay,
)
from sslbench.methods.parts.inpainting import BlockParams, CentreBlock
from sslbench.objectives.adversarial import discriminator_loss, generator_loss
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of the adversarial context encoder.

    Attributes:
        views: one view.
        block: what is cut out and what paints it.
        adversarial_weight: share of the adversarial loss; 0 is the L2 method, bit for bit.
        discriminator_dim: width of the discriminator's first layer.
        discriminator_lr_factor: its learning rate as a share of the generator's.
    """

    views: tuple[View, ...]
    block: BlockParams
    adversarial_weight: float
    discriminator_dim: int
    discriminator_lr_factor: float


class ContextEncoderAdversarial(Method):
    """Squared error and a game: first the discriminator steps, then backbone and decoder."""

    phases = ("discriminator", "generator")

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.block = CentreBlock(backbone, params.block, data.image_size)
        self.discriminator = BlockDiscriminator(self.block.side, params.discriminator_dim)
        self.adversarial_weight = params.adversarial_weight
        self.discriminator_lr_factor = params.discriminator_lr_factor
        self._painted: list[tuple[Tensor, Tensor]] = []  # (index, block); lives within one step

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the discriminator's loss, or the weighted sum of error and adversary."""
        images = batch.views[0]
        if phase == "discriminator":
            painted = self.block.paint(self.backbone, images)
            self._painted.append((batch.index, painted))
            return self._judge(self.block.cut(images), painted.detach())
        painted = self._reuse(batch)
        error = self.block.error(painted, images)
        fooled = in_float32(generator_loss, self.discriminator(painted))
        loss = (1.0 - self.adversarial_weight) * error + self.adversarial_weight * fooled
        parts = {"reconstruction": error.detach(), "adversarial": fooled.detach()}
        return StepOutput(loss, parts)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the discriminator's groups, and those of backbone and decoder."""
        painters = nn.ModuleList([self.backbone, self.block])
        return [
            *split_weight_decay(
                self.discriminator, phase="discriminator", lr_factor=self.discriminator_lr_factor
            ),
            *split_weight_decay(painters, phase="generator"),
        ]

    def _judge(self, real: Tensor, made: Tensor) -> StepOutput:
        """Return the discriminator's loss on true and painted blocks."""
        return StepOutput(
            in_float32(discriminator_loss, self.discriminator(real), self.discriminator(made))
        )

    def _reuse(self, batch: ViewBatch) -> Tensor:
        """Return the block painted in the discriminator's phase of this step, graph and all.

        Its weights have not moved since, and one pass a step keeps the batch norms' statistics
        those of the L2 method.
        """
        for position, (index, painted) in enumerate(self._painted):
            if index is batch.index:
                del self._painted[: position + 1]
                return painted
        return self.block.paint(self.backbone, batch.views[0])


METHOD = ContextEncoderAdversarial
