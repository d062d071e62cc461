"""Small images that do not fit on the device come a batch ahead, with the same bits."""

import types

import pytest
import torch

from sslbench.pretraining import feed
from tests.contract import harness
from tests.unit.pretraining.test_feed import CPU, batches, same, views_of, written
from tests.unit.pretraining.test_loop import loop


@pytest.fixture
def split(tmp_path):
    return written(tmp_path, harness.images().permute(0, 2, 3, 1).contiguous().numpy())


@pytest.fixture
def too_small(monkeypatch):
    monkeypatch.setattr(feed, "_fits", lambda num_bytes, device: False)


def test_fetched_batches_have_the_bits_of_resident_ones(tmp_path, split, monkeypatch):
    resident = batches(tmp_path, split)
    assert resident.feed.is_resident
    expected = views_of(resident), resident.extract(lambda views: views[0]), resident.plain(8)
    monkeypatch.setattr(feed, "_fits", lambda num_bytes, device: False)
    fetched = batches(tmp_path, split)
    assert not fetched.feed.is_resident
    assert same(views_of(fetched), expected[0])
    assert torch.equal(fetched.extract(lambda views: views[0]), expected[1])
    assert torch.equal(fetched.plain(8), expected[2])


def test_parts_of_a_step_are_fetched_too(tmp_path, split, too_small):
    assert len(views_of(batches(tmp_path, split), parts=2)) == 2 * len(
        views_of(batches(tmp_path, split))
    )


@pytest.mark.usefixtures("too_small")
def test_the_next_batch_is_fetched_during_a_step(tmp_path, split, monkeypatch):
    asked = []
    made = batches(tmp_path, split)
    fetch = made.feed.fetch
    monkeypatch.setattr(made.feed, "fetch", lambda index: asked.append(index) or fetch(index))
    steps = made.steps(0, 1)
    next(steps)
    assert len(asked) == 2


@pytest.mark.parametrize(("num_bytes", "fits"), [(500, True), (501, False)])
def test_a_split_may_take_half_of_what_a_gpu_has_free(monkeypatch, num_bytes, fits):
    told = types.SimpleNamespace(mem_get_info=lambda device: (1000, 9999))
    monkeypatch.setattr(feed.torch, "cuda", told)
    assert feed._fits(num_bytes, torch.device("cuda:0")) is fits


def test_a_split_of_any_size_lives_in_the_memory_of_the_cpu():
    assert feed._fits(2**60, CPU)


@pytest.mark.usefixtures("too_small")
def test_a_training_on_fetched_images_ends_as_on_resident_ones(tmp_path, split, monkeypatch):
    runs = []
    for fits in (True, False):
        monkeypatch.setattr(feed, "_fits", lambda num_bytes, device, fits=fits: fits)
        run = loop(tmp_path / str(fits), "simclr")
        run.batches = batches(tmp_path, split, method=run.method)
        run.run()
        runs.append(torch.cat([value.flatten() for value in run.method.parameters()]))
    assert torch.equal(*runs)
