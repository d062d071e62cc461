"""Fine-tuning on a tiny data set: it learns, it is repeatable, and it chooses without test."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sslbench.core.errors import UserError
from sslbench.data.store import Dataset
from sslbench.evaluation.protocols import finetune
from sslbench.evaluation.protocols.parts import finetuning
from sslbench.evaluation.protocols.parts.images import JoinedImages
from sslbench.evaluation.protocols.parts.row_batches import row_batches
from sslbench.evaluation.protocols.parts.transfer import Subject, run_transfer
from sslbench.views.policy import Crop

PARAMS = finetune.Params(
    steps=30, batch_size=12, learning_rate=(1e-6, 0.05), weight_decay=(0.0,), momentum=0.9,
    adamw=None, crop=Crop(scale=(0.5, 1.0), ratio=(0.75, 1.3333)), flip=0.5,
    warmup_fraction=0.1, standardised=True,
)  # fmt: skip


@pytest.fixture
def run(checkpoint_dir, dataset_dir):
    return lambda params=PARAMS: run_transfer(
        finetune, checkpoint_dir, dataset_dir, params, 0, "cpu"
    )


@pytest.fixture
def subject(checkpoint_dir):
    from sslbench.evaluation.features.model import load_backbone

    return Subject(checkpoint_dir, load_backbone(checkpoint_dir)[1], 0, "cpu")


def test_it_learns_chooses_and_measures_a_twin(run):
    result = run()
    assert [(m.metric, m.role) for m in result.measurements] == [
        ("top1", "headline"), ("mean_per_class", "headline"),
        ("top1", "twin"), ("mean_per_class", "twin"),
    ]  # fmt: skip
    assert len(result.test_reads) == 1
    assert result.measurements[0].value >= 0.9
    assert result.measurements[0].detail["learning_rate"] == 0.05
    assert result.measurements[0].n == 16


def test_the_same_seed_gives_the_same_numbers(run):
    short = replace(PARAMS, steps=4)
    assert run(short).to_json() == run(short).to_json()


def test_test_is_opened_after_the_choice(run, monkeypatch):
    events = []
    split, choose = Dataset.split, finetune.choose
    monkeypatch.setattr(
        Dataset, "split", lambda self, name: events.append(name) or split(self, name)
    )
    monkeypatch.setattr(finetune, "choose", lambda *a: (choose(*a), events.append("chosen"))[0])
    run()
    assert events == ["train", "val", "chosen", "test"]


ADAMW = finetuning.AdamWGrid(learning_rate=(1e-3,), weight_decay=(0.05,), betas=(0.9, 0.999))


@pytest.mark.parametrize(("sgd", "adamw", "chosen"), [(0.05, 1e-9, "sgd"), (1e-9, 3e-3, "adamw")])
def test_val_chooses_between_sgd_and_adamw(run, sgd, adamw, chosen):
    added = replace(ADAMW, learning_rate=(adamw,))
    first, *_ = run(replace(PARAMS, learning_rate=(sgd,), adamw=added)).measurements
    assert first.detail["optimizer"] == chosen
    assert first.value >= 0.9


def test_the_grid_has_sgds_pairs_before_adamws():
    added = replace(ADAMW, learning_rate=(1e-3, 1e-4))
    both = replace(PARAMS, learning_rate=(0.1,), weight_decay=(0.0, 1e-4), adamw=added)
    assert both.grid == [
        finetuning.Setting(0.1, 0.0), finetuning.Setting(0.1, 1e-4),
        finetuning.Setting(1e-3, 0.05, "adamw"), finetuning.Setting(1e-4, 0.05, "adamw"),
    ]  # fmt: skip
    assert replace(both, adamw=None).grid == both.grid[:2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": ()}, "both grids need one or more"),
        ({"weight_decay": ()}, "both grids need one or more"),
        ({"learning_rate": (0.0,)}, "must be positive"),
        ({"weight_decay": (-0.1,)}, "not negative"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\)"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(ADAMW, **wrong)
    if "betas" not in wrong:
        with pytest.raises(ValueError, match=message):
            replace(PARAMS, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 1}, "standardised features need a batch_size of two"),
        ({"warmup_fraction": 1.0}, r"warmup_fraction must lie in \[0, 1\)"),
        ({"warmup_fraction": -0.1}, r"warmup_fraction must lie in \[0, 1\)"),
        ({"steps": 0}, "need one or more"),
        ({"momentum": -0.1}, r"momentum must lie in \[0, 1\)"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
        ({"flip": 1.5}, r"flip must lie in \[0, 1\]"),
    ],
)
def test_a_training_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(PARAMS, **wrong)


def test_batch_norm_over_a_single_value_is_one_line(subject, dataset_dir):
    """ResNet's last maps of a 32 px image are one position with this stem."""
    spec = {"family": "resnet", "depth": "tiny", "stem": "imagenet", "width": 4, "image_size": 32}
    other = replace(subject, info=replace(subject.info, backbone=spec))
    data = JoinedImages([Dataset.open(dataset_dir).split("train")])
    params = replace(PARAMS, steps=1, batch_size=1, standardised=False)
    with pytest.raises(UserError, match="batch norm meets a single value a channel") as caught:
        finetuning.train_network(other, False, data, finetuning.Setting(0.1, 0.0), params)
    assert "\n" not in str(caught.value)


