"""torchvision's sets from tiny fake layouts on disk, through torchvision, without a network."""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data import torchvision_sets
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset

BLOCK = {
    "kind": "torchvision", "download": False, "size": None, "seed": 0, "limit_per_class": None,
    "val_fraction": 0.25, "test_fraction": 0.0, "unlabelled": False, "on_bad_image": "error",
}  # fmt: skip


@pytest.fixture(autouse=True)
def offline_and_unhashed(monkeypatch):
    """Fake files cannot have the official md5; nothing may open a connection."""
    from torchvision.datasets import cifar, flowers102, stl10

    for module in (cifar, flowers102, stl10):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).is_file())

    def refuse(*_):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def picture(path, *key):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = list("/".join(map(str, (path.stem, *key))).encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")


def make_cifar(root, folder, names, key, classes):
    rng = np.random.default_rng(0)
    folder = root / folder
    folder.mkdir(parents=True)
    for name, count in names.items():
        labels = [i % len(classes) for i in range(count)]
        data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, key: labels}))
    meta = {"label_names": classes, "fine_label_names": classes}
    (folder / ("batches.meta" if key == "labels" else "meta")).write_bytes(pickle.dumps(meta))


def make_cifar10(root):
    names = {f"data_batch_{i}": 40 for i in range(1, 6)} | {"test_batch": 20}
    make_cifar(root, "cifar-10-batches-py", names, "labels", [f"c{i}" for i in range(10)])


def make_cifar100(root):
    classes = [f"f{i:02d}" for i in range(100)]
    make_cifar(root, "cifar-100-python", {"train": 400, "test": 100}, "fine_labels", classes)


def make_stl10(root):
    rng, folder = np.random.default_rng(0), root / "stl10_binary"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("test", 20), ("unlabeled", 30)):
        pixels = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        pixels[0] = 0
        pixels[0, 0, :48] = 255 - count  # column-major: the first index after colour is x
        pixels.tofile(folder / f"{part}_X.bin")
        if part != "unlabeled":
            (np.arange(count) % 10 + 1).astype(np.uint8).tofile(folder / f"{part}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(f"c{i}" for i in range(10)))


def make_imagenette(root):
    from torchvision.datasets import Imagenette

    for split, count in (("train", 8), ("val", 3)):
        for wnid in Imagenette._WNID_TO_CLASS:
            for i in range(count):
                picture(root / "imagenette2" / split / wnid / f"{wnid}_{split}_{i}.JPEG")


def make_flowers102(root):
    from scipy.io import savemat

    folder = root / "flowers-102"
    labels = np.arange(408) % 102 + 1
    for i in range(1, 409):
        picture(folder / "jpg" / f"image_{i:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": labels})
    ids = np.arange(1, 409)
    savemat(folder / "setid.mat", {"trnid": ids[:102], "valid": ids[102:204], "tstid": ids[204:]})


def make_oxford_pets(root):
    folder = root / "oxford-iiit-pet"
    for split, count in (("trainval", 8), ("test", 3)):
        lines = []
        for label, name in enumerate(("Abyssinian", "great_dane"), 1):
            for i in range(count):
                picture(folder / "images" / f"{name}_{split}{i}.jpg")
                lines.append(f"{name}_{split}{i} {label} 1 1")
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")


def make_dtd(root):
    folder = root / "dtd" / "dtd"
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        lines = [f"{c}/{c}_{split}{i}.jpg" for c in ("banded", "zigzagged") for i in range(count)]
        for line in lines:
            picture(folder / "images" / line)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(lines) + "\n")


def make_food101(root):
    for split, count in (("train", 8), ("test", 3)):
        listed = {c: [f"{c}/{split}{i}" for i in range(count)] for c in ("apple_pie", "waffles")}
        for names in listed.values():
            for name in names:
                picture(root / "food-101" / "images" / f"{name}.jpg", name)
        (root / "food-101" / "meta").mkdir(exist_ok=True)
        (root / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(listed))


