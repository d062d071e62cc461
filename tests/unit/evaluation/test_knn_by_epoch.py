"""kNN after each kept epoch: `knn` itself at the end, and what a choice on test adds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sslbench.core import artifacts, trajectory_file
from sslbench.core.errors import UserError
from sslbench.data.store import Dataset
from sslbench.evaluation.features.extract import extract_features
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols import knn, knn_by_epoch
from sslbench.evaluation.protocols.base import LayerChoice
from sslbench.evaluation.protocols.knn_by_epoch import EpochChoice
from sslbench.evaluation.protocols.parts import neighbours
from sslbench.evaluation.protocols.parts.probe import run_probe
from sslbench.evaluation.protocols.parts.transfer import run_transfer

KNN = neighbours.Params(k=(1, 5), temperature=(0.07,))
PARAMS = knn_by_epoch.Params(max_dim=64, batch_size=7, knn=KNN)


@pytest.fixture
def checkpoint_dir(checkpoint_dir):
    """A checkpoint that saw three epochs: dead weights, then others, then those at the end."""
    backbone, _ = load_backbone(checkpoint_dir)
    dead = {name: torch.zeros_like(value) for name, value in backbone.state_dict().items()}
    torch.manual_seed(1)
    other = {
        name: value + 0.1 * torch.randn_like(value) if value.ndim == 4 else value
        for name, value in backbone.state_dict().items()
    }
    path = checkpoint_dir / trajectory_file.NAME
    trajectory_file.write(path, {1: numpy(dead), 2: numpy(other)}, every=1)
    return checkpoint_dir


def numpy(weights):
    return {name: value.numpy() for name, value in weights.items()}


@pytest.fixture
def rows(checkpoint_dir, dataset_dir):
    return run(checkpoint_dir, dataset_dir).measurements


def run(checkpoint_dir, dataset_dir):
    return run_transfer(knn_by_epoch, checkpoint_dir, dataset_dir, PARAMS, 0, "cpu")


def headlines(rows):
    return {row.metric: row for row in rows if row.role == "headline"}


def by_epoch(rows):
    return {row.detail["epoch"]: row for row in rows if row.role == "epoch"}


def test_the_last_epoch_is_what_knn_measures(rows, checkpoint_dir, dataset_dir, tmp_path):
    backbone, info = load_backbone(checkpoint_dir)
    for split in ("train", "val", "test"):
        extract_features(
            backbone, Dataset.open(dataset_dir).split(split), info, tmp_path / "features",
            max_dim=64, batch_size=7, device="cpu", precision="fp32",
        )  # fmt: skip
    expected = run_probe(knn, tmp_path / "features", info.layers, KNN).measurements[0]
    found = headlines(rows)["top1"]
    assert (found.value, found.layer) == (expected.value, expected.layer)
    assert found.detail == {**expected.detail, "epoch": None}
    assert (found.per_sample == expected.per_sample).all()


def test_every_kept_epoch_and_the_last_are_measured_with_their_own_weights(rows):
    found = by_epoch(rows)
    assert list(found) == [1, 2, None]
    assert found[1].value == 0.5  # dead weights: one answer for all of two classes
    assert found[None].value == headlines(rows)["top1"].value > 0.8


def test_the_best_epoch_on_test_is_the_largest_value_and_ranks_nobody(rows):
    peeked = headlines(rows)["top1_best_test_epoch"]
    assert peeked.value == max(row.value for row in by_epoch(rows).values())
    assert peeked.better == "neither"
    assert headlines(rows)["top1"].better == "higher"


def test_the_best_epoch_on_val_is_chosen_on_val(rows):
    chosen = headlines(rows)["top1_best_val_epoch"]
    assert chosen.detail["val"] == max(row.detail["val"] for row in by_epoch(rows).values())
    assert chosen.value == by_epoch(rows)[chosen.detail["epoch"]].value


def test_val_and_test_choose_their_own_epochs_and_each_has_its_own_bank(dataset_dir, monkeypatch):
    test = Dataset.open(dataset_dir).split("test")
    num_right = {1: 4, 2: 16, None: 8}

    def voted(chosen, bank, queries):
        epoch, asked = queries
        assert (bank, asked) == ((epoch, "train"), test)
        return np.where(np.arange(16) < num_right[epoch], test.labels, 1 - test.labels)

    monkeypatch.setattr(knn_by_epoch, "_features", lambda _, epoch, split, *__: (epoch, split))
    monkeypatch.setattr(knn_by_epoch, "voted", voted)
    layers = {e: LayerChoice("stem", {}, val) for e, val in ((1, 0.9), (2, 0.5), (None, 0.7))}
    rows = knn_by_epoch.measure(EpochChoice(layers, PARAMS), None, "train", "val", test)
    assert {name: (row.detail["epoch"], row.value) for name, row in headlines(rows).items()} == {
        "top1": (None, 0.5), "top1_best_val_epoch": (1, 0.25), "top1_best_test_epoch": (2, 1.0),
    }  # fmt: skip


def test_of_equal_epochs_the_latest_is_chosen():
    layers = {epoch: LayerChoice("layer1", {}, val) for epoch, val in ((1, 0.4), (2, 0.4))}
    assert EpochChoice(layers, PARAMS).best_on_val == 2
    assert EpochChoice({**layers, None: LayerChoice("stem", {}, 0.4)}, PARAMS).best_on_val is None
    assert EpochChoice({**layers, None: LayerChoice("stem", {}, 0.3)}, PARAMS).best_on_val == 2


def test_the_test_split_is_opened_once_after_all_epochs_were_chosen(
    checkpoint_dir, dataset_dir, monkeypatch
):
    events = []
    split, choose = Dataset.split, knn_by_epoch.choose
    monkeypatch.setattr(
        Dataset, "split", lambda self, name: events.append(name) or split(self, name)
    )
    monkeypatch.setattr(knn_by_epoch, "choose", lambda *a: (choose(*a), events.append("chosen"))[0])
    assert len(run(checkpoint_dir, dataset_dir).test_reads) == 1
    assert events == ["train", "val", "chosen", "test"]


def test_a_method_without_epochs_has_three_equal_values(checkpoint_dir, dataset_dir):
    trajectory_file.write(checkpoint_dir / trajectory_file.NAME, {}, every=1)
    rows = run(checkpoint_dir, dataset_dir).measurements
    assert list(by_epoch(rows)) == [None]
    assert len({row.value for row in rows}) == 1


def test_a_run_that_kept_nothing_is_refused_by_name(checkpoint_dir, dataset_dir):
    trajectory_file.write(checkpoint_dir / trajectory_file.NAME, {}, every=None)
    with pytest.raises(UserError, match=r"no earlier epoch was kept.*pretrain.keep_every_epochs"):
        run(checkpoint_dir, dataset_dir)


def test_weights_of_another_network_are_refused(checkpoint_dir, dataset_dir):
    path = checkpoint_dir / trajectory_file.NAME
    weights = artifacts.read_tensors(checkpoint_dir / artifacts.BACKBONE)
    weights["conv9.weight"] = weights.pop("conv1.weight")
    trajectory_file.write(path, {1: numpy(weights)}, every=1)
    with pytest.raises(UserError, match="weights are not those") as caught:
        run(checkpoint_dir, dataset_dir)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("change", [{"max_dim": 0}, {"batch_size": 0}])
def test_sizes_below_one_are_refused(change):
    with pytest.raises(ValueError, match="one or more"):
        replace(PARAMS, **change)
