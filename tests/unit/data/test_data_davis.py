"""`davis`: the folders of DAVIS-2016 and DAVIS-2017, their lists, masks and mistakes."""

import numpy as np
import pytest
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset
from sslbench.data.store.clips import clips, object_map

SIZE = (12, 20)
BLOCK = {
    "kind": "davis", "resolution": "480p", "year": "2017", "seed": 0, "val_fraction": 0.3,
    "test_fraction": 0.3,
}  # fmt: skip


def numbers(*values):
    """A map with a square of each value."""
    made = np.zeros(SIZE, np.uint8)
    for place, value in enumerate(values):
        made[2:8, 2 + 5 * place : 6 + 5 * place] = value
    return made


def write_mask(path, values, mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette(np.random.default_rng(0).integers(0, 255, 768, dtype=np.uint8).tobytes())
    elif mode != "L":
        image = image.convert(mode)
    image.save(path)


@pytest.fixture
def root(tmp_path):
    """Six sequences of four frames, each with objects 1 and 2; two are the official val."""
    rng, root = np.random.default_rng(0), tmp_path / "DAVIS"
    for number in range(6):
        for frame in range(4):
            path = root / f"JPEGImages/480p/s{number}/{frame:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(path)
            write_mask(root / f"Annotations/480p/s{number}/{frame:05d}.png", numbers(1, 2))
    for year in ("2016", "2017"):
        (root / "ImageSets" / year).mkdir(parents=True)
    for name, members in {"train": (0, 1, 2, 3), "val": (4, 5)}.items():
        names = [f"s{n}" for n in members]
        (root / f"ImageSets/2017/{name}.txt").write_text("\n".join(names) + "\n")
        lines = [f"/JPEGImages/480p/{n}/{f:05d}.jpg /x.png \r" for n in names for f in range(4)]
        (root / f"ImageSets/2016/{name}.txt").write_text("\n".join(lines))
    return root


def prepared(root, out, **changes):
    prepare("x", BLOCK | {"root": str(root)} | changes, out)
    return Dataset.open(out)


def members(data):
    return {
        name: [clip.name for clip in clips(data.split(name), "object_map")]
        for name in data.info.counts
    }


@pytest.mark.parametrize("year", ["2016", "2017"])
def test_official_val_is_test_and_val_is_held_out_of_train(root, tmp_path, year):
    found = members(prepared(root, tmp_path / "out", year=year))
    assert found["test"] == ["s4", "s5"]
    assert len(found["val"]) == 1
    assert sorted(found["train"] + found["val"]) == ["s0", "s1", "s2", "s3"]


def test_without_lists_all_are_split_by_hash(root, tmp_path):
    found = members(prepared(root, tmp_path / "out", year=None))
    assert sorted(name for names in found.values() for name in names) == [f"s{n}" for n in range(6)]
    assert {name: len(names) for name, names in found.items()} == {"train": 2, "val": 2, "test": 2}
    assert found != members(prepared(root, tmp_path / "other", year=None, seed=1))


def test_frames_keep_their_bytes_and_masks_their_numbers(root, tmp_path):
    split = prepared(root, tmp_path / "out").split("test")
    first = clips(split, "object_map")[0]
    path = root / "JPEGImages/480p/s4/00002.jpg"
    assert split.encoded(first.rows[2]) == path.read_bytes()
    assert split.image(first.rows[2]).shape == (*SIZE, 3)
    np.testing.assert_array_equal(object_map(split, first.rows[2]), numbers(1, 2))


def test_a_long_sequence_stays_one_clip(root, tmp_path):
    for frame in range(4, 70):  # more than reading holds at once
        name = f"480p/s4/{frame:05d}"
        (root / f"JPEGImages/{name}.jpg").write_bytes(
            (root / "JPEGImages/480p/s4/00000.jpg").read_bytes() + bytes([frame])
        )
        write_mask(root / f"Annotations/{name}.png", numbers(frame))
    split = prepared(root, tmp_path / "out").split("test")
    first = clips(split, "object_map")[0]
    assert split.column("frame")[first.rows].tolist() == list(range(70))
    assert [object_map(split, row).max() for row in first.rows[4:]] == list(range(4, 70))


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_0_and_255_alone_are_one_object(root, tmp_path, mode):
    for frame in range(4):
        path = root / f"Annotations/480p/s4/{frame:05d}.png"
        write_mask(path, numbers(255), mode)
    split = prepared(root, tmp_path / "out").split("test")
    np.testing.assert_array_equal(object_map(split, 0), numbers(1))


def test_255_beside_numbers_is_background(root, tmp_path):
    write_mask(root / "Annotations/480p/s4/00001.png", numbers(1, 255, 3))
    split = prepared(root, tmp_path / "out").split("test")
    np.testing.assert_array_equal(object_map(split, 1), numbers(1, 0, 3))


def mask_of(path, *arguments):
    return lambda root: write_mask(root / f"Annotations/480p/{path}", *arguments)


def text_of(path, content):
    return lambda root: (root / path).write_text(content)


def without(path):
    return lambda root: (root / path).unlink()


MASKS = "Annotations/480p"
MISTAKES = {
    "no first": (without(f"{MASKS}/s4/00000.png"), "s4/00000.png: the first frame .* has no mask"),
    "no other": (without(f"{MASKS}/s5/00003.png"), "s5/00003.png: the frame .* has no mask"),
    "size": (mask_of("s4/00001.png", numbers(1)[:, 1:]), "01.png: a mask of 19 x 12 px for .* 20"),
    "empty": (mask_of("s4/00000.png", numbers()), "s4/00000.png: the first mask is empty"),
    "colours": (mask_of("s4/00000.png", numbers(1), "RGB"), "s4/00000.png: a mask of colours"),
    "no png": (text_of(f"{MASKS}/s4/00002.png", "?"), "s4/00002.png: not a readable PNG"),
    "no jpeg": (text_of("JPEGImages/480p/s4/00002.jpg", "?"), "s4/00002.jpg: not a readable image"),
    "sequence": (text_of("ImageSets/2017/val.txt", "s4\nabsent"), r"absent: 0 frame\(s\)"),
    "no list": (without("ImageSets/2017/train.txt"), "train.txt: cannot be read .*year: null"),
}


@pytest.mark.parametrize(("spoil", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_named_with_their_place(root, tmp_path, spoil, says):
    spoil(root)
    with pytest.raises(UserError, match=says):
        prepared(root, tmp_path / "out")


def test_a_folder_without_sequences_is_refused(root, tmp_path):
    with pytest.raises(UserError, match=r"JPEGImages.Full: no sequences; set data"):
        prepared(root, tmp_path / "out", resolution="Full", year=None)
    with pytest.raises(UserError, match="val_fraction"):
        prepared(root, tmp_path / "out", val_fraction=0.0)


def test_frames_without_leading_zeros_are_in_order_of_time(root, tmp_path):
    for folder, ending in (("JPEGImages", "jpg"), ("Annotations", "png")):
        for frame in range(4):
            place = root / folder / "480p/s0"
            (place / f"{frame:05d}.{ending}").rename(place / f"{8 + frame}.{ending}")
    data = prepared(root, tmp_path / "out", year=None)
    named = [str(name) for split in data.info.counts for name in data.split(split).ids]
    ids = [name for name in named if name.startswith("s0/")]
    assert ids == ["s0/8", "s0/9", "s0/10", "s0/11"]


def test_a_frame_of_another_size_is_refused(root, tmp_path):
    small = np.zeros((6, 10), np.uint8)
    Image.fromarray(np.stack([small] * 3, axis=2)).save(root / "JPEGImages/480p/s1/00002.jpg")
    write_mask(root / "Annotations/480p/s1/00002.png", small)
    with pytest.raises(UserError, match=r"00002.png: 10 x 6 px in a sequence of 20 x 12 px"):
        prepared(root, tmp_path / "out", year=None)


@pytest.mark.parametrize("count", [32, 33])
def test_greys_of_smoothed_edges_are_not_taken_for_objects(root, tmp_path, count):
    greys = np.zeros(SIZE, np.uint8)
    greys.flat[:count] = np.arange(1, count + 1)
    greys[6:] = 255
    write_mask(root / "Annotations/480p/s0/00000.png", greys, "L")
    if count == 32:
        assert prepared(root, tmp_path / "out").split("train")
        return
    with pytest.raises(UserError, match=r"00000.png: 33 objects in the first mask; store up to 32"):
        prepared(root, tmp_path / "out")
