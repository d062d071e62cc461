"""Protocols that see images and leave the weights alone: layers, robustness, linear_sgd."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.data.store import Dataset, Split
from sslbench.evaluation.features.extract import extract_features, is_pooled, pool_layer
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols import (
    finetune,
    finetune_lowlabel,
    label_free,
    layers,
    linear,
    linear_sgd,
    robustness,
)
from sslbench.evaluation.protocols.parts import frozen, linear_fit, scratch
from sslbench.evaluation.protocols.parts.probe import run_probe
from sslbench.evaluation.protocols.parts.transfer import Subject, run_transfer
from sslbench.views.policy import Crop, Jitter

CROP = Crop(scale=(0.5, 1.0), ratio=(0.75, 1.3333))
LINEAR = linear_fit.Params(
    log10_c_low=-3.0, log10_c_high=0.0, num_c=2, tolerance=1e-3, max_iterations=100
)
LAYERS = layers.Params(max_dim=64, pooling=("average", "max"), batch_size=7, linear=LINEAR)
ROBUSTNESS = robustness.Params(
    max_dim=64, batch_size=7, linear=LINEAR,
    blur=(0.5, 1.0), noise=(0.1, 0.3), jpeg=(50,), brightness=(0.3,), contrast=(0.1,),
)  # fmt: skip
SGD = linear_sgd.Params(
    epochs=3, batch_size=8, learning_rate=(1e-4, 1.0, 30.0), momentum=0.9, weight_decay=0.0,
    schedule="cosine", milestones=(), decay=0.1, crop=CROP, flip=0.5,
)  # fmt: skip
LABEL_FREE = label_free.Params(
    batch_size=5, crop=CROP, flip=0.5, jitter=None, grey=0.0,
    uniformity_t=2.0, alpha_first=2, alpha_last=10,
)  # fmt: skip
CASES = [
    (layers, LAYERS), (robustness, ROBUSTNESS), (linear_sgd, SGD), (label_free, LABEL_FREE)
]  # fmt: skip
FINETUNE = finetune.Params(
    steps=2, batch_size=12, learning_rate=(0.05,), weight_decay=(0.0,), momentum=0.9,
    adamw=None, crop=None, flip=0.5, warmup_fraction=0.1, standardised=True,
)  # fmt: skip
LOWLABEL = finetune_lowlabel.Params(percent=(50,), draws=1, training=FINETUNE)
UNFROZEN = [(finetune, FINETUNE), (finetune_lowlabel, LOWLABEL)]
IDS = [protocol.NAME for protocol, _ in CASES]


@pytest.fixture
def run(checkpoint_dir, dataset_dir):
    return lambda protocol, params: run_transfer(
        protocol, checkpoint_dir, dataset_dir, params, 0, "cpu"
    )


@pytest.fixture
def subject(checkpoint_dir):
    return Subject(checkpoint_dir, load_backbone(checkpoint_dir)[1], 0, "cpu")


def by_metric(result, role="headline"):
    return {row.metric: row for row in result.measurements if row.role == role}


@pytest.mark.parametrize(("protocol", "params"), CASES, ids=IDS)
def test_the_same_seed_gives_the_same_numbers(protocol, params, run):
    assert run(protocol, params).to_json() == run(protocol, params).to_json()


@pytest.mark.parametrize(("protocol", "params"), CASES, ids=IDS)
def test_test_is_opened_after_the_choice(protocol, params, run, monkeypatch):
    events = []
    split, choose = Dataset.split, protocol.choose
    monkeypatch.setattr(
        Dataset, "split", lambda self, name: events.append(name) or split(self, name)
    )
    monkeypatch.setattr(protocol, "choose", lambda *a: (choose(*a), events.append("chosen"))[0])
    run(protocol, params)
    assert events == ["train", "val", "chosen", "test"]


@pytest.mark.parametrize(("protocol", "params"), CASES, ids=IDS)
def test_samples_are_those_of_the_value(protocol, params, run):
    kept = [row for row in run(protocol, params).measurements if row.per_sample is not None]
    assert kept
    for row in kept:
        assert row.per_sample.shape == (16,)
        assert row.per_sample.mean() == pytest.approx(row.value)


@pytest.mark.parametrize(("protocol", "params"), CASES, ids=IDS)
def test_the_weights_are_left_alone(protocol, params, run, monkeypatch):
    made = []
    backbone = Subject.backbone
    monkeypatch.setattr(
        Subject, "backbone", lambda self, **k: made.append(backbone(self, **k)) or made[-1]
    )
    run(protocol, params)
    (reference,) = {id(m): m for m in made[:1]}.values()
    with torch.no_grad():
        for other in made[1:]:
            for name, value in other.state_dict().items():
                assert torch.equal(value, reference.state_dict()[name]), name
    assert not any(network.training for network in made)
    assert all(p.grad is None for network in made for p in network.parameters())


@pytest.mark.parametrize(
    ("protocol", "params"), [*CASES, *UNFROZEN], ids=[*IDS, "finetune", "finetune_lowlabel"]
)
def test_a_diverged_network_is_refused(protocol, params, run, checkpoint_dir):
    from sslbench.core import artifacts

    path = checkpoint_dir / artifacts.BACKBONE
    weights = artifacts.read_tensors(path)
    artifacts.write_tensors(path, {**weights, "conv1.weight": weights["conv1.weight"] * np.nan})
    with pytest.raises(UserError, match="NaN or infinity"):
        run(protocol, params)


# --- layers


def test_layers_measures_each_layer_in_each_pooling_and_learns(run, subject):
    result = run(layers, LAYERS)
    rows = [row for row in result.measurements if row.role == "layer"]
    *maps, last = subject.info.layers
    expected = [f"{name}/{how}" for name in maps for how in LAYERS.pooling] + [last]
    assert [row.layer for row in rows] == expected
    headline = by_metric(result)["top1"]
    assert headline.value >= 0.8
    assert headline.detail["val"] == max(row.detail["val"] for row in rows)


def test_a_map_that_is_kept_whole_is_probed_once(run, subject):
    result = run(layers, replace(LAYERS, max_dim=9000))
    rows = [row.layer for row in result.measurements if row.role == "layer"]
    assert rows == list(subject.info.layers)


def test_a_layer_is_what_linear_measures_there(run, checkpoint_dir, dataset_dir, tmp_path):
    """The wide probe and the stored one are the same protocol but for the width."""
    stored = stored_features(checkpoint_dir, dataset_dir, tmp_path, max_dim=64)
    expected = run_probe(linear, stored, load_backbone(checkpoint_dir)[1].layers, LINEAR)
    found = run(layers, replace(LAYERS, pooling=("average",)))
    values = {r.layer.split("/")[0]: r.value for r in found.measurements if r.role == "layer"}
    assert values == {r.layer: r.value for r in expected.measurements if r.role == "layer"}


def test_max_pooling_is_the_maximum_of_each_part():
    layer = torch.rand(2, 3, 6, 6)
    pooled = pool_layer(layer, 12, "max").view(2, 3, 2, 2)
    assert torch.equal(pooled[:, :, 1, 0], layer[:, :, 3:, :3].amax(dim=(2, 3)))
    assert is_pooled(layer, 12)
    assert not is_pooled(layer, 3 * 36)
    assert not is_pooled(layer[:, :, 0, 0], 1)


@pytest.mark.parametrize("pooling", [(), ("max", "max")])
def test_layers_refuses_poolings(pooling):
    with pytest.raises(ValueError, match="pooling"):
        replace(LAYERS, pooling=pooling)


# --- robustness


def stored_features(checkpoint_dir, dataset_dir, tmp_path, max_dim):
    backbone, info = load_backbone(checkpoint_dir)
    for split in ("train", "val", "test"):
        extract_features(
            backbone, Dataset.open(dataset_dir).split(split), info, tmp_path / "features",
            max_dim=max_dim, batch_size=7, device="cpu", precision="fp32",
        )  # fmt: skip
    return tmp_path / "features"


def test_clean_is_what_linear_measures(run, checkpoint_dir, dataset_dir, tmp_path):
    stored = stored_features(checkpoint_dir, dataset_dir, tmp_path, max_dim=64)
    expected = run_probe(linear, stored, load_backbone(checkpoint_dir)[1].layers, LINEAR)
    found = by_metric(run(robustness, ROBUSTNESS))["top1_clean"]
    assert found.value == by_metric(expected)["top1"].value
    assert found.layer == by_metric(expected)["top1"].layer


def test_severity_nothing_is_clean(run):
    params = replace(
        ROBUSTNESS, blur=(0.0,), noise=(0.0,), jpeg=(), brightness=(0.0,), contrast=(1.0,)
    )
    rows = by_metric(run(robustness, params))
    assert "top1_jpeg" not in rows
    for row in rows.values():
        assert np.array_equal(row.per_sample, rows["top1_clean"].per_sample)


def test_corruption_hurts_and_the_headline_is_the_mean_of_means(run):
    rows = by_metric(run(robustness, replace(ROBUSTNESS, noise=(50.0,))))
    kinds = ("blur", "noise", "jpeg", "brightness", "contrast")
    assert rows["top1_noise"].value < 0.8, "nothing but noise"
    assert rows["top1_clean"].value >= 0.9
    assert rows["top1_corrupted"].value == pytest.approx(
        np.mean([rows[f"top1_{kind}"].value for kind in kinds])
    )
    severities = rows["top1_blur"].detail["severities"]
    assert list(severities) == ["0.5", "1"]
    assert rows["top1_blur"].value == pytest.approx(np.mean(list(severities.values())))


def test_each_severity_is_measured_by_itself_on_every_row(run, monkeypatch):
    seen = []

    def black_if_strong(images, severity, rows):
        seen.extend((severity, row) for row in rows)
        return images * (severity < 0.2)

    monkeypatch.setattr(robustness, "CORRUPTIONS", {"noise": black_if_strong})
    rows = by_metric(run(robustness, ROBUSTNESS))
    severities = {"0.1": rows["top1_clean"].value, "0.3": 0.5}
    assert rows["top1_noise"].detail["severities"] == severities
    assert seen == [(severity, row) for severity in (0.1, 0.3) for row in range(16)]


def test_the_probe_is_fitted_to_clean_images(run, monkeypatch):
    seen = []
    original = frozen.layer_batches

    def spy(backbone, split, info, **settings):
        seen.append((split.path.stem, settings.get("change") is not None))
        return original(backbone, split, info, **settings)

    monkeypatch.setattr(frozen, "layer_batches", spy)
    run(robustness, ROBUSTNESS)
    assert seen[:3] == [("train", False), ("val", False), ("test", False)]
    assert set(seen[3:]) == {("test", True)}
    assert len(seen[3:]) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"jpeg": (0,)}, {"jpeg": (96,)}, {"blur": (-1.0,)}, {"contrast": (-0.5,)},
        {"blur": (), "noise": (), "jpeg": (), "brightness": (), "contrast": ()},
    ],
)  # fmt: skip
def test_severities_without_meaning_are_refused(change):
    with pytest.raises(ValueError, match=r"must|needs"):
        replace(ROBUSTNESS, **change)


# --- linear_sgd


class MeanColour(Backbone):
    """A network that gives the mean of each channel: red and blue images are far apart."""

    feature_dim, layers = 3, ("mean",)

    def forward(self, images):
        return images.mean(dim=(2, 3))


def test_sgd_learns_and_val_chooses_the_rate(run, monkeypatch):
    monkeypatch.setattr(Subject, "backbone", lambda self, **_: MeanColour())
    rows = by_metric(run(linear_sgd, replace(SGD, learning_rate=(1e-9, 1.0), epochs=10)))
    assert rows["top1"].value == rows["top1"].detail["val"] == 1.0
    assert rows["top1"].detail["learning_rate"] == 1.0


def test_the_edge_of_the_grid_is_noted(run):
    edge = run(linear_sgd, replace(SGD, learning_rate=(1e-9, 1e-8))).measurements[0]
    assert edge.detail["note"] == "the best learning rate is at the edge of the grid"
    alone = run(linear_sgd, replace(SGD, learning_rate=(1.0,))).measurements[0]
    assert "note" not in alone.detail


def test_the_choice_is_that_of_val(subject, dataset_dir, monkeypatch):
    """Right on val is turned around, and so the worst rate wins: nothing else decides."""
    dataset = Dataset.open(dataset_dir)
    train, val = dataset.split("train"), dataset.split("val")
    honest = linear_sgd.choose(subject, train, val, SGD)
    monkeypatch.setattr(linear_sgd, "top1", lambda predicted, labels: -np.mean(predicted == labels))
    assert linear_sgd.choose(subject, train, val, SGD).index != honest.index


def test_a_head_that_diverges_is_never_chosen(run, monkeypatch):
    monkeypatch.setattr(Subject, "backbone", lambda self, **_: MeanColour())
    params = replace(SGD, learning_rate=(1e38, 1e-9), weight_decay=1e3)
    assert run(linear_sgd, params).measurements[0].detail["learning_rate"] == 1e-9
    with pytest.raises(UserError, match="linear_sgd: no head stayed finite at any learning rate"):
        run(linear_sgd, replace(params, learning_rate=(1e38,)))


def test_each_head_trains_as_if_alone():
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 3
    params = replace(SGD, epochs=3, learning_rate=(0.1, 2.0), weight_decay=0.01)

    def trained(rates):
        heads = linear_sgd.Heads(6, 3, len(rates))
        batches = (
            (features[i : i + 8], labels[i : i + 8]) for _ in range(3) for i in range(0, 40, 8)
        )
        linear_sgd.train_heads(heads, batches, 40, replace(params, learning_rate=rates))
        return [head.weight for head in heads.each]

    together = trained((0.1, 2.0))
    for rate, weight in zip((0.1, 2.0), together, strict=True):
        assert torch.allclose(weight, trained((rate,))[0], atol=1e-6)


def test_heads_reach_the_optimum_on_fixed_features():
    """With weight decay the optimum is unique; scipy's L-BFGS gives the same one."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(48, 4)))
    labels = torch.from_numpy((features[:, :2].numpy() @ rng.normal(size=(2, 3))).argmax(1))
    decay = 0.1
    params = replace(SGD, epochs=400, batch_size=48, learning_rate=(0.3,), weight_decay=decay)
    heads = linear_sgd.Heads(4, 3, 1).double()
    linear_sgd.train_heads(heads, ((features, labels) for _ in range(400)), 48, params)

    def objective(flat):
        weights = torch.tensor(flat.reshape(3, 5), requires_grad=True)
        logits = features @ weights[:, :4].T + weights[:, 4]
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss = loss + decay / 2 * weights.square().sum()
        loss.backward()
        return loss.item(), weights.grad.numpy().ravel()

    optimum = minimize(objective, np.zeros(15), jac=True, tol=1e-10).x.reshape(3, 5)
    assert np.abs(heads.each[0].weight.detach().numpy() - optimum[:, :4]).max() < 1e-3


