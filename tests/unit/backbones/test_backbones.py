"""Every family: shapes, named layers, parity with its library, refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sslbench import backbones
from sslbench.core.errors import UserError

RESNET_TINY = {"family": "resnet", "depth": "tiny", "stem": "small_stride2", "width": 16}
VIT_MICRO = {"family": "vit", "size": "micro", "patch_size": 4, "image_size": 32}
SPECS = [
    (RESNET_TINY | {"image_size": 32}, 128),
    ({"family": "resnet", "depth": 18, "stem": "small", "width": 64, "image_size": 32}, 512),
    ({"family": "resnet", "depth": "34", "stem": "small", "width": 8, "image_size": 32}, 64),
    ({"family": "resnet", "depth": 50, "stem": "imagenet", "width": 16, "image_size": 64}, 512),
    (VIT_MICRO, 96),
    ({"family": "vit", "size": "tiny", "patch_size": 8, "image_size": 32}, 192),
    ({"family": "alexnet", "image_size": 32}, 256),
    ({"family": "alexnet", "image_size": 224}, 256),
    (RESNET_TINY | {"family": "lab_resnet", "sees": "lightness"}, 128),
    (RESNET_TINY | {"family": "lab_resnet", "sees": "halves"}, 128),
]


def images_for(spec: dict[str, object], batch: int = 2) -> Tensor:
    side = int(str(spec.get("image_size") or 32))
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def randomise_norms(network: nn.Module) -> None:
    """Give batch norms statistics, so that a wrong one would show."""
    draw = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if "running" in name or (tensor.ndim == 1 and tensor.is_floating_point()):
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)


@pytest.mark.parametrize(("spec", "feature_dim"), SPECS)
def test_layers_are_named_in_order_and_end_in_the_pooled_feature(spec, feature_dim):
    backbone = backbones.build(spec).eval()
    images = images_for(spec)
    with torch.no_grad():
        pooled, found = backbone(images), backbone.extract(images)
    assert backbone.feature_dim == feature_dim
    assert pooled.shape == (2, feature_dim)
    assert tuple(found) == backbone.layers
    assert torch.equal(found[backbone.layers[-1]], pooled)
    assert all(value.ndim in (2, 4) for value in found.values())
    assert all(torch.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("spec", [spec for spec, _ in SPECS[:6]])
def test_gradient_reaches_every_parameter(spec):
    backbone = backbones.build(spec)
    backbone(images_for(spec, 4)).square().sum().backward()
    without = [name for name, p in backbone.named_parameters() if p.grad is None]
    assert without == []


def test_width_64_with_the_large_stem_is_torchvisions_resnet18():
    from torchvision.models import resnet18

    theirs = resnet18().eval()
    randomise_norms(theirs)
    spec = {"family": "resnet", "depth": 18, "stem": "imagenet", "width": 64}
    ours = backbones.build(spec).eval()
    weights = {name: w for name, w in theirs.state_dict().items() if not name.startswith("fc.")}
    ours.load_state_dict(weights)
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_the_small_stem_is_torchvisions_resnet50_with_its_stem_exchanged():
    from torchvision.models import resnet50

    theirs = resnet50()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    theirs.fc = nn.Identity()
    randomise_norms(theirs)
    spec = {"family": "resnet", "depth": 50, "stem": "small", "width": 64}
    ours = backbones.build(spec).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs.eval()(images))


def test_the_stem_keeps_its_relu():
    """lightly's ResNetGenerator loses it when its children are put in a Sequential (trap T7)."""
    backbone = backbones.build(RESNET_TINY).eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        stem = backbone.extract(images)["stem"]
        before = backbone.bn1(backbone.conv1(images))
    assert (before < 0).any()
    assert torch.equal(stem, before.clamp_min(0))


def test_convolutions_are_drawn_as_torchvision_draws_them():
    spec = {"family": "resnet", "depth": 18, "stem": "small", "width": 64}
    weight = backbones.build(spec).layer4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(("stem", "side"), [("small", 32), ("small_stride2", 16), ("imagenet", 8)])
def test_stems_reduce_as_their_names_say(stem, side):
    backbone = backbones.build(RESNET_TINY | {"stem": stem}).eval()
    assert backbone.extract(torch.randn(1, 3, 32, 32))["stem"].shape == (1, 16, side, side)


