import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from sslbench.core import artifacts
from sslbench.core.errors import UserError


def test_json_is_the_same_bytes_whatever_the_order(tmp_path):
    artifacts.write_json(tmp_path / "a.json", {"b": 1, "a": [0.1]})
    artifacts.write_json(tmp_path / "b.json", {"a": [0.1], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.json"
    artifacts.write_json(path, {"old": True})
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json(path, {"new": float("nan")})
    with pytest.raises(ZeroDivisionError), artifacts.atomic(path) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert json.loads(path.read_text()) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sslbench.core.artifacts.os.fsync", full)
    with pytest.raises(UserError, match=r"a\.json: cannot write \(No space left on device\)"):
        artifacts.write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        artifacts.write_json(tmp_path / "f" / "a.json", {})


def test_files_are_readable_by_others(tmp_path):
    artifacts.write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").stat().st_mode & 0o044


@pytest.mark.parametrize("content", [b"", b"\x08", b"{}" * 40])
def test_a_damaged_tensor_file_is_one_line(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="damaged file"):
        artifacts.read_arrays(tmp_path / "a.safetensors")


def test_arrays_round_trip(tmp_path):
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array([1], np.int64)}
    artifacts.write_arrays(tmp_path / "a.safetensors", arrays)
    back = artifacts.read_arrays(tmp_path / "a.safetensors")
    assert all(
        np.array_equal(arrays[k], back[k]) and arrays[k].dtype == back[k].dtype for k in arrays
    )


def test_a_file_of_arrays_has_safetensors_own_bytes(tmp_path):
    """Whatever the order, the types, the number of rows and the names' alphabet."""
    from safetensors.numpy import save

    rng = np.random.default_rng(0)
    arrays = {
        "layer/ö": rng.standard_normal((5, 3)).astype(np.float32),
        "labels": rng.integers(9, size=5),
        "ids": rng.integers(9, size=5).astype(np.uint64),
        "layer/b": rng.standard_normal((5, 2, 2)).astype(np.float32),
        "targets": rng.integers(2, size=(5, 7)).astype(np.int8),
        "none": np.zeros((0, 4), np.float32),
    }
    path = tmp_path / "a.safetensors"
    artifacts.write_arrays(path, arrays)
    assert path.read_bytes() == save(arrays)
    layout = {name: (values.dtype, values.shape) for name, values in arrays.items()}
    with artifacts.array_writer(path, layout) as writer:
        for rows in (slice(3, 5), slice(0, 3)):
            for name, values in arrays.items():
                writer.write(name, min(rows.start, len(values)), values[rows])
    assert path.read_bytes() == save(arrays)


def test_arrays_are_read_as_views_of_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    artifacts.write_arrays(path, {"x": np.zeros((3, 2), np.float32)})
    values = artifacts.read_arrays(path)["x"]
    assert not values.flags.owndata
    assert not values.flags.writeable


@pytest.mark.parametrize(
    ("start", "values"),
    [(2, np.zeros((2, 2), np.float32)), (0, np.zeros((2, 3), np.float32)), (0, np.zeros((2, 2)))],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, start, values):
    layout = {"x": (np.dtype(np.float32), (3, 2))}
    with (
        pytest.raises(ValueError, match="'x' does not take"),
        artifacts.array_writer(tmp_path / "a.safetensors", layout) as writer,
    ):
        writer.write("x", start, values)
    assert list(tmp_path.iterdir()) == []


def test_a_file_and_then_its_name_are_brought_to_the_disk(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(handle):
        synced.append(Path(f"/proc/self/fd/{handle}").resolve())
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    artifacts.write_text(tmp_path / "a.txt", "a")
    assert [path.suffix for path in synced[:-1]] == [artifacts.TEMPORARY]
    assert synced[-1] == tmp_path


def test_leftovers_are_those_of_one_file(tmp_path):
    names = (".a.txt.12ab.tmp", ".ab.txt.12ab.tmp", "a.txt", ".a.txt.12ab")
    for name in names:
        (tmp_path / name).touch()
    with artifacts.atomic(tmp_path / "a.txt") as temporary:
        temporary.touch()
        assert artifacts.leftovers(tmp_path / "a.txt") == sorted([tmp_path / names[0], temporary])
