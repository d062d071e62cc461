"""Annotations that lie: COCO's JSON and masks, VOC's XML, DAVIS's lists. A line, never a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.data.store import Split, run_lengths, write_split
from sslbench.data.store.instances import instances_of
from tests import layouts
from tests.faults.test_bad_images import bomb, noise
from tests.faults.test_hostile_images import png
from tests.unit.data import test_data_coco as coco
from tests.unit.data import test_data_davis as davis
from tests.unit.data import test_data_voc as voc

# What a file can do to C code. In a process of its own: these ended it.
CRASHES = {
    "far": [[0, 0, 1e9, 0, 1e9, 1e9]],
    "nan": [[0, 0, float("nan"), 0, 4, 4]],
    "infinite": [[0, 0, 1e300, 0, 4, 4]],
    "just outside": [[-3, -3, 30, 0, 4, 40]],
}
DRAW = """
import json, sys
from sslbench.data.store import Split, run_lengths, write_split
from sslbench.data.store.instances import instances_of
try:
    print(run_lengths.from_polygons(json.loads(sys.argv[1]), 16, 24).shape)
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", CRASHES)
def test_a_polygon_ends_no_process(root, kind):
    command = [sys.executable, "-c", DRAW, json.dumps(CRASHES[kind])]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("(16, 24)" if kind == "just outside" else
                                   "a corner lies far outside of the image")  # fmt: skip


@pytest.mark.parametrize("counts", [b"o", b"0o", b"\x00", b"PPPPPPPPPP0", b"~", b"0" * 99])
def test_damaged_run_lengths_do_not_reach_c(counts):
    with pytest.raises(ValueError, match=r"run lengths|RLE"):
        run_lengths.from_text(counts.decode("latin-1"), 4, 4)


@pytest.mark.parametrize("counts", [[-1, 17], [2**40], [1.5], ["a"], [[1]], [True], [15], [2**63]])
def test_run_lengths_that_are_no_counts(counts):
    with pytest.raises(ValueError, match="run lengths"):
        run_lengths.from_counts(counts, 4, 4)


@pytest.mark.parametrize("size", [(10**6, 10**6), (10**12, 10**12), (-4, 4), (0, 4)])
def test_sizes_are_not_allocated_as_they_stand(size):
    for draw, what in ((run_lengths.from_text, "0"), (run_lengths.from_polygons, [[0] * 6])):
        with pytest.raises(ValueError, match=r"pixels|far outside"):
            draw(what, *size)


@pytest.fixture
def coco_root(tmp_path):
    root = tmp_path / "root"
    coco.write(root, "train", [1, 2, 3, 4], [coco.thing(1)])
    coco.write(root, "test", [11, 12], [coco.thing(11, 90)])
    return root


def _image(**change):
    return lambda content: content["images"][0].update(change)


def _object(**change):
    return lambda content: content["annotations"][0].update(change)


LIES = {
    "size": _image(height=10**12, width=10**12),
    "no size": _image(height=0),
    "up": _image(file_name="../../secret.jpg"),
    "absolute": _image(file_name="/etc/passwd"),
    "nul": _image(file_name="a\x00.jpg"),
    "surrogate": _image(file_name="\ud800.jpg"),
    "terminal": _image(file_name="\x1b]0;x\x07.jpg"),
    "not a name": _image(file_name=5),
    "polygon": _object(segmentation=[[0, 0, 1e9, 0, 1e9, 1e9]]),
    "odd polygon": _object(segmentation=[[0, 0, 1, 1, 2, 2, 3]]),
    "counts": _object(segmentation={"size": [16, 24], "counts": [-1, 385]}),
    "text": _object(segmentation={"size": [16, 24], "counts": "oooooooo"}),
    "box": _object(bbox=["a", "b", "c", "d"]),
    "huge box": _object(bbox=[10**400, 0, 1, 1]),
    "category": _object(category_id=[1]),
    "image": _object(image_id={}),
    "no object": lambda content: content.update(annotations=[5]),
    "no image": lambda content: content.update(images=["a"]),
    "no category": lambda content: content.update(categories=[[]]),
    "huge category": lambda content: content["categories"][0].update(id=1e400),
    "no mapping": lambda content: content.clear(),
}


@pytest.mark.parametrize("kind", LIES)
def test_lies_of_a_coco_file_are_one_line(coco_root, kind):
    coco.edit(coco_root, LIES[kind])
    if kind == "odd polygon":
        coco.run(coco_root)  # pycocotools leaves the last number out
        return
    with pytest.raises(UserError) as caught:
        coco.run(coco_root)
    assert str(caught.value).isprintable()


def test_a_coco_file_that_is_deep_or_a_pipe(coco_root):
    path = coco_root / "train.json"
    for content in ("[" * 200_000, "1" * 5000, "{}"):
        path.write_text(content)
        with pytest.raises(UserError):
            coco.run(coco_root)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="regular file"):
        coco.run(coco_root)


@pytest.fixture
def voc_root(tmp_path):
    root = tmp_path / "root"
    for stem, image_set in (("1", "train"), ("2", "train"), ("3", "val"), ("4", "test")):
        layouts.add_voc(root, stem, [layouts.CAT], image_set)
    return root


