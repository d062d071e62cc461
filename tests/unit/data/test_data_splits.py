"""Splits by hash: stratified, stable, disjoint; copies between splits are found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslbench.core.errors import UserError
from sslbench.data import splits
from sslbench.data.batch import Batch
from sslbench.data.duplicates import Ledger


def items_of(sizes):
    return [
        splits.Item(f"{label}/{i}", label, "") for label, n in enumerate(sizes) for i in range(n)
    ]


def cut(items, seed=0, val=0.2, test=0.3):
    names = [str(c) for c in range(20)]
    return splits.stratify(
        items, names, seed=seed, val_fraction=val, test_fraction=test, where="data.x"
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=6), st.integers(0, 9))
def test_every_class_is_in_every_split_once(sizes, seed):
    items = items_of(sizes)
    parts = cut(items, seed)
    assert sorted(item for part in parts.values() for item in part) == sorted(items)
    for part in parts.values():
        assert {item.label for item in part} == set(range(len(sizes)))
    for label, size in enumerate(sizes):
        assert Counter(i.label for i in parts["test"])[label] == max(1, round(size * 0.3))


def test_split_ignores_order_and_depends_on_the_seed():
    items = items_of([30, 30])
    assert cut(items) == cut(items[::-1])
    assert cut(items)["test"] != cut(items, seed=1)["test"]


def test_rank_is_frozen():
    """The published split: a change here changes every number and needs a new VERSION."""
    assert splits.VERSION == 1
    assert splits.rank(0, "a/1.png").hex()[:16] == "02976d102b81d2de"


@pytest.mark.parametrize("sizes", [[30, 1], [30, 2], [30, 0, 2]])
def test_too_small_a_class_is_refused(sizes):
    with pytest.raises(UserError, match=r"image\(s\), and 1 for val and 1 for test"):
        cut(items_of(sizes))


def test_unlabelled_items_are_one_stratum():
    items = [splits.Item(str(i), -1, "") for i in range(10)]
    assert {k: len(v) for k, v in cut(items).items()} == {"train": 5, "val": 2, "test": 3}
    assert len(cut(items, val=0.0, test=0.0)["train"]) == 10


def test_limit_takes_a_prefix_of_each_class():
    items = splits.ordered(items_of([30, 5]), 0)
    few, more = splits.limited(items, 4), splits.limited(items, 8)
    assert Counter(i.label for i in few) == {0: 4, 1: 4}
    assert Counter(i.label for i in more) == {0: 8, 1: 5}
    assert set(few) < set(more)
    assert splits.limited(items, None) == items


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (1.0, 0.0), (0.5, 0.5), (0.0, 1.5)])
def test_impossible_fractions(val, test):
    with pytest.raises(ValueError, match="fraction"):
        splits.refuse_fractions(val, test)


def test_class_that_train_lacks():
    with pytest.raises(UserError, match="test has class 'c' and train has not"):
        splits.refuse_unknown_classes(["a", "b"], {"val": ["a"], "test": ["b", "c"]}, "data.x")


def batch(values, labels, name):
    images = np.stack([np.full((2, 2, 3), value, np.uint8) for value in values])
    ids = [f"{name}/{i}" for i in range(len(values))]
    return Batch(images, np.array(labels), ids, {"mask": images[..., 0]})


def test_copies_are_kept_in_test_and_dropped_before():
    ledger = Ledger()
    assert ledger.keep("test", batch([1, 2, 2], [0, 1, 1], "test")).ids == [
        "test/0", "test/1", "test/2",
    ]  # fmt: skip
    assert ledger.keep("val", batch([2, 3], [1, 0], "val")).ids == ["val/1"]
    kept = ledger.keep("train", batch([1, 3, 4], [5, 0, 0], "train"))
    assert kept.ids == ["train/2"]
    assert kept.columns["mask"].tolist() == [[[4, 4], [4, 4]]]
    report = ledger.report()
    assert report["dropped"] == {"test": 0, "val": 1, "train": 2}
    assert report["kept_within_split"] == {"test": 1, "val": 0, "train": 0}
    assert report["conflicting_labels"] == 1
    assert {(p["id"], p["copy_of"], p["action"]) for p in report["pairs"]} == {
        ("test/2", "test/1", "kept"),
        ("val/0", "test/1", "dropped"),
        ("train/0", "test/0", "dropped"),
        ("train/1", "val/1", "dropped"),
    }
