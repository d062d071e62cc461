"""Fine-tuning with few labels: which images, who chooses, and that val trains nothing."""

from dataclasses import replace

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.core.feature_file import id_hashes
from sslbench.data.store import Dataset
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols import finetune, finetune_lowlabel
from sslbench.evaluation.protocols.parts import finetuning
from sslbench.evaluation.protocols.parts.transfer import Subject, run_transfer

TRAINING = finetuning.Params(
    steps=15, batch_size=12, learning_rate=(1e-6, 0.05), weight_decay=(0.0,), momentum=0.9,
    adamw=None, crop=None, flip=0.5, warmup_fraction=0.1, standardised=True,
)  # fmt: skip
PARAMS = finetune_lowlabel.Params(percent=(10, 50), draws=2, training=TRAINING)


@pytest.fixture
def run(checkpoint_dir, dataset_dir):
    return lambda params=PARAMS: run_transfer(
        finetune_lowlabel, checkpoint_dir, dataset_dir, params, 0, "cpu"
    )


def test_it_learns_chooses_and_measures_a_twin(run):
    result = run(replace(PARAMS, percent=(50,)))
    half = result.measurements[0]
    assert half.value >= 0.7
    assert half.detail["learning_rate"] == 0.05
    assert half.detail["labels"] == 12
    assert np.mean(half.detail["draws"]) == pytest.approx(half.value)
    assert half.per_sample.mean() == pytest.approx(half.value)
    assert len(result.test_reads) == 1


def test_the_same_seed_gives_the_same_numbers(run):
    short = replace(PARAMS, draws=1, training=replace(TRAINING, steps=2))
    result = run(short)
    assert result.to_json() == run(short).to_json()
    assert [(m.metric, m.role) for m in result.measurements] == [
        ("top1_10percent", "headline"), ("top1_50percent", "headline"),
        ("top1_10percent", "twin"), ("top1_50percent", "twin"),
    ]  # fmt: skip


def test_test_is_opened_after_the_choice(run, monkeypatch):
    events = []
    split, choose = Dataset.split, finetune_lowlabel.choose
    monkeypatch.setattr(
        Dataset, "split", lambda self, name: events.append(name) or split(self, name)
    )
    monkeypatch.setattr(
        finetune_lowlabel, "choose", lambda *a: (choose(*a), events.append("chosen"))[0]
    )
    run(replace(PARAMS, draws=1, training=replace(TRAINING, steps=1)))
    assert events == ["train", "val", "chosen", "test"]


def test_a_setting_that_diverges_is_never_chosen(run):
    few = replace(PARAMS, percent=(50,), training=replace(TRAINING, learning_rate=(1e30, 1e-6)))
    assert {row.detail["learning_rate"] for row in run(few).measurements} == {1e-6}
    none = replace(few, training=replace(TRAINING, learning_rate=(1e30,)))
    with pytest.raises(UserError, match="did not stay finite at any setting"):
        run(none)


def test_no_network_ever_sees_an_image_beyond_the_list(run, monkeypatch, dataset_dir):
    """Neither val nor an unlisted image of train reaches training."""
    train = Dataset.open(dataset_dir).split("train")
    allowed = {
        image.tobytes()
        for draw in range(2)
        for image in train.pixels[
            finetune_lowlabel.labelled_rows(id_hashes(train.ids), train.labels, 50, draw)
        ]
    }
    seen = set()
    trained = finetune_lowlabel.train_network

    def spy(subject, is_pretrained, data, setting, params):
        seen.update(image.tobytes() for image in data.decode(np.arange(len(data)), 16))
        return trained(subject, is_pretrained, data, setting, params)

    monkeypatch.setattr(finetune_lowlabel, "train_network", spy)
    run(replace(PARAMS, training=replace(TRAINING, steps=1)))
    assert seen == allowed


def test_both_networks_are_chosen_on_val_and_measured_by_their_own_weights(
    run, dataset_dir, monkeypatch
):
    """Trained weights are right at a rate of 0.1 and random ones at 0.2; on train, the reverse."""

    def predicted_labels(network, _, split, __):
        is_pretrained, rate = network
        is_right = ((rate == 0.1) == is_pretrained) != (split.path.stem == "train")
        return split.labels if is_right else 1 - split.labels

    monkeypatch.setattr(
        finetune_lowlabel, "train_network", lambda _, own, __, at, ___: (own, at.learning_rate)
    )
    monkeypatch.setattr(finetune_lowlabel, "predicted_labels", predicted_labels)
    rows = run(replace(PARAMS, training=replace(TRAINING, learning_rate=(0.1, 0.2)))).measurements
    assert [(m.role, m.detail["learning_rate"], m.value) for m in rows] == [
        *[("headline", 0.1, 1.0)] * 2, *[("twin", 0.2, 1.0)] * 2,
    ]  # fmt: skip


def test_all_the_labels_are_finetune_before_its_refit(checkpoint_dir, dataset_dir):
    subject = Subject(checkpoint_dir, load_backbone(checkpoint_dir)[1], 0, "cpu")
    dataset = Dataset.open(dataset_dir)
    train, val = dataset.split("train"), dataset.split("val")
    whole = replace(PARAMS, percent=(100,), draws=1, training=replace(TRAINING, steps=6))
    found = finetune_lowlabel.choose(subject, train, val, whole).shares
    expected = finetune.choose(subject, train, val, whole.training)
    assert [share.val for share in found] == [expected.pretrained.val, expected.twin.val]


def test_lists_are_balanced_nested_and_at_least_one_per_class():
    labels = np.repeat([0, 1, 2], [200, 40, 3])
    ids = id_hashes([f"image-{i}" for i in range(len(labels))])
    few = finetune_lowlabel.labelled_rows(ids, labels, 1, 0)
    more = finetune_lowlabel.labelled_rows(ids, labels, 10, 0)
    assert np.bincount(labels[few]).tolist() == [2, 1, 1]
    assert np.bincount(labels[more]).tolist() == [20, 4, 1]
    assert set(few) <= set(more)
    assert not np.array_equal(more, finetune_lowlabel.labelled_rows(ids, labels, 10, 1))


@pytest.mark.parametrize("change", [{"percent": ()}, {"percent": (0,)}, {"draws": 0}])
def test_params_without_meaning_are_refused(change):
    with pytest.raises(ValueError, match=r"percent|draws"):
        replace(PARAMS, **change)