BOMB = "<!DOCTYPE a [<!ENTITY a 'xxxxxxxxxx'><!ENTITY b '&a;&a;&a;'>]><annotation>&b;</annotation>"
EXTERNAL = "<!DOCTYPE a [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><annotation>&a;</annotation>"
XML = {
    "entities": (BOMB, "DOCTYPE"),
    "file": (EXTERNAL, "DOCTYPE"),
    "utf-16": (BOMB.encode("utf-16"), "XML"),
    "huge size": (layouts.voc_xml([layouts.CAT], 10**12, 10**12), "pixels"),
    "long size": (layouts.voc_xml([layouts.CAT], "9" * 5000), "Exceeds"),
    "no size": (layouts.voc_xml([layouts.CAT], -1), "pixels"),
    "not a number": (layouts.voc_xml([("cat", "x", 1, 2, 2, 0)]), "could not convert"),
    "deep": ("<a>" * 50_000, "XML"),
    "large": ("<a>" + " " * 2**24 + "</a>", "more than"),
}


@pytest.mark.parametrize("kind", XML)
def test_hostile_xml_is_one_line(voc_root, kind):
    content, says = XML[kind]
    content = content if isinstance(content, bytes) else content.encode()
    voc.annotation_of(voc_root, "1").write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        voc.run(voc_root)
    assert str(caught.value).isprintable()


def test_a_box_without_numbers_is_dropped(voc_root):
    text = layouts.voc_xml([("cat", "nan", "inf", "-inf", "1e400", 0), layouts.CAT])
    voc.annotation_of(voc_root, "1").write_text(text)
    info, _ = voc.run(voc_root)
    assert any("1 of 3 objects dropped" in row["reason"] for row in info["skipped"])


@pytest.mark.parametrize("line", ["../../../secret", "/etc/passwd", "a\x00b", "\x1b[2J"])
def test_lists_name_nothing_outside_of_their_set(voc_root, tmp_path, line):
    noise(1).save(tmp_path / "secret.jpg")
    (voc_root / "VOCdevkit/VOC2007/ImageSets/Main/train.txt").write_text(f"1\n2\n{line}\n")
    with pytest.raises(UserError, match="leads out of the set") as caught:
        voc.run(voc_root)
    assert str(caught.value).isprintable()


def test_masks_of_a_thousand_objects_in_a_large_image_are_not_made(voc_root):
    folder = voc_root / "VOCdevkit/VOC2007"
    (folder / "ImageSets/Segmentation").mkdir()
    for name in ("train", "val", "test"):
        text = (folder / f"ImageSets/Main/{name}.txt").read_text()
        (folder / f"ImageSets/Segmentation/{name}.txt").write_text(text)
    for name in ("SegmentationObject", "SegmentationClass"):
        (folder / name).mkdir()
        for stem in "1234":
            (folder / name / f"{stem}.png").write_bytes(png(layouts.WIDTH, layouts.HEIGHT))
    (folder / "SegmentationObject/1.png").write_bytes(png(4000, 4000))
    voc.annotation_of(voc_root, "1").write_text(layouts.voc_xml([layouts.CAT] * 250, 4000, 4000))
    with pytest.raises(UserError, match="masks of 250 objects in 4000 x 4000 pixels"):
        voc.run(voc_root, lists="Segmentation")


@pytest.fixture
def davis_root(tmp_path):
    root = tmp_path / "DAVIS"
    for number in range(3):
        for frame in range(3):
            path = root / f"JPEGImages/480p/s{number}/{frame:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise(10 * number + frame, 16).save(path)
            mask = np.full((16, 16), 1, np.uint8)
            davis.write_mask(root / f"Annotations/480p/s{number}/{frame:05d}.png", mask)
    (root / "ImageSets/2017").mkdir(parents=True)
    return root


def test_lies_of_a_davis_folder_are_one_line(davis_root, tmp_path):
    lists = davis_root / "ImageSets/2017/train.txt"
    for content in (b"../../x\n", b"..\n", b"\xff\xfe\n", b"a\x00b\n"):
        lists.write_bytes(content)
        with pytest.raises(UserError) as caught:
            davis.prepared(davis_root, tmp_path / "out")
        assert str(caught.value).isprintable()
    mask = davis_root / "Annotations/480p/s0/00000.png"
    mask.write_bytes(bomb())
    with pytest.raises(UserError, match="not a readable PNG"):
        davis.prepared(davis_root, tmp_path / "out", year=None)
    mask.unlink()
    mask.symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="out of the root"):
        davis.prepared(davis_root, tmp_path / "out", year=None)


BOX = {"boxes": [[0, 0, 2, 2]], "labels": [0], "is_crowd": [0], "is_difficult": [0]}
INSTANCES = {
    "size": {**BOX, "size": [10**6, 10**6], "masks": ["0"]},
    "negative": {**BOX, "size": [-4, 4], "masks": ["0"]},
    "text": {**BOX, "size": [4, 4], "masks": ["oooooo"]},
    "nothing": {**BOX, "size": [4, 4], "masks": [None]},
    "infinite": {**BOX, "boxes": [[0, 0, 1e400, 2]], "size": [4, 4], "masks": None},
    "label": {**BOX, "labels": [10**30], "size": [4, 4], "masks": None},
    "list": [],
}


@pytest.mark.parametrize("kind", INSTANCES)
def test_hostile_instances_are_one_line(tmp_path, kind):
    text = json.dumps(INSTANCES[kind]).encode()
    split = tmp_path / "train.arrow"
    write_split(split, [png(8, 8)], np.zeros(1, np.int64), ["a"], instances=[text])
    with pytest.raises(UserError, match="damaged instances") as caught:
        instances_of(Split(split), 0)
    assert str(caught.value).isprintable()
