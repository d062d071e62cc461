"""MAE: show a transformer a quarter of the patches and let a small decoder paint the rest.

Paper    He et al. 2021, https://arxiv.org/abs/2111.06377, section 3 and appendix A
Code     https://github.com/facebookresearch/mae/blob/efb2a8062c206524e35e47d04501ed4f544c0ae8/models_mae.py
Family   masked image modelling          Views  one, cropped and flipped
Differs  a small decoder; batch, optimiser and length follow the common recipe of transformers
"""

from __future__ import annotations

from dataclasses import dataclass

from lightly.models.modules import MaskedVisionTransformerDecoderTIMM
from lightly.models.utils import get_at_index, normalize_mean_var, patchify, set_at_index
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.masked_encoder import MaskedEncoder
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View
from sslbench.views.token_masks import random_token_mask


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of MAE.

    Attributes:
        views: one view.
        mask_ratio: share of patches hidden from the encoder, in (0, 1).
        decoder_dim: width of the decoder; a multiple of 4 and of decoder_heads.
        decoder_depth: transformer blocks of the decoder.
        decoder_heads: attention heads of the decoder.
    """

    views: tuple[View, ...]
    mask_ratio: float
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int

    def __post_init__(self) -> None:
        """Refuse a share that hides all or nothing."""
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie in (0, 1), found {self.mask_ratio}")


class MAE(Method):
    """Squared error of painted patches, each normalised by its own mean and variance."""

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        del data
        self.encoder = MaskedEncoder(backbone, "mae", reinitialise=True)
        self.mask_ratio = params.mask_ratio
        self.decoder_embedding = nn.Linear(backbone.feature_dim, params.decoder_dim)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=self.encoder.num_patches,
            embed_dim=params.decoder_dim,
            depth=params.decoder_depth,
            num_heads=params.decoder_heads,
            num_prefix_tokens=self.encoder.num_prefix_tokens,
        )
        self.prediction_head = nn.Linear(params.decoder_dim, 3 * self.encoder.patch_size**2)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the mean squared error over masked patches."""
        images, prefix = batch.views[0], self.encoder.num_prefix_tokens
        kept, masked = random_token_mask(
            len(images), self.encoder.num_patches, prefix, self.mask_ratio, batch.generator
        )
        kept, masked = kept.to(images.device), masked.to(images.device)
        predicted = self._paint(images, kept, masked)
        targets = pixel_targets(images, self.encoder.patch_size, masked - prefix)
        return StepOutput(in_float32(nn.functional.mse_loss, predicted, targets))

    def _paint(self, images: Tensor, kept: Tensor, masked: Tensor) -> Tensor:
        """Return predicted pixels (batch, num_masked, 3 * patch_size^2) of the masked tokens."""
        visible = self.decoder_embedding(self.encoder.encode_kept(images, kept))
        length = self.encoder.num_prefix_tokens + self.encoder.num_patches
        tokens = self.decoder.mask_token.to(visible.dtype).repeat(len(images), length, 1)
        decoded = self.decoder(set_at_index(tokens, kept, visible))
        painted: Tensor = self.prediction_head(get_at_index(decoded, masked))
        return painted


def pixel_targets(images: Tensor, patch_size: int, patches: Tensor) -> Tensor:
    """Return the pixels of chosen patches, each patch with mean 0 and (unbiased) variance 1.

    Args:
        images: (batch, 3, height, width).
        patch_size: side of a patch in pixels.
        patches: (batch, num_chosen) patch indices.

    Returns:
        (batch, num_chosen, 3 * patch_size^2); appendix A, "normalized pixels".
    """
    chosen: Tensor = get_at_index(patchify(images.float(), patch_size), patches)
    normalised: Tensor = normalize_mean_var(chosen, dim=-1)
    return normalised


METHOD = MAE
