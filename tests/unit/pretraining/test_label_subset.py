"""Few labels: who is drawn, that no other label is shown, and that a killed run resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslbench.core.errors import UserError
from sslbench.methods.base import LabelSubset
from sslbench.pretraining.label_subset import draw
from tests.contract import harness
from tests.unit.pretraining.test_loop import assert_resumes, loop, weights

LABELS = np.array([2, 0, 1, -1, 0, 1, 2, 2, 0, 1, -1, 0])


def test_each_class_gives_as_many_and_none_is_unlabelled() -> None:
    rows = draw(LABELS, 3, LabelSubset(per_class=2, seed=0))
    assert LABELS[rows.numpy()].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(rows.tolist())) == 6


def test_the_draw_follows_from_its_seed_alone() -> None:
    first, again, other = (
        draw(np.arange(100) % 2, 2, LabelSubset(per_class=5, seed=seed)) for seed in (0, 0, 1)
    )
    torch.manual_seed(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_too_few_images_of_a_class_is_one_line() -> None:
    with pytest.raises(UserError, match="class 1 has 3 train images, asked for 4; lower"):
        draw(LABELS, 3, LabelSubset(per_class=4, seed=0))
    with pytest.raises(ValueError, match="at least 1"):
        LabelSubset(per_class=0, seed=0)


def test_only_granted_labels_reach_the_method(tmp_path) -> None:
    made = loop(tmp_path, "simclrv2_finetune")
    shown, forward = [], made.method.forward

    def spy(batch, progress, phase):
        shown.append((batch.index, batch.labels))
        return forward(batch, progress, phase)

    made.method.forward = spy
    made.run()
    index, labels = (torch.cat(column) for column in zip(*shown, strict=True))
    assert set(index.tolist()) == set(harness.GRANTED.tolist())
    assert torch.equal(labels, harness.LABELS[index])
    hidden = [row for row in range(harness.NUM_IMAGES) if row not in harness.GRANTED]
    assert made.batches.labels[hidden].tolist() == [-1] * len(hidden)


def test_other_labels_change_nothing(tmp_path) -> None:
    first, second = (
        loop(tmp_path / "a", "simclrv2_finetune"),
        loop(tmp_path / "b", "simclrv2_finetune"),
    )
    others = torch.ones(harness.NUM_IMAGES, dtype=torch.bool)
    others[harness.GRANTED] = False
    second.batches.feed.labels[others] = (second.batches.feed.labels[others] + 1) % 4
    assert first.run() == second.run()
    assert torch.equal(weights(first), weights(second))


def test_few_rows_fill_as_many_steps_in_whole_passes_shuffled_anew(tmp_path) -> None:
    few, all_rows = loop(tmp_path, "simclrv2_finetune"), loop(tmp_path, "simclr")
    order = few.batches.order(0)
    assert [len(index) for index in order] == [len(index) for index in all_rows.batches.order(0)]
    assert all(sorted(index.tolist()) == harness.GRANTED.tolist() for index in order)
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order[0], few.batches.order(1)[0])


def test_a_batch_larger_than_the_subset_passes_over_it_again(tmp_path) -> None:
    made = loop(tmp_path, "simclrv2_finetune")
    made.method.grant(torch.tensor([3, 5, 6]))
    order = made.batches.order(0)
    assert [len(index) for index in order] == [8, 8]
    counts = torch.bincount(torch.cat(order), minlength=7)[[3, 5, 6]]
    assert counts.sum() == 16
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["simclrv2_finetune", "simclrv2_distill"])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, name) -> None:
    assert_resumes(tmp_path, name)
