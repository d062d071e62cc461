"""A backbone's transformer with some tokens hidden: left out, or replaced by a mask token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly.models.modules import MaskedVisionTransformerTIMM
from torch import Tensor, nn
from torch.nn import functional

from sslbench.core.errors import UserError

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


class MaskedEncoder:
    """The passes over a transformer that pretraining needs and evaluation does not.

    Not a module: its weights are the backbone's and its mask token is the method's, and a module
    would save both a second time.

    Attributes:
        patch_size: side of a patch in pixels.
        grid_size: patches along a side of the image.
        num_patches: patch tokens of an image.
        num_prefix_tokens: tokens before the patches (the class token).
    """

    def __init__(
        self,
        backbone: nn.Module,
        method: str,
        *,
        mask_token: nn.Parameter | None = None,
        reinitialise: bool = False,
    ) -> None:
        """Wrap a backbone.

        Args:
            backbone: holds timm's transformer.
            method: its name, for messages.
            mask_token: (1, 1, feature_dim), for methods that replace tokens.
            reinitialise: give the backbone MAE's initial weights and fixed sine-cosine positions.

        Raises:
            UserError: the backbone has no transformer.
        """
        vit = _transformer(backbone, method)
        self._encoder = MaskedVisionTransformerTIMM(
            vit,
            mask_token,
            weight_initialization="" if reinitialise else "skip",
            pos_embed_initialization="sincos" if reinitialise else "skip",
        )
        self.patch_size = int(vit.patch_embed.patch_size[0])
        self.grid_size = int(vit.patch_embed.grid_size[0])
        self.num_patches = int(vit.patch_embed.num_patches)
        self.num_prefix_tokens = int(vit.num_prefix_tokens)

    def encode_kept(self, images: Tensor, kept: Tensor) -> Tensor:
        """Return tokens (batch, num_kept, dim) of a pass that sees the tokens kept alone."""
        tokens: Tensor = self._encoder.encode(images, idx_keep=kept)
        return tokens

    def encode_masked(self, images: Tensor, mask: Tensor) -> Tensor:
        """Return all tokens (batch, tokens, dim) of a pass that sees the mask token where told.

        Args:
            images: (batch, channel, size, size).
            mask: (batch, num_patches) bool; prefix tokens are never masked.
        """
        everywhere = functional.pad(mask, (self.num_prefix_tokens, 0))
        tokens: Tensor = self._encoder.encode(images, mask=everywhere)
        return tokens

    def encode(self, images: Tensor) -> Tensor:
        """Return all tokens (batch, tokens, dim) of a pass that sees everything."""
        tokens: Tensor = self._encoder.encode(images)
        return tokens


def _transformer(backbone: nn.Module, method: str) -> VisionTransformer:
    vit: VisionTransformer | None = getattr(backbone, "vit", None)
    if vit is None:
        mend = f"set recipes.{method}.backbone to {{family: vit, ...}}"
        raise UserError("needs a transformer backbone", where=method, mend=mend)
    return vit
