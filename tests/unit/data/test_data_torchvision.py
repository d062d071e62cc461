"""torchvision's sets from tiny fake layouts on disk, through torchvision, without a network."""

from __future__ import annotations

import hashlib
import socket

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.data import torchvision_sets
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset
from tests import layouts

BLOCK = {
    "kind": "torchvision", "download": False, "size": None, "seed": 0, "limit_per_class": None,
    "val_fraction": 0.25, "test_fraction": 0.0, "unlabelled": False, "on_bad_image": "error",
}  # fmt: skip


@pytest.fixture(autouse=True)
def offline_and_unhashed(monkeypatch):
    """Fake files cannot have the official md5; nothing may open a connection."""
    layouts.accept_made_up_files(monkeypatch)

    def refuse(*_):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# Images per split, classes, metric.
EXPECTED = {
    "cifar10": ({"train": 150, "val": 50, "test": 20}, 10, "top1"),
    "cifar100": ({"train": 300, "val": 100, "test": 100}, 100, "top1"),
    "stl10": ({"train": 30, "val": 10, "test": 20}, 10, "top1"),
    "imagenette": ({"train": 60, "val": 20, "test": 30}, 10, "top1"),
    "flowers102": ({"train": 102, "val": 102, "test": 204}, 102, "mean_per_class"),
    "oxford_pets": ({"train": 12, "val": 4, "test": 6}, 2, "mean_per_class"),
    "dtd": ({"train": 8, "val": 4, "test": 6}, 2, "top1"),
    "food101": ({"train": 12, "val": 4, "test": 6}, 2, "top1"),
    "fgvc_aircraft": ({"train": 8, "val": 4, "test": 6}, 2, "mean_per_class"),
    "caltech101": ({"train": 66, "val": 24, "test": 12}, 3, "mean_per_class"),
    "sun397": ({"train": 6, "val": 2, "test": 6}, 2, "top1"),
    "stanford_cars": ({"train": 6, "val": 2, "test": 6}, 2, "top1"),
}


def test_every_set_is_tested():
    assert set(EXPECTED) == set(torchvision_sets.SETS)


def run(tmp_path, name, **change):
    values = BLOCK | {"name": name, "root": str(tmp_path / "root")} | change
    return prepare(name, values, tmp_path / "out"), Dataset.open(tmp_path / "out")


@pytest.mark.parametrize("name", EXPECTED)
def test_set_is_read_through_torchvision(tmp_path, name):
    layouts.make(name, tmp_path / "root")
    info, data = run(tmp_path, name)
    counts, num_classes, metric = EXPECTED[name]
    assert info["counts"] == counts
    assert len(info["classes"]) == num_classes
    assert info["metric"] == metric
    assert all(isinstance(text, str) for text in info["classes"])
    ids = [row for split in counts for row in data.split(split).ids]
    assert len(set(ids)) == sum(counts.values())
    for split in counts:
        assert set(data.split(split).labels.tolist()) == set(range(num_classes))
    assert data.split("train").decode([0], 24).shape == (1, 24, 24, 3)


def test_labels_go_with_their_images(tmp_path):
    layouts.make_oxford_pets(tmp_path / "root")
    info, data = run(tmp_path, "oxford_pets")
    split = data.split("train")
    assert info["classes"] == ["Abyssinian", "Great Dane"]
    for row, name in enumerate(split.ids):
        assert ("great_dane" in name) == (split.labels[row] == 1)
        assert split.encoded(row) == (tmp_path / "root" / name).read_bytes()


def test_cifar_pixels_and_held_out_val(tmp_path):
    from torchvision.datasets import CIFAR10

    layouts.make_cifar10(tmp_path / "root")
    _, data = run(tmp_path, "cifar10")
    official = CIFAR10(tmp_path / "root", train=True)
    for name in ("train", "val"):
        split = data.split(name)
        for row in (0, 7):
            index = int(split.ids[row].split("/")[1])
            np.testing.assert_array_equal(split.pixels[row], official.data[index])
            assert split.labels[row] == official.targets[index]


def test_stl10_is_upright_and_has_an_unlabelled_part(tmp_path):
    layouts.make_stl10(tmp_path / "root")
    info, data = run(
        tmp_path, "stl10", unlabelled=True, val_fraction=0.0, test_fraction=0.0, size=48
    )
    assert info["classes"] == []
    assert info["counts"] == {"train": 30, "val": 0, "test": 0}
    split = data.split("train")
    assert (split.labels == -1).all()
    first = split.pixels[split.ids.index("unlabelled/000000")]
    assert first[:, 10, 0].min() > 200, "the left half is red"
    assert first[:, 40, 0].max() < 50