def test_a_step_shrinks_weights_as_the_docstring_says(subject):
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(weight.weight)
    params = replace(PARAMS, steps=300, momentum=0.9, warmup_fraction=0.0)
    setting = finetuning.Setting(0.1, 1e-3)
    optimizer = finetuning._optimizer(weight, setting, params)
    for step in range(params.steps):
        optimizer.param_groups[0]["lr"] = setting.learning_rate * params.share(step)
        weight.weight.grad = torch.zeros_like(weight.weight)
        optimizer.step()
    assert weight.weight.item() == pytest.approx(math.exp(-5 * 300 * 1e-3), rel=0.1)


def test_a_batch_of_one_is_for_features_as_they_are():
    assert replace(PARAMS, batch_size=1, standardised=False).batch_size == 1


def test_the_rate_rises_linearly_and_falls_along_half_a_cosine():
    params = replace(PARAMS, steps=10, warmup_fraction=0.4)
    shares = [params.share(step) for step in range(10)]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shares[7] == pytest.approx(0.5)
    assert shares[9] == pytest.approx(0.5 * (1 - np.cos(np.pi / 6)))
    assert replace(params, warmup_fraction=0.0).share(5) == pytest.approx(0.5)


class Shifted(torch.nn.Module):
    """Features that hardly differ: what an image adds is small beside what all have in common."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.feature_dim = backbone, backbone.feature_dim

    def forward(self, images):
        return 20 + 0.05 * self.backbone(images)


def test_standardised_features_are_learned_from_where_they_hardly_differ(
    subject, dataset_dir, monkeypatch
):
    own = Subject.backbone
    monkeypatch.setattr(Subject, "backbone", lambda *a, **k: Shifted(own(*a, **k)))
    dataset = Dataset.open(dataset_dir)
    data, setting = JoinedImages([dataset.split("train")]), finetuning.Setting(0.05, 0.0)
    values = {}
    for standardised in (True, False):
        params = replace(PARAMS, steps=100, standardised=standardised)
        network = finetuning.train_network(subject, True, data, setting, params)
        values[standardised] = finetune.value(network, data, dataset.split("val"), subject)
    assert values[True] >= 0.9
    assert values[False] <= 0.6


def test_adamw_decays_kernels_alone_and_every_rate_follows_the_cosine(
    subject, dataset_dir, monkeypatch
):
    seen = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        seen.append([(g["lr"], g["weight_decay"], g["betas"]) for g in self.param_groups])
        assert all(weight.ndim > 1 for weight in self.param_groups[0]["params"])
        assert all(weight.ndim == 1 for weight in self.param_groups[1]["params"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    data = JoinedImages([Dataset.open(dataset_dir).split("train")])
    params = replace(PARAMS, steps=2, adamw=ADAMW, warmup_fraction=0.0)
    made = finetuning.train_network(subject, True, data, params.grid[-1], params)
    assert made is not None
    betas = (0.9, 0.999)
    assert seen[0] == [(1e-3, 0.05, betas), (1e-3, 0.0, betas)]
    assert seen[1] == [(pytest.approx(5e-4), 0.05, betas), (pytest.approx(5e-4), 0.0, betas)]


HUGE = 1e30  # a learning rate that ends in NaN


def test_a_setting_that_diverges_is_never_chosen(run):
    both = run(replace(PARAMS, steps=4, learning_rate=(HUGE, 1e-6)))
    assert {row.detail["learning_rate"] for row in both.measurements} == {1e-6}
    with pytest.raises(UserError, match="did not stay finite at any setting; lower"):
        run(replace(PARAMS, steps=4, learning_rate=(HUGE,)))


def test_a_training_that_diverges_in_its_last_step_is_none(subject, dataset_dir):
    data = JoinedImages([Dataset.open(dataset_dir).split("train")])
    overflow = finetuning.Setting(1e3, 3e38)  # the one loss is finite, the weights then are not
    once = replace(PARAMS, steps=1)
    assert finetuning.train_network(subject, True, data, overflow, once) is None


def test_a_refit_that_diverges_is_refused(run, monkeypatch):
    train = finetune.train_network

    def refit_diverges(subject, is_pretrained, data, setting, params):
        made = train(subject, is_pretrained, data, setting, params)
        return made if len(data) == 24 else None

    monkeypatch.setattr(finetune, "train_network", refit_diverges)
    with pytest.raises(UserError, match="did not stay finite at the setting that val chose"):
        run(replace(PARAMS, steps=2))


def test_the_twin_has_random_weights_and_the_backbone_its_own(subject):
    trained, again = (subject.backbone(is_pretrained=True).state_dict() for _ in range(2))
    random, repeat = (subject.backbone(is_pretrained=False).state_dict() for _ in range(2))
    assert all(torch.equal(trained[name], again[name]) for name in trained)
    assert all(torch.equal(random[name], repeat[name]) for name in random)
    assert not torch.equal(trained["conv1.weight"], random["conv1.weight"])


def test_both_networks_are_chosen_on_val_and_measured_by_their_own_weights(
    subject, dataset_dir, monkeypatch
):
    """Trained weights are right at a rate of 0.1 and random ones at 0.2; on train, the reverse."""
    train, val, test = (Dataset.open(dataset_dir).split(name) for name in ("train", "val", "test"))

    def train_network(_, is_pretrained, data, setting, __):
        return is_pretrained, setting.learning_rate, len(data)

    def predicted_labels(network, _, split, __):
        is_pretrained, rate, count = network
        assert count == (36 if split is test else 24), "the refit has val, too"
        is_right = ((rate == 0.1) == is_pretrained) != (split is train)
        return split.labels if is_right else 1 - split.labels

    monkeypatch.setattr(finetune, "train_network", train_network)
    monkeypatch.setattr(finetune, "predicted_labels", predicted_labels)
    choice = finetune.choose(subject, train, val, replace(PARAMS, learning_rate=(0.1, 0.2)))
    rows = finetune.measure(choice, subject, train, val, test)
    assert [(m.role, m.detail["learning_rate"], m.value) for m in rows if m.metric == "top1"] == [
        ("headline", 0.1, 1.0), ("twin", 0.2, 1.0),
    ]  # fmt: skip


def test_the_backbone_is_unfrozen_and_weight_decay_is_divided_by_the_rate(
    subject, dataset_dir, monkeypatch
):
    seen = {}
    sgd = torch.optim.SGD

    def spy(parameters, **settings):
        seen.update(settings)
        return sgd(parameters, **settings)

    monkeypatch.setattr(torch.optim, "SGD", spy)
    data = JoinedImages([Dataset.open(dataset_dir).split("train")])
    before = subject.backbone(is_pretrained=True).conv1.weight
    network = finetuning.train_network(subject, True, data, finetuning.Setting(0.05, 1e-3), PARAMS)
    assert not torch.equal(before, network[0].conv1.weight)
    assert seen["weight_decay"] == pytest.approx(0.02)
    assert seen["nesterov"] is True


def test_batch_norm_follows_the_source(subject):
    network = subject.backbone(is_pretrained=True)
    finetuning.set_batch_norm(network, steps_per_epoch=1000)
    assert network.bn1.momentum == pytest.approx(0.01)
    finetuning.set_batch_norm(network, steps_per_epoch=3)
    assert network.bn1.momentum == pytest.approx(0.1)


def test_joined_splits_decode_every_row_in_place(dataset_dir):
    dataset = Dataset.open(dataset_dir)
    train, val = dataset.split("train"), dataset.split("val")
    data = JoinedImages([train, val])
    rows = np.array([30, 0, 24, 23, 35])
    expected = np.concatenate([train.pixels, val.pixels])[rows]
    assert len(data) == 36
    assert np.array_equal(data.decode(rows, 16), expected)
    assert np.array_equal(data.labels, np.concatenate([train.labels, val.labels]))


def test_every_epoch_sees_an_image_at_most_once():
    batches = list(row_batches(10, 3, 7, torch.Generator().manual_seed(0)))
    assert len(batches) == 7
    first, second = np.concatenate(batches[:3]), np.concatenate(batches[3:6])
    assert len(set(first)) == len(set(second)) == 9
    assert not np.array_equal(first, second)


def test_labels_that_cannot_be_used_are_refused(checkpoint_dir, dataset_dir):
    from sslbench.data.store import write_split

    info = json.loads((dataset_dir / "dataset.json").read_text())
    (dataset_dir / "dataset.json").write_text(json.dumps({**info, "classes": list("abcdef")}))
    val = Dataset.open(dataset_dir).split("val")
    pixels, ids = np.array(val.pixels), val.ids
    write_split(dataset_dir / "val.arrow", pixels, np.full(12, 5), ids)
    with pytest.raises(UserError, match=r"val.arrow: class 5 is not in the train split"):
        run_transfer(finetune, checkpoint_dir, dataset_dir, PARAMS, 0, "cpu")


@pytest.fixture
def several_dir(dataset_dir):
    """Images that are red, blue, both or neither; of a third class there is never any."""
    from sslbench.data.store import write_split

    sizes, path = {"train": 48, "val": 24, "test": 32}, dataset_dir / "dataset.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "classes": ["red", "blue", "no"], "counts": sizes}))
    rng = np.random.default_rng(8)
    for split, size in sizes.items():
        targets = np.stack([np.arange(size) % 2, np.arange(size) // 2 % 2, np.zeros(size)], axis=1)
        images = rng.integers(0, 150, (size, 16, 16, 3), dtype=np.uint8)
        images[..., [0, 2]] += (100 * targets[:, None, None, :2]).astype(np.uint8)
        said = targets.astype(np.int8)
        said[::12, 0] = -1
        ids = [f"{split}-{i}" for i in range(size)]
        file = dataset_dir / f"{split}.arrow"
        write_split(file, images, np.full(size, -1), ids, targets=said)
    return dataset_dir


def test_several_labels_are_learned_each_by_itself(checkpoint_dir, several_dir):
    params = replace(PARAMS, steps=60, learning_rate=(1e-6, 0.1))
    result = run_transfer(finetune, checkpoint_dir, several_dir, params, 0, "cpu")
    assert [(m.metric, m.role) for m in result.measurements] == [
        ("map_11point", "headline"), ("map_area", "headline"),
        ("map_11point", "twin"), ("map_area", "twin"),
    ]  # fmt: skip
    first = result.measurements[0]
    assert first.value >= 0.9
    assert first.detail["learning_rate"] == 0.1
    assert first.detail["classes_left_out"] == [2]
    assert first.per_sample is None
    assert len(result.test_reads) == 1


def test_of_several_labels_a_setting_that_diverges_is_never_chosen(checkpoint_dir, several_dir):
    params = replace(PARAMS, steps=4, learning_rate=(HUGE, 0.1))
    result = run_transfer(finetune, checkpoint_dir, several_dir, params, 0, "cpu")
    assert {row.detail["learning_rate"] for row in result.measurements} == {0.1}
    params = replace(params, learning_rate=(HUGE,))
    with pytest.raises(UserError, match="did not stay finite at any setting"):
        run_transfer(finetune, checkpoint_dir, several_dir, params, 0, "cpu")


def test_the_loss_of_several_labels_leaves_out_what_is_unsaid():
    outputs = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    odds = finetuning.loss(outputs, torch.tensor([[1, -1], [0, 1]], dtype=torch.int8))
    by_hand = [np.log1p(np.exp(-2.0)), np.log1p(np.exp(0.5)), np.log1p(np.exp(-3.0))]
    assert odds.item() == pytest.approx(np.sum(by_hand) / 2)
    one = finetuning.loss(outputs, torch.tensor([0, 1]))
    assert one.item() == pytest.approx(np.mean([np.log1p(np.exp(-3.0)), np.log1p(np.exp(-2.5))]))


def test_joined_splits_keep_targets_in_place(several_dir):
    dataset = Dataset.open(several_dir)
    train, val = dataset.split("train"), dataset.split("val")
    data = JoinedImages([train, val], np.array([60, 1]))
    assert data.classes.tolist() == [0, 1, 2]
    assert data.labels.tolist() == [val.targets[12].tolist(), train.targets[1].tolist()]


def test_a_split_without_targets_is_refused(checkpoint_dir, several_dir):
    from sslbench.data.store import write_split

    val = Dataset.open(several_dir).split("val")
    pixels, ids = np.array(val.pixels), val.ids
    write_split(several_dir / "val.arrow", pixels, np.arange(len(ids)) % 2, ids)
    with pytest.raises(UserError, match=r"val.arrow: .*targets"):
        run_transfer(finetune, checkpoint_dir, several_dir, PARAMS, 0, "cpu")
