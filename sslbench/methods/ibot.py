"""iBOT: DINO on crops whose patches are partly hidden, and the teacher's word for each hidden one.

Paper    Zhou et al. 2021, https://arxiv.org/abs/2111.07832, eq. 2 and 3, section 3.2
Code     https://github.com/bytedance/ibot/blob/da316d82636a7a7356835ef224b13d5f3ace0489/main_ibot.py
Family   self-distillation          Views  two global and several small local ones
Differs  the centre of patches averages masked ones only (lightly's loss; authors: all); class and
         patches share one temperature schedule; DINO's differences here hold too
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.masked_encoder import MaskedEncoder
from sslbench.methods.parts.multi_crop import forward_by_size, refuse_crops
from sslbench.methods.parts.self_distillation import (
    CrossViewLoss,
    DistillationParams,
    PatchLoss,
    projection_head,
)
from sslbench.methods.parts.teacher import Teacher
from sslbench.views.policy import View
from sslbench.views.token_masks import BlockMask, block_token_mask


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of iBOT.

    Attributes:
        views: global views first, then local ones.
        mask: what is hidden from the student in global views.
        distillation: heads (one for class and patch tokens), temperatures, centres and teacher.
    """

    views: tuple[View, ...]
    mask: BlockMask
    distillation: DistillationParams

    def __post_init__(self) -> None:
        """Refuse views that leave nothing to compare."""
        refuse_crops(self.views, self.distillation.num_global_views)


class IBOT(Method):
    """DINO's loss on class tokens plus the cross entropy of masked patch tokens."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        del data
        super().__init__(backbone, params.views)
        numbers, self.mask = params.distillation, params.mask
        self.num_global_views = numbers.num_global_views
        self.mask_token = nn.Parameter(torch.zeros(1, 1, backbone.feature_dim))
        self.encoder = MaskedEncoder(backbone, "ibot", mask_token=self.mask_token)
        self.projection_head = projection_head(backbone.feature_dim, numbers)
        self.teacher = Teacher(backbone, self.projection_head, momentum=numbers.teacher_momentum)
        self.teacher_encoder = MaskedEncoder(self.teacher[0], "ibot")
        self.cross_view_loss = CrossViewLoss(numbers)
        self.patch_loss = PatchLoss(numbers)

    @property
    def evaluation_backbone(self) -> Backbone:
        """The teacher's backbone, as in DINO."""
        return cast("Backbone", self.teacher[0])

    def before_step(self, progress: Progress) -> None:
        """Move the teacher."""
        self.teacher.update(progress)

    def after_backward(self, progress: Progress, phase: str) -> None:
        """Hold the prototypes still in the first epochs."""
        self.projection_head.cancel_last_layer_gradients(progress.epoch)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the sum of both losses; each of them, entropies and the share masked."""
        images = torch.cat(batch.views[: self.num_global_views])
        masks = block_token_mask(len(images), self.encoder.grid_size, self.mask, batch.generator)
        with torch.no_grad():  # the teacher sees every patch
            seen = self.teacher_encoder.encode(images)
            targets, patch_targets = self._project(self.teacher[1], seen, masks)
        tokens = self.encoder.encode_masked(images, masks.flatten(1))
        logits, patch_logits = self._project(self.projection_head, tokens, masks)
        if local_views := batch.views[self.num_global_views :]:
            local = self.projection_head(forward_by_size(self.backbone, local_views))
            logits = torch.cat([logits, local])
        class_loss, parts = self.cross_view_loss(targets, logits, progress)
        patch_loss = self.patch_loss(patch_targets, patch_logits, masks, progress)
        parts |= {"class_loss": class_loss.detach(), "patch_loss": patch_loss.detach()}
        parts["share_masked"] = masks.float().mean()
        return StepOutput(class_loss + patch_loss, parts)

    def _project(self, head: nn.Module, tokens: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of class tokens (images, output_dim) and of masked patches (num, ...)."""
        patches = tokens[:, self.encoder.num_prefix_tokens :][masks.flatten(1)]
        logits = head(torch.cat([tokens[:, 0], patches]))
        return logits[: len(tokens)], logits[len(tokens) :]


METHOD = IBOT