def test_limit_and_raw_size(tmp_path):
    layouts.make_dtd(tmp_path / "root")
    info, data = run(tmp_path, "dtd", limit_per_class=1, size=32)
    assert info["counts"] == {"train": 2, "val": 2, "test": 2}
    assert data.split("test").pixels.shape == (2, 32, 32, 3)


@pytest.mark.parametrize("name", EXPECTED)
def test_missing_files_name_the_mend(tmp_path, name):
    with pytest.raises(UserError, match="set download: true"):
        run(tmp_path, name)


def test_failed_download_names_the_mend(tmp_path):
    with pytest.raises(UserError, match="check the network"):
        run(tmp_path, "dtd", download=True)


def test_damaged_image_is_named_or_skipped(tmp_path):
    layouts.make_dtd(tmp_path / "root")
    (tmp_path / "root/dtd/dtd/images/banded/banded_train1.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"banded_train1\.jpg: empty file"):
        run(tmp_path, "dtd")
    info, _ = run(tmp_path, "dtd", on_bad_image="skip")
    assert info["counts"]["train"] == 7
    assert len(info["skipped"]) == 1


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("birdsnap", {}, "use kind: folder"),
        ("mnist", {}, "known: cifar10"),
        ("dtd", {"unlabelled": True}, "stl10 only"),
        ("dtd", {"size": 128}, "null"),
    ],
)
def test_wrong_blocks(tmp_path, name, change, says):
    with pytest.raises(UserError, match=says):
        run(tmp_path, name, **change)


def test_caltech101_has_thirty_of_each_class_to_learn_from(tmp_path):
    layouts.make_caltech101(tmp_path / "root")
    info, data = run(tmp_path, "caltech101")
    assert info["classes"] == ["BACKGROUND_Google", "Faces", "accordion"]
    learned = [*data.split("train").labels, *data.split("val").labels]
    assert np.bincount(learned).tolist() == [30, 30, 30]
    assert np.bincount(data.split("test").labels).tolist() == [4, 4, 4]
    assert info["split_rule"].startswith("30 of each class for train by hash rank")
    folder = "caltech101/101_ObjectCategories/Faces"
    names = [f"{folder}/image_{i:04d}.jpg" for i in range(1, 35)]
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"1/0/{name}".encode()).digest())
    assert set(ranked[30:]) == {i for i in data.split("test").ids if i.startswith(folder)}
    held = set(data.split("test").ids)
    assert held != set(run(tmp_path, "caltech101", seed=1)[1].split("test").ids)


def test_caltech101_with_too_small_a_class(tmp_path):
    layouts.make_caltech101(tmp_path / "root", count=30)
    with pytest.raises(UserError, match="no more than 30 images"):
        run(tmp_path, "caltech101")
    info, _ = run(tmp_path, "caltech101", test_fraction=0.2)
    assert info["counts"]["test"] == 18


def test_sun397_takes_the_official_lists_or_a_share(tmp_path):
    layouts.make_sun397(tmp_path / "root")
    info, data = run(tmp_path, "sun397")
    assert info["split_rule"].startswith("official partition 1")
    numbers = {split: {int(i[-5]) for i in data.split(split).ids} for split in info["counts"]}
    assert numbers["test"] == {4, 5, 6}
    assert numbers["train"] | numbers["val"] == {0, 1, 2, 3}
    info, _ = run(tmp_path, "sun397", test_fraction=0.25)
    assert info["counts"] == {"train": 8, "val": 4, "test": 4}


def test_sun397_without_or_with_wrong_lists(tmp_path):
    layouts.make_sun397(tmp_path / "root")
    path = tmp_path / "root/SUN397/Testing_01.txt"
    path.write_text("/a/abbey/sun_99.jpg\n")
    with pytest.raises(UserError, match=r"1 listed images are not there, .*sun_99"):
        run(tmp_path, "sun397")
    path.unlink()
    with pytest.raises(UserError, match=r"Partitions\.zip"):
        run(tmp_path, "sun397")


def test_stanford_cars_cannot_be_fetched(tmp_path):
    with pytest.raises(UserError, match="cannot be downloaded"):
        run(tmp_path, "stanford_cars", download=True)


def test_no_val_is_refused(tmp_path):
    layouts.make_cifar10(tmp_path / "root")
    with pytest.raises(UserError, match="no official val split"):
        run(tmp_path, "cifar10", val_fraction=0.0)
