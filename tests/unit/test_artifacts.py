import errno
import json

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
