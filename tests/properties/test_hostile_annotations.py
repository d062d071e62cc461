"""Any annotation: read, or refused in a line; whatever is drawn is a mask of the image's size."""

import json

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from sslbench.core.errors import UserError
from sslbench.data import coco, voc
from sslbench.data.annotated import BadAnnotationError
from sslbench.data.store import instances, run_lengths
from tests import layouts
from tests.properties.hostile import ANYTHING, check_line, damaged, mutated

HEIGHT, WIDTH = 16, 24
SIDES = st.integers(-2, 40)
NUMBERS = st.floats(-100, 100) | st.floats()
MASK = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 7 < 3
TEXT = instances._run_lengths(MASK)


def drawn(call, shape, height=HEIGHT, width=WIDTH):
    """Draw a mask; return it, or None where that is refused."""
    try:
        made = call(shape, height, width)
    except (ValueError, AttributeError):
        return None
    assert (made.shape, made.dtype) == ((height, width), bool)
    return made


def test_run_lengths_come_back():
    assert (drawn(run_lengths.from_text, TEXT) == MASK).all()


@given(st.text("0123456789OPQZo`abc~\x00é", max_size=40), SIDES, SIDES)
def test_any_text_as_run_lengths(text, height, width):
    drawn(run_lengths.from_text, text, height, width)


@given(damaged(TEXT.encode()))
def test_damaged_run_lengths(content):
    drawn(run_lengths.from_text, content.decode("latin-1"))


@given(st.lists(st.integers(-1, 200) | st.integers(), max_size=12), SIDES, SIDES)
def test_any_numbers_as_run_lengths(counts, height, width):
    made = drawn(run_lengths.from_counts, counts, height, width)
    if made is not None:
        assert made.sum() == sum(counts[1::2])


@given(st.lists(st.lists(NUMBERS, min_size=6, max_size=12), min_size=1, max_size=3))
def test_any_corners_as_a_polygon(polygons):
    made = drawn(run_lengths.from_polygons, polygons)
    if made is not None:
        whole = [polygon for polygon in polygons if len(polygon) % 2 == 0]
        assume(len(whole) == len(polygons))
        again = coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(whole, HEIGHT, WIDTH)))
        assert (made == again.astype(bool)).all()


FILE = {
    "categories": [{"id": 1, "name": "a"}, {"id": 7, "name": "b"}],
    "images": [{"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5], "iscrowd": 0,
         "segmentation": [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0]]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 1,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": TEXT}},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 1,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": [40, 100, HEIGHT * WIDTH - 140]}},
    ],
}  # fmt: skip


def read_coco(folder, content):
    (folder / "a.json").write_bytes(content)
    try:
        read = coco._read(folder, coco.Files(images="images", annotations="a.json"))
    except UserError as error:
        check_line(error)
        return
    for name in read.images:
        assert ".." not in name.split("/")
        try:
            said = read.annotation(name)
        except BadAnnotationError:
            continue
        assert len(said.boxes) == len(said.labels) == len(said.is_crowd)
        assert said.masks is None or said.masks.shape[1:] == (said.height, said.width)


@given(mutated(FILE) | ANYTHING)
@example(FILE)
def test_a_coco_file_with_one_fault(tmp_path_factory, content):
    read_coco(tmp_path_factory.mktemp("coco"), json.dumps(content).encode())


@given(damaged(json.dumps(FILE).encode()))
def test_a_damaged_coco_file(tmp_path_factory, content):
    read_coco(tmp_path_factory.mktemp("coco"), content)


XML = layouts.voc_xml([layouts.CAT, layouts.DOG])
WORDS = st.sampled_from(["nan", "inf", "-1", "1e999", "9" * 5000, "", " 3 ", "<a/>", "&a;", "0"])


@given(
    damaged(XML.encode())
    | st.builds(lambda old, new: XML.replace(old, new).encode(), st.sampled_from("123570"), WORDS)
)
@example(XML.encode())
def test_a_damaged_voc_file(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("voc")
    (folder / "VOC2007/Annotations").mkdir(parents=True)
    (folder / "VOC2007/Annotations/a.xml").write_bytes(content)
    try:
        said = voc._Reader(folder, ("cat", "dog"), has_masks=False).annotation(
            "VOC2007/JPEGImages/a.jpg"
        )
    except (BadAnnotationError, UserError):
        return
    assert said.boxes.shape == (len(said.labels), 4)


ROW = json.loads(
    instances.to_bytes(
        instances.plain(np.array([[0, 0, 3, 3]]), np.array([1]), MASK[None]), HEIGHT, WIDTH
    )
)


@given(mutated(ROW) | ANYTHING)
@example(ROW)
def test_a_row_of_the_store_with_one_fault(content):
    try:
        found = instances._parsed(json.dumps(content).encode(), "row 0")
    except UserError as error:
        check_line(error)
        return
    assert len(found.boxes) == len(found.labels)
    assert np.isfinite(found.boxes).all()


def test_the_sound_row_is_read():
    assert (instances._parsed(json.dumps(ROW).encode(), "").masks == MASK).all()
    with pytest.raises(UserError):
        instances._parsed(b"[" * 100_000, "")
