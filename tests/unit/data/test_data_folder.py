"""Any folder of images: layouts, modes of images, limits, determinism."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset

BLOCK = {
    "kind": "folder", "labelled": True, "size": 16, "seed": 0, "limit_per_class": None,
    "val_fraction": 0.2, "test_fraction": 0.2, "on_bad_image": "error",
}  # fmt: skip


def fill(folder, count, start=0, size=(20, 16)):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        rng = np.random.default_rng([i, *folder.name.encode()])
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def run(tmp_path, name="x", **change):
    info = prepare(name, BLOCK | {"root": str(tmp_path / "images")} | change, tmp_path / "out")
    return info, Dataset.open(tmp_path / "out")


@pytest.fixture
def two_classes(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / "images" / name, 10)
    return tmp_path


def test_class_folders_are_split_by_rule(two_classes):
    info, data = run(two_classes)
    assert info["counts"] == {"train": 12, "val": 4, "test": 4}
    assert info["classes"] == ["cat", "dog"]
    assert info["source"] == "folder images"
    ids = [name for split in info["counts"] for name in data.split(split).ids]
    assert len(set(ids)) == 20
    for split in info["counts"]:
        part = data.split(split)
        assert [name.split("/")[0] for name in part.ids] == [
            info["classes"][c] for c in part.labels
        ]
        assert set(part.labels.tolist()) == {0, 1}


def test_official_folders_stand_and_val_is_held_out(two_classes):
    root = two_classes / "images"
    for name in ("cat", "dog"):
        fill(root / "train" / name, 10, 100)
        fill(root / "test" / name, 3, 200)
        (root / name).rename(two_classes / name)
    info, data = run(two_classes, test_fraction=0.0)
    assert info["counts"] == {"train": 16, "val": 4, "test": 6}
    assert all(name.startswith("test/") for name in data.split("test").ids)
    assert all(name.startswith("train/") for name in data.split("val").ids)


def test_val_folder_is_test_where_there_is_no_other(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / "images" / "train" / name, 10)
        fill(tmp_path / "images" / "val" / name, 3, 50)
    info, data = run(tmp_path, test_fraction=0.0)
    assert all(name.startswith("val/") for name in data.split("test").ids)
    assert info["counts"] == {"train": 16, "val": 4, "test": 6}
    assert "test is the val folder" in info["split_rule"]
    info, data = run(tmp_path, test_fraction=0.2)
    assert all(name.startswith("val/") for name in data.split("val").ids)
    assert info["counts"] == {"train": 16, "val": 6, "test": 4}


def test_unlabelled_folder_flat_and_nested(tmp_path):
    fill(tmp_path / "images", 5)
    fill(tmp_path / "images" / "deep" / "er", 5, 5)
    info, data = run(tmp_path, labelled=False, val_fraction=0.0, test_fraction=0.0)
    assert info["classes"] == []
    assert info["counts"] == {"train": 10, "val": 0, "test": 0}
    assert (data.split("train").labels == -1).all()
    assert len(data.split("test")) == 0


def test_encoded_images_keep_their_bytes(two_classes):
    info, data = run(two_classes, size=None)
    split = data.split("train")
    assert info["image_size"] is None
    for row, name in enumerate(split.ids):
        assert split.encoded(row) == (two_classes / "images" / name).read_bytes()
    assert 0.4 < info["mean"][0] < 0.6


def test_limit_is_per_class_and_a_prefix(two_classes):
    _, data = run(two_classes)
    ids = data.split("train").ids
    info, data = run(two_classes, limit_per_class=1)
    assert info["counts"] == {"train": 2, "val": 2, "test": 2}
    assert set(data.split("train").ids) < set(ids)


def test_result_ignores_the_order_of_creation(tmp_path):
    for place, names in (("one", ("cat", "dog")), ("two", ("dog", "cat"))):
        for name in names:
            fill(tmp_path / place / "images" / name, 8)
        for path in (tmp_path / place / "images").rglob("*.png"):
            Image.new("RGB", (9, 9), (int(path.stem), len(path.parent.name[:1]), 3)).save(path)
            if path.parent.name == "dog":
                Image.new("RGB", (9, 9), (int(path.stem), 99, 3)).save(path)
        run(tmp_path / place)
    for file in ("train.arrow", "val.arrow", "test.arrow", "dataset.json"):
        assert (tmp_path / "one/out" / file).read_bytes() == (
            tmp_path / "two/out" / file
        ).read_bytes()


@pytest.mark.parametrize("size", [16, None])
def test_copies_across_splits_are_dropped(tmp_path, size):
    for name in ("cat", "dog"):
        fill(tmp_path / "images" / "train" / name, 10)
        fill(tmp_path / "images" / "test" / name, 3, 50)
    copy = (tmp_path / "images/test/cat/50.png").read_bytes()
    (tmp_path / "images/train/dog/copy.png").write_bytes(copy)
    info, _ = run(tmp_path, size=size, test_fraction=0.0)
    dropped = info["duplicates"]["dropped"]
    assert dropped["train"] + dropped["val"] == 1
    assert info["duplicates"]["conflicting_labels"] == 1
    assert info["duplicates"]["pairs"][0]["id"] == "train/dog/copy.png"
    assert sum(info["counts"].values()) == 26


def test_class_of_copies_only_is_refused(tmp_path):
    for name in ("cat", "dog"):
        fill(tmp_path / "images" / "train" / name, 3)
        fill(tmp_path / "images" / "test" / name, 3, 50)
    for i in range(3):
        copy = (tmp_path / f"images/test/cat/{50 + i}.png").read_bytes()
        (tmp_path / f"images/train/dog/{i}.png").write_bytes(copy)
    with pytest.raises(UserError, match="class 'dog' has no image in the train split"):
        run(tmp_path, test_fraction=0.0)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_other_and_hidden_files_are_passed_over(two_classes):
    root = two_classes / "images"
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / "._0.png").write_bytes(b"resource fork")
    (root / ".DS_Store").write_bytes(b"x")
    assert run(two_classes)[0]["counts"]["train"] == 12


def test_home_and_relative_roots(two_classes, monkeypatch):
    monkeypatch.setenv("HOME", str(two_classes))
    monkeypatch.chdir(two_classes)
    for root in ("~/images", "images"):
        assert prepare("x", BLOCK | {"root": root}, two_classes / "o")["counts"]["train"] == 12


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 97}, "null"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "below 1"),
        ({"val_fraction": 0.0}, "no images for the val split"),
        ({"limit_per_class": 0}, "at least 1"),
        ({"on_bad_image": "guess"}, "guess"),
        ({"surprise": 1}, "unknown key"),
        ({"kind": "tape"}, "unknown kind"),
        ({"root": "/no/such/place"}, "no such folder"),
    ],
)
def test_wrong_blocks(two_classes, change, says):
    with pytest.raises(UserError, match=says):
        run(two_classes, **change)
