"""The one call: what a method is told of the data, and one that only looks at images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.data.store import Dataset, DatasetInfo, write_info, write_split
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.pretraining.batches import Batches
from sslbench.pretraining.feed import Feed
from sslbench.pretraining.pretrain import Request, pretrain
from sslbench.views.apply import plain
from tests.contract import harness

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
BUDGET = {
    "epochs": 1, "batch_size": 8, "image_size": 32, "precision": "32-true", "accumulate": 1,
    "checkpoint_every_epochs": 1, "keep_every_epochs": None,
}  # fmt: skip


@pytest.fixture
def data(tmp_path) -> Path:
    images = harness.images().permute(0, 2, 3, 1).numpy()
    labels = harness.LABELS.numpy()
    folder, hashes = tmp_path / "data", {}
    for split in ("train", "val", "test"):
        ids = [f"{split}-{i}" for i in range(len(images))]
        hashes[split] = write_split(folder / f"{split}.arrow", images, labels, ids)
    write_info(
        folder,
        DatasetInfo(
            name="smooth", kind="test", classes=("a", "b", "c", "d"),
            counts=dict.fromkeys(hashes, len(images)), image_size=32, channels=3, mean=MEAN,
            std=STD, source="seed 0", split_rule="the same, 1", sha256=hashes, duplicates={},
            skipped=[],
        ),
    )  # fmt: skip
    return folder


def run(
    name: str,
    data: Path,
    out: Path,
    predecessor: Path | None = None,
    *,
    width: int = 8,
    seed: int = 0,
) -> list[dict]:
    torch.set_num_threads(1)
    recipe = {k: v for k, v in harness.SMALL["recipes"][name].items() if k != "predecessor"}
    sized = {} if recipe["backbone"]["family"] == "vit" else {"width": width}
    recipe = recipe | {"backbone": recipe["backbone"] | sized}
    request = Request(
        name=name, seed=seed, data=data, budget=BUDGET, recipe=recipe,
        method_params=harness.shrink(harness.SMALL["methods"][name]), device="cpu",
        scratch=out / "scratch", out=out, predecessor=predecessor,
    )  # fmt: skip
    return pretrain(request, lambda row: None)[0]


def test_a_method_that_only_looks_is_shown_images_and_writes_no_history(data, tmp_path) -> None:
    assert run("random_rescaled", data, tmp_path / "looked") == []
    assert run("random_init", data, tmp_path / "blind") == []
    looked, blind = (
        artifacts.read_tensors(tmp_path / where / artifacts.BACKBONE)
        for where in ("looked", "blind")
    )
    assert torch.allclose(looked["bn1.bias"], torch.tensor(0.1))
    assert not blind["bn1.bias"].any()
    run("random_rescaled", data, tmp_path / "again")
    again = artifacts.read_tensors(tmp_path / "again" / artifacts.BACKBONE)
    assert all(torch.equal(looked[key], again[key]) for key in looked)


def test_colour_methods_hand_over_a_network_that_knows_the_normalisation(data, tmp_path) -> None:
    run("colorization", data, tmp_path / "out")
    backbone, info = load_backbone(tmp_path / "out")
    assert backbone.mean.tolist() == pytest.approx(MEAN)
    assert backbone.std.tolist() == pytest.approx(STD)
    twin = Subject(tmp_path / "out", info, 0, "cpu").backbone(is_pretrained=False)
    assert twin.mean.tolist() == pytest.approx(MEAN)
    assert not torch.equal(twin.trunks[0].conv1.weight, backbone.trunks[0].conv1.weight)


def test_a_chain_hands_over_its_tensors_and_records_whose_labels_it_saw(data, tmp_path) -> None:
    run("simclrv2", data, tmp_path / "first")
    run("simclrv2_finetune", data, tmp_path / "second", tmp_path / "first")
    run("simclrv2_distill", data, tmp_path / "third", tmp_path / "second")
    tuned = artifacts.read_tensors(tmp_path / "second" / artifacts.METHOD)
    taught = artifacts.read_tensors(tmp_path / "third" / artifacts.METHOD)
    assert torch.equal(
        tuned["head.classifier.weight"], taught["teacher.network.1.classifier.weight"]
    )
    assert [
        ModelInfo.read(tmp_path / name / artifacts.MODEL).labels for name in ("first", "third")
    ] == ["none", "some"]
    rows = tuned["labelled_rows"]
    assert harness.LABELS[rows].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    run("simclrv2_finetune", data, tmp_path / "other", tmp_path / "first", seed=1)
    other = artifacts.read_tensors(tmp_path / "other" / artifacts.METHOD)
    assert torch.equal(other["labelled_rows"], rows), "one subset for all training seeds"


def test_a_predecessor_that_does_not_fit_is_one_line(data, tmp_path) -> None:
    run("simclr", data, tmp_path / "two_layers")
    run("simclrv2", data, tmp_path / "wide", width=16)
    cases = {
        "wide: was pretrained with another backbone; give it": ("simclrv2_finetune", "wide"),
        "nowhere/model.json: file not found": ("simclrv2_finetune", "nowhere"),
        "simclrv2_finetune: continues another method; give": ("simclrv2_finetune", None),
        "rotation: continues no other method; drop": ("rotation", "wide"),
        "predecessor: has no head.": ("simclrv2_distill", "two_layers"),
    }
    for says, (name, folder) in cases.items():
        with pytest.raises(UserError) as error:
            run(name, data, tmp_path / "out", tmp_path / folder if folder else None)
        assert says in str(error.value)
        assert "\n" not in str(error.value)


def test_health_is_measured_at_the_size_of_the_views_where_images_are_files(tmp_path):
    files = []
    for pixels in harness.images(4).permute(0, 2, 3, 1).contiguous().numpy():
        Image.fromarray(pixels).resize((50, 40)).save(content := io.BytesIO(), "PNG")
        files.append(content.getvalue())
    digest = write_split(tmp_path / "train.arrow", files, np.zeros(4, np.int64), list("abcd"))
    write_info(
        tmp_path,
        DatasetInfo(
            name="files", kind="test", classes=("a",), counts={"train": 4}, image_size=None,
            channels=3, mean=MEAN, std=STD, source="seed 0", split_rule="one",
            sha256={"train": digest}, duplicates={}, skipped=[],
        ),
    )  # fmt: skip
    split, device = Dataset.open(tmp_path).split("train"), torch.device("cpu")
    feed, method = Feed(split, device), harness.build_method("rotation")
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    batches = Batches(feed, method, 32, mean, std, size=2, seed=0, device=device)
    expected = torch.from_numpy(split.decode(np.arange(3), 32)).permute(0, 3, 1, 2)
    assert torch.equal(batches.plain(3), plain(expected, mean, std))
