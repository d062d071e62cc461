"""The twelve sets of SimCLR's transfer table, from made-up files to their own measure."""

from dataclasses import replace

import pytest
import yaml

from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset
from sslbench.evaluation.features.extract import extract_features
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols import finetune, linear
from sslbench.evaluation.protocols.parts.finetuning import Params
from sslbench.evaluation.protocols.parts.probe import run_probe
from sslbench.evaluation.protocols.parts.transfer import run_transfer
from sslbench.presets import compose
from sslbench.views.policy import Crop
from tests import layouts

PRESET = yaml.safe_load(compose("transfer12", ["grid.transfers=[finetune]"]))
MEASURES = {  # Kornblith et al. 2019, table 1
    "food101": "top1", "cifar10": "top1", "cifar100": "top1", "birdsnap": "top1", "sun397": "top1",
    "stanford_cars": "top1", "fgvc_aircraft": "mean_per_class", "voc2007": "map_11point",
    "dtd": "top1", "oxford_pets": "mean_per_class", "caltech101": "mean_per_class",
    "flowers102": "mean_per_class",
}  # fmt: skip


def test_the_preset_has_the_twelve():
    assert PRESET["grid"]["targets"] == list(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_a_set_is_prepared_probed_and_tuned(name, checkpoint_dir, tmp_path, monkeypatch):
    layouts.accept_made_up_files(monkeypatch)
    layouts.make(name, tmp_path / "root")
    block = {**PRESET["data"][name], "root": str(tmp_path / "root")}
    if block.get("val_fraction"):
        block["val_fraction"] = 0.25  # enough for an image a class
    info = prepare(name, block, tmp_path / "data")
    assert info["metric"] == MEASURES[name]
    for result in (probe(checkpoint_dir, tmp_path), tune(checkpoint_dir, tmp_path)):
        headlines = [row.metric for row in result.measurements if row.role == "headline"]
        assert MEASURES[name] in headlines
        assert all(0 <= row.value <= 1 for row in result.measurements)
        assert len(result.test_reads) == 1


def probe(checkpoint_dir, tmp_path):
    backbone, info = load_backbone(checkpoint_dir)
    for split in ("train", "val", "test"):
        extract_features(
            backbone, Dataset.open(tmp_path / "data").split(split), info, tmp_path / "features",
            max_dim=16, batch_size=100, device="cpu", precision="fp32",
        )  # fmt: skip
    params = replace(linear.Params(**PRESET["probe"]["linear"]), num_c=2)
    return run_probe(linear, tmp_path / "features", info.layers, params)


def tune(checkpoint_dir, tmp_path):
    values = PRESET["transfer"]["finetune"]
    params = Params(
        steps=2, batch_size=8, learning_rate=(0.01,), weight_decay=(0.0,),
        momentum=values["momentum"], adamw=None, crop=Crop(**values["crop"]), flip=values["flip"],
        warmup_fraction=values["warmup_fraction"], standardised=values["standardised"],
    )  # fmt: skip
    return run_transfer(finetune, checkpoint_dir, tmp_path / "data", params, 0, "cpu")