def test_schedules():
    steps = replace(SGD, schedule="steps", milestones=(0.3, 0.6))
    assert [steps.share(p) for p in (0.0, 0.29, 0.3, 0.7)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [SGD.share(p) for p in (0.0, 0.5)] == pytest.approx([1, 0.5])
    assert SGD.share(0.999) < 1e-3


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0}, {"learning_rate": ()}, {"learning_rate": (0.0,)}, {"weight_decay": -1.0},
        {"milestones": (1.0,)}, {"momentum": 1.0}, {"flip": -0.1},
    ],
)  # fmt: skip
def test_sgd_refuses_params_without_meaning(change):
    with pytest.raises(ValueError, match=r"need|must"):
        replace(SGD, **change)


# --- what they share


def test_features_get_room_once_a_layer(subject, dataset_dir, monkeypatch):
    made = []
    empty = scratch.empty
    monkeypatch.setattr(scratch, "empty", lambda *a: made.append(a) or empty(*a))
    test = Dataset.open(dataset_dir).split("test")
    backbone = subject.backbone(is_pretrained=True)
    kept = frozen.features_of(backbone, test, subject, 4, ROBUSTNESS.pooled).layers
    assert len(made) == len(kept) < len(test) // 4 * len(kept)


# --- label_free


def test_label_free_needs_no_labels(run, dataset_dir):
    from sslbench.data.store import write_split

    before = run(label_free, LABEL_FREE).to_json()["measurements"]
    for split in ("train", "val", "test"):
        old = Dataset.open(dataset_dir).split(split)
        pixels, ids = np.array(old.pixels), old.ids
        write_split(dataset_dir / f"{split}.arrow", pixels, np.full(len(ids), -1), ids)
    assert run(label_free, LABEL_FREE).to_json()["measurements"] == before
    assert [row["metric"] for row in before] == [
        "rankme", "effective_rank", "alpha_req", "uniformity", "alignment"
    ]  # fmt: skip