def make_fgvc_aircraft(root):
    folder = root / "fgvc-aircraft-2013b" / "data"
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        lines = []
        for k, variant in enumerate(("707-320", "A300B4 x")):
            for i in range(count):
                name = f"{len(split)}{k}{i}{split}"
                picture(folder / "images" / f"{name}.jpg")
                lines.append(f"{name} {variant}")
        (folder / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "variants.txt").write_text("707-320\nA300B4 x\n")


def make_caltech101(root, count=34):
    for name in ("BACKGROUND_Google", "accordion", "Faces"):
        for i in range(1, count + 1):
            picture(root / f"caltech101/101_ObjectCategories/{name}/image_{i:04d}.jpg", name)


def make_sun397(root):
    folder = root / "SUN397"
    for name in ("a/abbey", "b/bar/indoor"):
        for i in range(8):
            picture(folder / name / f"sun_{i}.jpg", name)
    (folder / "ClassName.txt").write_text("/a/abbey\n/b/bar/indoor\n")
    for part, numbers in (("Training", range(4)), ("Testing", range(4, 7))):
        lines = [f"/{n}/sun_{i}.jpg\n" for n in ("a/abbey", "b/bar/indoor") for i in numbers]
        (folder / f"{part}_01.txt").write_text("".join(lines))


def make_stanford_cars(root):
    from scipy.io import savemat

    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array(["AM General Hummer", "Acura RL"], dtype=object)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": names})
    places = {"train": "devkit/cars_train_annos", "test": "cars_test_annos_withlabels"}
    for split, count in (("train", 8), ("test", 6)):
        rows = np.zeros(count, dtype=[("class", "u1"), ("fname", "O")])
        for i in range(count):
            picture(folder / f"cars_{split}" / f"{i:05d}.jpg", split)
            rows[i] = (i % 2 + 1, f"{i:05d}.jpg")
        savemat(folder / f"{places[split]}.mat", {"annotations": rows})


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
    globals()[f"make_{name}"](tmp_path / "root")
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
    make_oxford_pets(tmp_path / "root")
    info, data = run(tmp_path, "oxford_pets")
    split = data.split("train")
    assert info["classes"] == ["Abyssinian", "Great Dane"]
    for row, name in enumerate(split.ids):
        assert ("great_dane" in name) == (split.labels[row] == 1)
        assert split.encoded(row) == (tmp_path / "root" / name).read_bytes()


def test_cifar_pixels_and_held_out_val(tmp_path):
    from torchvision.datasets import CIFAR10

    make_cifar10(tmp_path / "root")
    _, data = run(tmp_path, "cifar10")
    official = CIFAR10(tmp_path / "root", train=True)
    for name in ("train", "val"):
        split = data.split(name)
        for row in (0, 7):
            index = int(split.ids[row].split("/")[1])
            np.testing.assert_array_equal(split.pixels[row], official.data[index])
            assert split.labels[row] == official.targets[index]


def test_stl10_is_upright_and_has_an_unlabelled_part(tmp_path):
    make_stl10(tmp_path / "root")
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
    make_dtd(tmp_path / "root")
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
    make_dtd(tmp_path / "root")
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
    make_caltech101(tmp_path / "root")
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
    make_caltech101(tmp_path / "root", count=30)
    with pytest.raises(UserError, match="no more than 30 images"):
        run(tmp_path, "caltech101")
    info, _ = run(tmp_path, "caltech101", test_fraction=0.2)
    assert info["counts"]["test"] == 18


def test_sun397_takes_the_official_lists_or_a_share(tmp_path):
    make_sun397(tmp_path / "root")
    info, data = run(tmp_path, "sun397")
    assert info["split_rule"].startswith("official partition 1")
    numbers = {split: {int(i[-5]) for i in data.split(split).ids} for split in info["counts"]}
    assert numbers["test"] == {4, 5, 6}
    assert numbers["train"] | numbers["val"] == {0, 1, 2, 3}
    info, _ = run(tmp_path, "sun397", test_fraction=0.25)
    assert info["counts"] == {"train": 8, "val": 4, "test": 4}


def test_sun397_without_or_with_wrong_lists(tmp_path):
    make_sun397(tmp_path / "root")
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
    make_cifar10(tmp_path / "root")
    with pytest.raises(UserError, match="no official val split"):
        run(tmp_path, "cifar10", val_fraction=0.0)
