"""SimMIM: hide large squares of an image and read their raw pixels off a transformer's tokens.

Paper    Xie et al. 2021, https://arxiv.org/abs/2111.09886, section 3
Code     https://github.com/microsoft/SimMIM/blob/0e7174608f5105f3d573f67724008c89b23b7fa2/models/simmim.py
Family   masked image modelling          Views  one, cropped and flipped
Differs  MAE's initial weights and fixed sine-cosine positions (authors: a relative position bias
         shared by all blocks); no drop path; the rate falls along a cosine, not in a step; batch,
         optimiser and length follow the common recipe of transformers
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightly.models.utils import patchify
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.masked_encoder import MaskedEncoder
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View
from sslbench.views.token_masks import unit_token_mask


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of SimMIM.

    Attributes:
        views: one view.
        mask_ratio: share of units hidden, in (0, 1); rounded up to whole units.
        mask_unit_px: side of a unit in pixels; a multiple of the patch that divides the image.
    """

    views: tuple[View, ...]
    mask_ratio: float
    mask_unit_px: int

    def __post_init__(self) -> None:
        """Refuse a share that hides all or nothing, and units without pixels."""
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie in (0, 1), found {self.mask_ratio}")
        if self.mask_unit_px < 1:
            raise ValueError(f"mask_unit_px must be at least 1, found {self.mask_unit_px}")


class SimMIM(Method):
    """Absolute error of the pixels of masked patches, predicted by one linear layer."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, backbone.feature_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.encoder = MaskedEncoder(
            backbone, "simmim", mask_token=self.mask_token, reinitialise=True
        )
        self.mask_ratio = params.mask_ratio
        self.unit = _patches_per_unit(params.mask_unit_px, self.encoder.patch_size, data.image_size)
        self.prediction_head = nn.Linear(backbone.feature_dim, 3 * self.encoder.patch_size**2)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean absolute error over masked pixels; the share masked, the spread."""
        images = batch.views[0]
        mask = unit_token_mask(
            len(images), self.encoder.grid_size, self.unit, self.mask_ratio, batch.generator
        ).flatten(1)
        tokens = self.encoder.encode_masked(images, mask)
        predicted = self.prediction_head(tokens[:, self.encoder.num_prefix_tokens :])
        targets = patchify(images, self.encoder.patch_size)
        loss = in_float32(masked_absolute_error, predicted, targets, mask)
        spread = predicted.detach().float().std(dim=(0, 1)).mean()
        return StepOutput(loss, {"share_masked": mask.float().mean(), "predicted_std": spread})


def masked_absolute_error(predicted: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of |predicted - targets| over the values of masked patches.

    Args:
        predicted: (batch, num_patches, values).
        targets: the same shape.
        mask: (batch, num_patches) bool, with at least one patch masked.
    """
    errors = (predicted - targets).abs().mean(dim=2)
    return (errors * mask).sum() / mask.sum()


def _patches_per_unit(unit_px: int, patch_size: int, image_size: int) -> int:
    """Return how many patches lie along a side of a unit.

    Raises:
        UserError: units that do not consist of patches or do not tile the image.
    """
    if unit_px % patch_size or image_size % unit_px:
        what = f"units of {unit_px} px do not fit patches of {patch_size} px in {image_size} px"
        mend = "set methods.simmim.mask_unit_px to a multiple of the patch that divides the image"
        raise UserError(what, where="simmim", mend=mend)
    return unit_px // patch_size


METHOD = SimMIM
