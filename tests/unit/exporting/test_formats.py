"""Every format of every backbone it suits: loaded in a clean process, the same features."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench import backbones
from sslbench.backbones.model_info import ModelInfo
from sslbench.core.errors import UserError
from sslbench.evaluation.features.model import plain_view
from sslbench.exporting import formats, loaders
from sslbench.exporting.export import features_of, probes

LOADERS = Path(loaders.__file__).parent
RESNET18 = {"family": "resnet", "depth": "18", "stem": "imagenet", "width": 64, "image_size": 64}
SMALL = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 8, "image_size": 32}
BOTTLENECK = {**SMALL, "depth": "50", "stem": "small_stride2"}
VIT = {"family": "vit", "size": "micro", "patch_size": 4, "image_size": 32, "positions": "sincos"}
ALEXNET = {"family": "alexnet", "image_size": 32}
LAB = {"family": "lab_resnet", "sees": "halves", **{k: SMALL[k] for k in ("depth", "stem")},
       "width": 8, "image_size": 32}  # fmt: skip
CASES = {
    "torchvision-resnet18": ("torchvision", RESNET18),
    "torchvision-small": ("torchvision", SMALL),
    "torchvision-bottleneck": ("torchvision", BOTTLENECK),
    "timm-resnet18": ("timm", RESNET18),
    "timm-vit": ("timm", VIT),
    "onnx-resnet": ("onnx", SMALL),
    "onnx-vit": ("onnx", VIT),
    "onnx-alexnet": ("onnx", ALEXNET),
    "onnx-lab": ("onnx", LAB),
    "safetensors-lab": ("safetensors", LAB),
}


def trained(spec):
    """A backbone whose batch norms are not those of a fresh one, and its description."""
    torch.manual_seed(0)
    backbone = backbones.build(spec)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    backbone.set_normalisation(mean, std)
    with torch.no_grad():
        backbone.train()(torch.randn(8, 3, spec["image_size"], spec["image_size"]))
    info = ModelInfo(
        backbone=spec, layers=backbone.layers, feature_dim=backbone.feature_dim,
        size=spec["image_size"], mean=mean, std=std, labels="none",
    )  # fmt: skip
    return backbone.eval(), info


def written(form, backbone, info, folder):
    """An export without its card's trace."""
    formats.load(form).write(backbone, info, folder)
    for name, target in ((f"{form}.py", "load.py"), ("features.py", "features.py")):
        shutil.copyfile(LOADERS / name, folder / target)
    inputs = {"size": info.size, "mean": info.mean, "std": info.std}
    (folder / "model_card.json").write_text(json.dumps({"input": inputs}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_clean_process_gives_the_same_features(case, tmp_path):
    form, spec = CASES[case]
    backbone, info = trained(spec)
    images = probes(info.size)
    with torch.inference_mode():
        expected = backbone(plain_view(images, info, "cpu")).numpy()
    found = features_of(images, written(form, backbone, info, tmp_path))
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_every_format_names_families_that_exist():
    suited = {family for name in formats.names() for family in formats.load(name).SUITS}
    assert suited == set(backbones.families())


def test_standard_weights_load_into_torchvisions_own_function(tmp_path):
    from safetensors.torch import load_file
    from torchvision.models import resnet18

    backbone, info = trained(RESNET18)
    formats.load("torchvision").write(backbone, info, tmp_path)
    said = resnet18().load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert sorted(said.missing_keys) == ["fc.bias", "fc.weight"]
    assert said.unexpected_keys == []


def test_timm_refuses_a_stem_that_it_lacks(tmp_path):
    backbone, info = trained(SMALL)
    with pytest.raises(UserError, match="timm has no ResNet with stem 'small' and width 8"):
        formats.load("timm").write(backbone, info, tmp_path)


def test_onnx_takes_any_batch(tmp_path):
    import onnxruntime

    backbone, info = trained(SMALL)
    formats.load("onnx").write(backbone, info, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for batch in (1, 5):
        images = np.zeros((batch, 3, 32, 32), np.float32)
        assert session.run(None, {"images": images})[0].shape == (batch, info.feature_dim)


def test_an_export_without_its_loader_says_so(tmp_path):
    (tmp_path / "features.py").write_text("raise SystemExit('no weights here')")
    with pytest.raises(UserError, match="does not load"):
        features_of(probes(8), tmp_path)


def test_loaders_import_nothing_of_ours():
    """Only the format `safetensors` needs sslbench, which its first line says."""
    for path in LOADERS.glob("*.py"):
        needs_us = "sslbench." in path.read_text()
        assert needs_us == (path.stem == "safetensors"), path
