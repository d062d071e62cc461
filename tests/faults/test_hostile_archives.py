"""Data sets of torchvision from a hostile folder: nothing is unpickled, nothing is unpacked.

torchvision's CIFAR files are pickles. It checks their md5 before it reads one, every time; these
tests hold it to that, since a later version may not.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from sslbench.core.errors import UserError
from sslbench.data.prepare import prepare
from tests.faults.test_bad_images import noise

BLOCK = {
    "kind": "torchvision", "download": False, "size": None, "seed": 0, "limit_per_class": None,
    "val_fraction": 0.25, "test_fraction": 0.25, "unlabelled": False, "on_bad_image": "error",
}  # fmt: skip
SETS = (
    "cifar10", "cifar100", "stl10", "imagenette", "flowers102", "oxford_pets", "dtd", "food101",
    "fgvc_aircraft", "caltech101", "sun397", "stanford_cars",
)  # fmt: skip


class _Touch:
    """What leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "code-ran"


@pytest.fixture
def no_network(monkeypatch):
    """A proxy that is not there: whatever is asked for is refused at once."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def refusal(root, **change):
    with pytest.raises(UserError) as caught:
        prepare("x", BLOCK | {"root": str(root)} | change, root.parent / "out")
    line = str(caught.value)
    assert line.isprintable()
    return line


def hostile_cifar(root, mark):
    content = pickle.dumps({"data": _Touch(str(mark)), "labels": [], "fine_labels": []})
    ten, hundred = root / "cifar-10-batches-py", root / "cifar-100-python"
    names = ("test_batch", "batches.meta", *(f"data_batch_{i}" for i in range(1, 6)))
    for folder, files in ((ten, names), (hundred, ("train", "test", "meta"))):
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).write_bytes(content)


def test_the_pickle_would_run(mark):
    """Without this the next test could not fail."""
    pickle.loads(pickle.dumps(_Touch(str(mark))))
    assert mark.exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_pickle_in_place_of_cifar_is_not_loaded(tmp_path, mark, name):
    hostile_cifar(tmp_path / "root", mark)
    assert "corrupted" in refusal(tmp_path / "root", name=name)
    assert not mark.exists()


def test_one_official_file_does_not_let_the_others_in(tmp_path, mark, monkeypatch):
    """With every md5 right but that of the meta file, which is a pickle of its own."""
    from torchvision.datasets import cifar

    hostile_cifar(tmp_path / "root", mark)
    real = cifar.check_integrity
    monkeypatch.setattr(
        cifar, "check_integrity", lambda path, md5: "meta" not in str(path) or real(path, md5)
    )
    folder = tmp_path / "root/cifar-10-batches-py"
    import numpy as np

    good = pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [0]})
    for path in folder.iterdir():
        if "meta" not in path.name:
            path.write_bytes(good)
    assert "metadata" in refusal(tmp_path / "root", name="cifar10")
    assert not mark.exists()


def hostile_archives(root):
    """Archives under the names that torchvision looks for, which lead out of the folder."""
    root.mkdir(parents=True)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, kind in (("../../escaped", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size = kind, "/", 0
            archive.addfile(entry)
    with zipfile.ZipFile(root / "archive.zip", "w") as archive:
        archive.writestr("../../escaped", b"x")
    names = (
        "cifar-10-python.tar.gz", "cifar-100-python.tar.gz", "stl10_binary.tar.gz",
        "imagenette2.tgz", "flowers-102/102flowers.tgz", "oxford-iiit-pet/images.tar.gz",
        "oxford-iiit-pet/annotations.tar.gz", "dtd/dtd-r1.0.1.tar.gz", "food-101.tar.gz",
        "fgvc-aircraft-2013b.tar.gz", "SUN397.tar.gz", "stanford_cars/car_devkit.tgz",
        "caltech101/101_ObjectCategories.tar.gz", "caltech101/Annotations.tar",
    )  # fmt: skip
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(sink.getvalue())
    shutil.copy(root / "archive.zip", root / "caltech101" / "caltech-101.zip")


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_an_archive_that_is_not_the_official_one_is_not_unpacked(
    tmp_path, no_network, name, download
):
    root = tmp_path / "a" / "b" / "root"
    hostile_archives(root)
    refusal(root, name=name, download=download)
    assert not [path for path in tmp_path.rglob("*") if path.name in ("escaped", "link")]


@pytest.mark.parametrize("entry", ["../../../secret", "/../../../secret", "a\u0000b"])
def test_a_list_names_no_image_outside_of_its_set(tmp_path, entry):
    root = tmp_path / "root"
    noise(1).save(tmp_path / "secret.jpg")
    folder = root / "food-101"
    for name in ("meta", "images/pie"):
        (folder / name).mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"meta/{split}.json").write_text(json.dumps({"pie": [entry]}))
    (folder / "meta/classes.txt").write_text("pie\n")
    assert "secret" in refusal(root, name="food101") or "a\u0000b" in entry


def hostile_lists(root):
    """What torchvision reads besides images, full of the wrong things."""
    junk = pickle.dumps(_Touch("code-ran")) + bytes(200)
    for name in (
        "stanford_cars/devkit/cars_train_annos.mat", "stanford_cars/devkit/cars_meta.mat",
        "stanford_cars/cars_test_annos_withlabels.mat", "oxford-iiit-pet/annotations/trainval.txt",
        "oxford-iiit-pet/annotations/test.txt", "dtd/dtd/labels/train1.txt",
        "food-101/meta/train.json", "food-101/meta/test.json",
        "fgvc-aircraft-2013b/data/variants.txt", "SUN397/ClassName.txt",
        "fgvc-aircraft-2013b/data/images_variant_train.txt",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(junk)
    for name in (
        "oxford-iiit-pet/images", "dtd/dtd/images", "food-101/images", "stanford_cars/cars_train",
        "stanford_cars/cars_test",
    ):  # fmt: skip
        (root / name).mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("name", SETS)
def test_damaged_lists_are_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    hostile_lists(tmp_path / "root")
    refusal(tmp_path / "root", name=name)
    assert not Path("code-ran").exists()
