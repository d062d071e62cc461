"""Context encoder, L2: paint the missing centre of an image from what surrounds it.

Paper    Pathak et al. 2016, https://arxiv.org/abs/1604.07379, eq. 1
Code     https://github.com/pathak22/context-encoder/blob/defa69a94c12737e70b74712852e98d323795702/train.lua
Family   pretext          Views  one, flipped
Differs  a 1x1 bottleneck in place of the channel-wise layer; centre block only
"""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.inpainting import BlockParams, CentreBlock
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of the context encoder.

    Attributes:
        views: one view.
        block: what is cut out and what paints it.
    """

    views: tuple[View, ...]
    block: BlockParams


class ContextEncoder(Method):
    """Squared error of the painted centre, its visible ring weighing more."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.block = CentreBlock(backbone, params.block, data.image_size)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the weighted squared error of the painted block."""
        images = batch.views[0]
        return StepOutput(self.block.error(self.block.paint(self.backbone, images), images))


METHOD = ContextEncoder