def test_alpha_is_left_out_of_too_few_images(subject, dataset_dir):
    from sslbench.data.store import write_split

    test = Dataset.open(dataset_dir).split("test")
    path = dataset_dir / "few.arrow"
    write_split(path, np.array(test.pixels[:3]), np.full(3, -1), test.ids[:3])
    rows = label_free.measure(LABEL_FREE, subject, test, test, Split(path))
    assert [row.metric for row in rows] == ["rankme", "effective_rank", "uniformity", "alignment"]


def test_views_are_those_of_the_params():
    jitter = Jitter(probability=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
    view = replace(LABEL_FREE, jitter=jitter, grey=0.2).view
    expected = (2, CROP, 0.5, jitter, 0.2)
    assert (view.copies, view.crop, view.flip, view.jitter, view.grey) == expected


def test_views_that_change_nothing_are_aligned(run):
    still = replace(LABEL_FREE, crop=Crop(scale=(1.0, 1.0), ratio=(1.0, 1.0)), flip=0.0)
    assert by_metric(run(label_free, still))["alignment"].value == pytest.approx(0.0, abs=1e-9)
    assert by_metric(run(label_free, LABEL_FREE))["alignment"].value > 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 0}, {"uniformity_t": 0.0}, {"alpha_first": 0}, {"alpha_last": 3},
        {"flip": 1.5}, {"grey": -1.0},
    ],
)  # fmt: skip
def test_label_free_refuses_params_without_meaning(change):
    with pytest.raises(ValueError, match=r"must|needs"):
        replace(LABEL_FREE, **change)
