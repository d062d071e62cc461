"""The feed of files: who decodes, when and how much is kept changes no bit and bounds memory."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data.store import Split, decoder, split_path, write_split
from sslbench.pretraining.feed import Feed
from tests.contract import harness
from tests.unit.pretraining.test_loop import assert_resumes, loop

CPU = torch.device("cpu")


def jpeg(number: int) -> bytes:
    """Return a smooth photograph of a shape of its own."""
    pixels = Image.fromarray(harness.images()[number].permute(1, 2, 0).numpy())
    sink = io.BytesIO()
    pixels.resize((60 + number, 100 - number)).save(sink, "JPEG")
    return sink.getvalue()


def written(folder, contents) -> Split:
    path = split_path(folder, "train")
    ids = [str(row) for row in range(len(contents))]
    write_split(path, contents, harness.LABELS.numpy()[: len(contents)], ids)
    return Split(path)


@pytest.fixture
def split(tmp_path):
    return written(tmp_path, [jpeg(number) for number in range(harness.NUM_IMAGES)])


@pytest.fixture(params=[1, 2, 16], ids="{} threads".format)
def threads(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


@pytest.fixture(params=[2**30, 70_000, 0], ids="{} bytes kept".format)
def most_kept(request, monkeypatch):
    monkeypatch.setattr(decoder, "MOST_KEPT_BYTES", request.param)


def batches(tmp_path, split, name="simclr", **changes):
    made = loop(tmp_path, name).batches
    return dataclasses.replace(made, feed=Feed(split, CPU), **changes)


def views_of(made, epoch=0, parts=1):
    pending = [part for step in made.steps(epoch, parts) for part in step]
    return [view for part in pending for view in made.finish(part).views]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.usefixtures("threads", "most_kept")
def test_whole_images_are_what_the_decoder_of_the_store_gives(split):
    feed = Feed(split, CPU)
    for rows in ([3, 0, 3, 8], [1], list(range(len(split)))):
        expected = torch.from_numpy(split.decode(np.array(rows), 20)).permute(0, 3, 1, 2)
        assert torch.equal(feed.whole(torch.tensor(rows), 20), expected)


@pytest.fixture
def views_of_one_thread(tmp_path, split):
    """Each step's views, made one after another with nothing ahead, by one thread."""
    made = batches(tmp_path, split)
    made.feed.decoder = decoder.Decoder(split, 1)
    started = ((index, made.stream(f"step/{step}")) for step, index in enumerate(made.order(0)))
    return [view for one in started for view in made.finish(made.start(*one)).views]


@pytest.mark.usefixtures("threads", "most_kept")
def test_threads_reading_ahead_and_keeping_change_no_bit(tmp_path, split, views_of_one_thread):
    made = batches(tmp_path, split)
    assert same(views_of(made), views_of_one_thread)
    assert same(views_of(made), views_of_one_thread)  # from what was kept
    assert not same(views_of(made, epoch=1), views_of_one_thread)


def test_parts_of_a_step_draw_one_after_another(tmp_path, split):
    made = batches(tmp_path, split)
    stream = made.stream("step/0")
    first, second = made.order(0)[0].chunk(2)
    expected = [v for part in (first, second) for v in made.finish(made.start(part, stream)).views]
    assert same(views_of(made, parts=2)[:4], expected)


@pytest.mark.parametrize("name", ["simclr", "rotation", "mae", "jigsaw", "dino", "deepcluster"])
def test_a_run_on_files_ends_with_the_same_bits_after_a_stop(name, tmp_path, split):
    assert_resumes(tmp_path, name, feed=Feed(split, CPU))


@pytest.mark.parametrize("name", harness.TRAINING)
def test_every_method_trains_on_files(name, tmp_path, split):
    row = loop(tmp_path, name, feed=Feed(split, CPU), epochs=1).run()[0]
    assert np.isfinite(row["loss"])


@pytest.fixture
def decoded(monkeypatch):
    """The rows decoded so far."""
    found = []
    real = Split.image

    def spy(self, row):
        found.append(row)
        return real(self, row)

    monkeypatch.setattr(Split, "image", spy)
    return found


def test_the_next_batch_and_no_more_is_decoded_during_a_step(tmp_path, split, decoded):
    made = batches(tmp_path, split, size=4)
    order = made.order(0)
    for step, pending in enumerate(made.steps(0, 1)):
        started = torch.cat(order[: step + 2]).tolist()
        made.finish(pending[0])
        assert set(decoded) <= set(started)
        made.feed.decoder._pool.submit(int).result()  # all before it is done, by one thread
        assert sorted(decoded) == sorted(started)
    assert step == 3


def test_an_image_is_decoded_once_where_all_are_kept(tmp_path, split, decoded):
    made = batches(tmp_path, split)
    for epoch in range(3):
        views_of(made, epoch)
    made.plain(8)
    assert sorted(decoded) == list(range(len(split)))


@pytest.mark.parametrize("most", [0, 70_000])
def test_no_more_is_kept_than_allowed(tmp_path, split, monkeypatch, most):
    monkeypatch.setattr(decoder, "MOST_KEPT_BYTES", most)
    made = batches(tmp_path, split)
    views_of(made)
    kept = sum(image.nbytes for image in made.feed.decoder._kept.values())
    assert kept <= most
    assert most - kept < 3 * 80 * 100
    assert made.feed.decoder._room == most - kept


def test_kept_images_are_not_changed_by_their_views(tmp_path, split):
    made = batches(tmp_path, split)
    for view in views_of(made):
        view.zero_()
    for row, image in made.feed.decoder._kept.items():
        assert (image.numpy() == split.image(row)).all()


@pytest.mark.parametrize("content", [b"", b"no image", jpeg(0)[:800], jpeg(0)[:100]])
def test_a_broken_image_is_the_same_line_as_from_the_store(tmp_path, content):
    split = written(tmp_path, [jpeg(0), content])
    with pytest.raises(UserError) as expected:
        split.decode([1], 20)
    with pytest.raises(UserError) as found:
        views_of(batches(tmp_path, split, size=2))
    assert without_address(found) == without_address(expected)
    assert "\n" not in str(found.value)


def without_address(error) -> str:
    return str(error.value).split(" at 0x")[0]
