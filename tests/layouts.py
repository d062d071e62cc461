"""Data sets that are downloaded, as they unpack: tiny layouts on disk with made-up images."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image


def accept_made_up_files(monkeypatch):
    """Let torchvision take files that cannot have the official md5."""
    from torchvision.datasets import cifar, flowers102, stl10

    for module in (cifar, flowers102, stl10):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).is_file())


def make(name, root):
    """Lay out a set by its name in conf/data."""
    globals()[f"make_{name}"](root)


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


WIDTH, HEIGHT = 30, 20
# name, xmin, ymin, xmax, ymax, difficult
CAT = ("cat", 1, 1, 30, 20, 0)
DOG = ("dog", 3, 5, 10, 12, 0)
HARD_DOG = ("dog", 3, 5, 10, 12, 1)


def voc_xml(objects, width=WIDTH, height=HEIGHT):
    text = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    for name, x0, y0, x1, y1, difficult in objects:
        edges = f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        part = "<part><name>head</name><bndbox><xmin>7</xmin></bndbox></part>"
        text += f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        text += f"<bndbox>{edges}</bndbox>{part}</object>"
    return f'<?xml version="1.0"?><annotation>{text}</annotation>'


def add_voc(root, stem, objects, image_set="train", year=2007, lists="Main", seed=None):
    folder = root / "VOCdevkit" / f"VOC{year}"
    for name in ("JPEGImages", "Annotations", f"ImageSets/{lists}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*stem.encode()] if seed is None else seed)
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"{stem}.jpg")
    (folder / "Annotations" / f"{stem}.xml").write_text(voc_xml(objects))
    with (folder / "ImageSets" / lists / f"{image_set}.txt").open("a") as handle:
        handle.write(f"{stem}\n")
    return folder


def make_voc2007(root):
    rows = {"train": 6, "val": 4, "test": 4}
    for number, (split, count) in enumerate(rows.items()):
        for i in range(count):
            objects = [[CAT], [DOG], [CAT, DOG], [("bird", 2, 2, 9, 9, 0)]][i % 4]
            add_voc(root, f"{number}{i:05d}", objects, split)


def make_birdsnap(root):
    for split, count in (("train", 8), ("test", 3)):
        for name in ("Acadian_Flycatcher", "Acorn_Woodpecker"):
            for i in range(count):
                picture(root / split / name / f"{i}.jpg", split, name)