def test_vit_class_token_and_patches_pass_the_final_norm():
    """timm built with average pooling would leave `.norm` an identity (trap T12)."""
    backbone = backbones.build(VIT_MICRO).eval()
    assert isinstance(backbone.vit.norm, nn.LayerNorm)
    assert isinstance(backbone.vit.fc_norm, nn.Identity)
    with torch.no_grad():
        found = backbone.extract(torch.randn(2, 3, 32, 32))
        tokens = backbone.vit.norm(_last_tokens(backbone, found, 2))
    assert torch.allclose(found["patch_mean"], tokens.mean(1), atol=1e-6)
    assert torch.allclose(found["cls"].mean(1), torch.zeros(2), atol=1e-5)


def _last_tokens(backbone, found, batch):
    return found["block4"].flatten(2).transpose(1, 2).reshape(batch, 64, backbone.feature_dim)


def test_vit_reads_other_sizes_as_small_crops_are():
    backbone = backbones.build(VIT_MICRO).eval()
    assert backbone(torch.randn(2, 3, 16, 16)).shape == (2, 96)
    assert backbone.extract(torch.randn(2, 3, 16, 16))["block4"].shape == (2, 96, 4, 4)


def test_lightlys_masked_wrapper_sees_the_same_tokens():
    from lightly.models.modules import MaskedVisionTransformerTIMM

    backbone = backbones.build(VIT_MICRO).eval()
    wrapped = MaskedVisionTransformerTIMM(
        backbone.vit, weight_initialization="skip", pos_embed_initialization="skip"
    )
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = wrapped.encode(images)
    assert tokens.shape == (2, 65, 96)
    assert torch.allclose(tokens[:, 0], backbone(images), atol=1e-5)


def test_sincos_positions_are_fixed_and_zero_for_the_class_token():
    vit = backbones.build(VIT_MICRO | {"positions": "sincos"}).vit
    assert not vit.pos_embed.requires_grad
    assert vit.pos_embed[0, 0].abs().sum() == 0
    assert len(torch.unique(vit.pos_embed[0], dim=0)) == 65


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"family": "vgg"}, "known: alexnet, lab_resnet, resnet, vit"),
        ({}, "known: alexnet, lab_resnet, resnet, vit"),
        (RESNET_TINY | {"depth": 19}, "known: tiny, 18, 34, 50"),
        (RESNET_TINY | {"stem": "huge"}, "known: small, small_stride2, imagenet"),
        (RESNET_TINY | {"width": 0}, "width must be at least 1"),
        (RESNET_TINY | {"colour": 1}, "unknown key 'colour'"),
        ({"family": "resnet", "depth": 18, "stem": "small"}, "missing key 'width'"),
        (VIT_MICRO | {"size": "vast"}, "known: micro, tiny, small"),
        (VIT_MICRO | {"positions": "none"}, "known: learned, sincos"),
        (VIT_MICRO | {"patch_size": 5}, "do not tile"),
        ({"family": "alexnet", "image_size": 4}, "too small"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_there_is(spec, says):
    with pytest.raises(UserError, match=says):
        backbones.build(spec)


def test_the_same_seed_gives_the_same_weights():
    for spec, _ in SPECS[:5:4]:
        states = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            states.append(torch.cat([p.flatten() for p in backbones.build(spec).parameters()]))
        assert torch.equal(states[0], states[1])
        assert not torch.equal(states[0], states[2])


@pytest.mark.slow
def test_timm_is_imported_only_for_a_vit():
    code = (
        "import sys; from sslbench.backbones import build;"
        f"build({RESNET_TINY!r}); assert 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_resnet_does_not_pay_for_importing_torchvision():
    code = (
        "import sys; from sslbench.backbones import build;"
        f"build({RESNET_TINY!r}); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize(("spec", "feature_dim"), SPECS)
def test_maps_are_the_layers_before_pooling(spec, feature_dim):
    backbone = backbones.build(spec).eval()
    images = images_for(spec)
    with torch.no_grad():
        maps, layers = backbone.maps(images), backbone.extract(images)
    assert all(value.ndim == 4 for value in maps.values())
    assert tuple(maps) == tuple(name for name in backbone.layers if name in maps)
    for name, value in maps.items():
        as_layer = value if layers[name].ndim == 4 else value.mean(dim=(2, 3))
        assert torch.allclose(as_layer, layers[name], atol=1e-6)
    if spec["family"] != "vit":
        with torch.no_grad():
            assert torch.equal(backbone.feature_map(images), maps[list(maps)[-1]])
