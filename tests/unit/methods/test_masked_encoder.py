"""The masked passes over a backbone's transformer, against the plain pass."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sslbench import backbones
from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.methods.parts.masked_anchors import AnchorParams, MaskedAnchors
from sslbench.methods.parts.masked_encoder import MaskedEncoder

VIT = {"family": "vit", "size": "micro", "patch_size": 8, "image_size": 32}
RESNET = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 8}


def build() -> Backbone:
    torch.manual_seed(0)
    return backbones.build(VIT).eval()


def images(batch: int = 3) -> Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_hiding_nothing_is_the_plain_pass() -> None:
    backbone = build()
    encoder = MaskedEncoder(backbone, "ibot", mask_token=nn.Parameter(torch.ones(1, 1, 96)))
    plain = backbone.vit.forward_features(images())
    none = torch.zeros(3, 16, dtype=torch.bool)
    all_tokens = torch.arange(17).expand(3, -1)
    for tokens in (
        encoder.encode(images()),
        encoder.encode_masked(images(), none),
        encoder.encode_kept(images(), all_tokens),
    ):
        assert torch.allclose(tokens, plain, atol=1e-5)


@torch.no_grad()
def test_the_weights_stay_as_they_were_unless_told() -> None:
    backbone = build()
    before = copy.deepcopy(backbone.state_dict())
    MaskedEncoder(backbone, "ibot")
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert backbone.vit.pos_embed.requires_grad
    MaskedEncoder(backbone, "mae", reinitialise=True)
    assert not backbone.vit.pos_embed.requires_grad


@torch.no_grad()
def test_a_masked_patch_is_out_of_sight_and_a_visible_one_is_not() -> None:
    encoder = MaskedEncoder(build(), "ibot", mask_token=nn.Parameter(torch.ones(1, 1, 96)))
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 5] = True  # the second row's second patch
    before, changed = images(1), images(1)
    changed[:, :, 8:16, 8:16] += 1.0
    assert torch.equal(encoder.encode_masked(before, mask), encoder.encode_masked(changed, mask))
    mask = mask.roll(1, dims=1)
    after = encoder.encode_masked(changed, mask)
    assert not torch.allclose(encoder.encode_masked(before, mask), after)


def test_a_method_saves_the_wrapped_weights_once() -> None:
    method = nn.Module()
    method.backbone = build()
    method.encoder = MaskedEncoder(method.backbone, "ibot")
    assert all(name.startswith("backbone.") for name in method.state_dict())
    twin = copy.deepcopy(method)
    assert twin.encoder._encoder.vit is twin.backbone.vit


def test_a_convolutional_backbone_is_refused_with_the_mend() -> None:
    with pytest.raises(UserError, match="needs a transformer backbone") as error:
        MaskedEncoder(backbones.build(RESNET), "msn")
    assert "recipes.msn.backbone" in str(error.value)


def test_anchors_see_what_their_masks_leave() -> None:
    encoder = MaskedEncoder(build(), "msn")
    anchors = MaskedAnchors(encoder, AnchorParams(num_random=1, mask_ratio=0.25, focal_side=0.5))
    seen: list[tuple[int, ...]] = []
    encode = encoder.encode_kept
    encoder.encode_kept = lambda shown, kept: seen.append(kept.shape) or encode(shown, kept)
    found = anchors.class_tokens([images()] * 3, torch.Generator())
    assert seen == [(3, 1 + 12), (6, 1 + 4)]
    assert [tuple(tokens.shape) for tokens in found] == [(3, 96), (6, 96)]


@pytest.mark.parametrize(("num_random", "kinds"), [(0, 1), (2, 1), (1, 2)])
def test_a_kind_of_mask_may_be_absent(num_random: int, kinds: int) -> None:
    params = AnchorParams(num_random=num_random, mask_ratio=0.25, focal_side=0.5)
    anchors = MaskedAnchors(MaskedEncoder(build(), "msn"), params)
    assert len(anchors.class_tokens([images()] * 2, torch.Generator())) == kinds


@pytest.mark.parametrize("changes", [{"mask_ratio": 1.0}, {"focal_side": 0.0}])
def test_masks_that_hide_all_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        AnchorParams(**({"num_random": 1, "mask_ratio": 0.25, "focal_side": 0.5} | changes))
