"""`voc`: boxes, classes and masks from VOC's layout, by VOC's own rules."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data import voc
from sslbench.data.annotated import targets
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset
from sslbench.data.store.instances import instances_of
from tests.layouts import CAT, DOG, HARD_DOG, HEIGHT, WIDTH, add_voc, voc_xml

BLOCK = {
    "kind": "voc", "lists": "Main", "train": ["2007/train"], "val": ["2007/val"],
    "test": ["2007/test"], "classes": ["cat", "dog", "emu"], "seed": 0, "limit": None,
    "val_fraction": 0.0, "on_bad_image": "error",
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    add_voc(root, "000001", [CAT, DOG])
    add_voc(root, "000002", [("emu", 2, 2, 4, 4, 0)])
    add_voc(root, "000003", [HARD_DOG, CAT], "val")
    add_voc(root, "000004", [HARD_DOG, DOG], "test")
    return root


def run(root, **change):
    out = root.parent / "out"
    return prepare("x", BLOCK | {"root": str(root)} | change, out), Dataset.open(out)


def annotation_of(root, stem):
    return root / "VOCdevkit/VOC2007/Annotations" / f"{stem}.xml"


def test_images_of_the_lists_with_boxes_and_targets(root):
    info, data = run(root)
    assert info["counts"] == {"train": 2, "val": 1, "test": 1}
    assert info["classes"] == ["cat", "dog", "emu"]
    assert info["metric"] == "map_11point"
    train = data.split("train")
    assert (train.labels == -1).all()
    row = train.ids.index("VOC2007/JPEGImages/000001.jpg")
    path = root / "VOCdevkit" / train.ids[row]
    assert train.encoded(row) == path.read_bytes()
    found = instances_of(train, row)
    assert found.boxes.tolist() == [[0, 0, 30, 20], [2, 4, 10, 12]], "from 1, inclusive"
    assert found.labels.tolist() == [0, 1]
    assert found.masks is None
    assert "semantic" not in train.columns
    assert train.column("targets")[row].tolist() == [1, 1, 0]
    assert data.split("val").column("targets").tolist() == [[1, -1, 0]]
    assert instances_of(data.split("val"), 0).is_difficult.tolist() == [True, False]
    assert data.split("test").column("targets").tolist() == [[0, 1, 0]]
    data.verify()


@pytest.mark.parametrize(
    ("labels", "difficult", "expected"),
    [
        ([], [], [0, 0, 0]),
        ([1], [False], [0, 1, 0]),
        ([1], [True], [0, -1, 0]),
        ([1, 1], [True, False], [0, 1, 0]),
        ([1, 1], [False, True], [0, 1, 0]),
        ([2, 0, 2], [True, False, True], [1, 0, -1]),
    ],
)
def test_an_image_of_difficult_objects_alone_is_unsaid(labels, difficult, expected):
    found = targets(np.array(labels, np.int64), np.array(difficult, bool), 3)
    assert found.tolist() == expected
    assert found.dtype == np.int8


def test_vocs_own_classes_are_twenty_in_alphabetical_order():
    assert list(voc.CLASSES) == sorted(set(voc.CLASSES))
    assert len(voc.CLASSES) == 20


def test_torchvision_finds_the_same_images_and_names(root):
    from torchvision.datasets import VOCDetection

    _, data = run(root)
    theirs = VOCDetection(root, year="2007", image_set="train")
    train = data.split("train")
    for path, (image, said) in zip(theirs.images, theirs, strict=True):
        row = [name.rpartition("/")[2] for name in train.ids].index(path.rpartition("/")[2])
        np.testing.assert_array_equal(train.image(row), np.asarray(image))
        labels = [entry["name"] for entry in said["annotation"]["object"]]
        assert [data.info.classes[c] for c in instances_of(train, row).labels] == labels


def test_years_join_and_val_is_held_out(root):
    for i in range(6):
        add_voc(root, f"2012_{i}", [CAT], "trainval", year=2012)
    change = {"train": ["2007/train", "2012/trainval"], "val": [], "val_fraction": 0.25}
    info, _ = run(root, **change)
    assert info["counts"] == {"train": 6, "val": 2, "test": 1}
    assert "train is 2007/train + 2012/trainval" in info["split_rule"]
    assert "val out of train by hash rank" in info["split_rule"]
    assert run(root, **change)[0] == info
    assert run(root, test=["2012/trainval"])[0]["metric"] == "map_area"
    assert run(root, limit=1)[0]["counts"] == {"train": 1, "val": 1, "test": 1}


def test_classes_that_a_split_lacks_are_listed(root):
    info, _ = run(root)
    assert {"id": "dog", "reason": "class has no image in the val split"} in info["skipped"]
    assert not any(entry["id"] == "cat" and "train" in entry["reason"] for entry in info["skipped"])


@pytest.fixture
def masked(tmp_path):
    root = tmp_path / "root"
    for stem, image_set in (("a", "train"), ("b", "val"), ("c", "test")):
        folder = add_voc(root, stem, [CAT, DOG], image_set, lists="Segmentation")
        for name, values in (("Object", (1, 2)), ("Class", (1, 2))):
            numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
            numbers[2:9, 3:20], numbers[4:12, 2:10] = values
            numbers[0] = 255
            (folder / f"Segmentation{name}").mkdir(exist_ok=True)
            save(folder / f"Segmentation{name}" / f"{stem}.png", numbers)
    return root


def save(path, numbers):
    image = Image.fromarray(numbers).convert("L")
    image.putpalette([*range(256)] * 3)
    image.save(path)


def test_masks_are_the_objects_in_order_and_semantic_is_the_file(masked):
    _, data = run(masked, lists="Segmentation")
    train = data.split("train")
    found = instances_of(train, 0)
    assert found.masks.shape == (2, HEIGHT, WIDTH)
    assert found.masks[1].sum() == 8 * 8
    assert found.masks[0].sum() == 7 * 17 - 5 * 7
    assert not found.masks[:, 0].any(), "255 is no object's"
    content = train.encoded(0, "semantic")
    assert content == (masked / "VOCdevkit/VOC2007/SegmentationClass/a.png").read_bytes()
    numbers = np.asarray(Image.open(io.BytesIO(content)))
    assert set(np.unique(numbers)) == {0, 1, 2, 255}
    for mask, label in zip(found.masks, found.labels, strict=True):
        assert (numbers[mask] == label + 1).all()


def test_without_numbered_objects_there_are_no_masks(masked):
    folder = masked / "VOCdevkit/VOC2007"
    (folder / "SegmentationObject").rename(folder / "elsewhere")
    _, data = run(masked, lists="Segmentation")
    assert instances_of(data.split("train"), 0).masks is None
    assert "semantic" in data.split("train").columns


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_bytes(b"no image"), "not a readable PNG"),
        (lambda path: save(path, np.zeros((5, 5), np.uint8)), "5 x 5"),
        (lambda path: save(path, np.full((HEIGHT, WIDTH), 9, np.uint8)), "number 9, and there"),
        (lambda path: Image.new("RGB", (WIDTH, HEIGHT)).save(path), "RGB of 30 x 20"),
    ],
)
@pytest.mark.parametrize("name", ["SegmentationObject", "SegmentationClass"])
def test_wrong_masks(masked, make, says, name):
    make(masked / "VOCdevkit/VOC2007" / name / "a.png")
    with pytest.raises(UserError, match=rf"a\.jpg: {name}/a\.png.*{says}"):
        run(masked, lists="Segmentation")


def test_a_photograph_that_exif_turns_upside_down(root):
    """Its boxes may count in the pixels of the file or of the upright image, and no size tells."""
    path = root / "VOCdevkit/VOC2007/JPEGImages/000001.jpg"
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 3
    image.save(path, exif=exif)
    with pytest.raises(UserError, match=r"000001\.jpg: EXIF .* save the image upright"):
        run(root)
    info, _ = run(root, on_bad_image="skip")
    assert info["counts"]["train"] == 1
    assert "VOC2007/JPEGImages/000001.jpg" in [entry["id"] for entry in info["skipped"]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "Annotations/000001.xml cannot be read"),
        ("<annotation><size>", "not readable XML"),
        ("", "not readable XML"),
        ("<annotation></annotation>", "no <size/width>"),
        (voc_xml([CAT], width="wide"), "wide"),
        (voc_xml([CAT], width=31), r"image of 30 x 20 pixels where its annotation says 31 x 20"),
        (voc_xml([CAT]).replace("<xmax>30</xmax>", ""), "no <bndbox/xmax>"),
        (voc_xml([CAT]).replace("<xmax>30</xmax>", "<xmax>far</xmax>"), "far"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + voc_xml([CAT])[21:], "DOCTYPE"),
    ],
)
def test_wrong_annotations_stop_or_are_listed(root, text, says):
    path = annotation_of(root, "000001")
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=says):
        run(root)
    info, _ = run(root, on_bad_image="skip")
    assert info["counts"]["train"] == 1
    assert any("000001" in entry["id"] for entry in info["skipped"])


def test_an_encoding_does_not_hide_a_doctype(root):
    bomb = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><annotation/>'
    annotation_of(root, "000001").write_bytes(bomb.encode("utf-16"))
    with pytest.raises(UserError, match="not readable XML"):
        run(root)


def test_boxes_are_clipped_and_counted(root):
    objects = [("cat", -9, 1, 30, 25, 0), ("dog", 40, 1, 50, 9, 0), ("emu", 1, 1, 30, 20, 0)]
    annotation_of(root, "000001").write_text(voc_xml(objects))
    info, data = run(root)
    train = data.split("train")
    row = train.ids.index("VOC2007/JPEGImages/000001.jpg")
    found = instances_of(train, row)
    assert found.boxes.tolist() == [[0, 0, 30, 20], [0, 0, 30, 20]]
    assert found.labels.tolist() == [0, 2]
    reasons = [entry["reason"] for entry in info["skipped"] if entry["id"] == "train"]
    assert reasons == [
        "1 of 4 boxes reached out of their image, by up to 10.0 pixels, and were clipped",
        "1 of 4 objects dropped: no area inside",
    ]


def test_missing_image(root):
    (root / "VOCdevkit/VOC2007/JPEGImages/000001.jpg").unlink()
    with pytest.raises(UserError, match=r"000001\.jpg: cannot be read"):
        run(root)
    assert run(root, on_bad_image="skip")[0]["counts"]["train"] == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": ["cat", "dog"]}, "class 'emu' is not in the list"),
        ({"classes": None}, "class 'emu' is not in the list"),
        ({"train": ["2009/train"]}, "list cannot be read"),
        ({"lists": "Segmentation"}, "list cannot be read"),
        ({"train": []}, "each need an image set"),
        ({"train": ["train"]}, "not <year>/<set>"),
        ({"train": ["2007/../x"]}, "not <year>/<set>"),
        ({"train": ["2007/train", "2007/train"]}, "listed twice"),
        ({"val": []}, "name a val split"),
        ({"val_fraction": 0.1}, "and not both"),
        ({"limit": 0}, "at least 1"),
        ({"lists": "Layout"}, "Layout"),
    ],
)
def test_wrong_blocks(root, change, says):
    with pytest.raises(UserError, match=says):
        run(root, **change)


def test_wrong_root(tmp_path):
    with pytest.raises(UserError, match="the folder that holds VOCdevkit"):
        run(tmp_path / "nowhere")


def test_empty_list(root):
    (root / "VOCdevkit/VOC2007/ImageSets/Main/test.txt").write_text("\n")
    with pytest.raises(UserError, match="list names no image"):
        run(root)
