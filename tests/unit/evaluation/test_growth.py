"""Extraction and probes: the same bits as ever, without memory of their own for every image."""

import errno

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.core.feature_file import Features, id_hashes, keyed, read_features, write_features
from sslbench.evaluation.protocols import linear
from sslbench.evaluation.protocols.parts import scratch
from sslbench.evaluation.protocols.parts.scaling import Scale, unit_rows
from tests.memory import peak_bytes

ROWS, DIM = 20_000, 32
WHOLE = 4 * ROWS * DIM  # bytes of the features


def drawn(rows=ROWS, dim=DIM, seed=0):
    rng = np.random.default_rng(seed)
    return np.maximum(3 * rng.standard_normal((rows, dim), np.float32) + 1, 0)


@pytest.mark.parametrize("shape", [(1, 5), (300, 2), (9001, 33), (5000, 257)])
def test_scales_have_the_bits_of_numpys_mean_and_std(shape):
    features = drawn(*shape)
    scale = Scale.of(features)
    mean, std = (of(features, axis=0, dtype=np.float64) for of in (np.mean, np.std))
    std[std <= 1e-6 * np.abs(mean)] = 1.0
    assert np.array_equal(scale.mean, mean.astype(np.float32))
    assert np.array_equal(scale.deviation, std.astype(np.float32))
    whole = (features - scale.mean) / scale.deviation
    assert np.array_equal(scale(features[:200], features[200:]), whole)


def test_unit_rows_have_the_bits_of_numpys_norm():
    features = drawn(9001, 33)
    features[4] = 0
    expected = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    assert np.array_equal(unit_rows(features), expected.astype(np.float32))


def test_reading_features_maps_them(tmp_path):
    ids = id_hashes(map(str, range(ROWS)))
    write_features(tmp_path, "train", keyed(np.arange(ROWS), {"last": drawn()}, ids))
    read_features(tmp_path, "train", ["last"])  # imports
    assert peak_bytes(lambda: read_features(tmp_path, "train", ["last"])) < WHOLE / 8


def test_scaling_holds_its_result_and_a_few_rows(monkeypatch):
    features = drawn()
    scale = Scale.of(features)
    monkeypatch.setattr(scratch, "CHUNK", 1000)
    assert peak_bytes(lambda: Scale.of(features)) < WHOLE / 2
    assert peak_bytes(lambda: scale(features)) < 1.1 * WHOLE
    assert peak_bytes(lambda: unit_rows(features)) < 1.4 * WHOLE


def test_a_large_probe_works_in_files_and_finds_the_same(monkeypatch):
    labels = np.arange(ROWS) % 3
    parts = {name: drawn(seed=seed) for seed, name in enumerate(("train", "val", "test"))}
    made = {
        name: Features(name, labels, {"last": values + labels[:, None] * np.float32(0.1)}, labels)
        for name, values in parts.items()
    }
    params = linear.Params(
        log10_c_low=-4.0, log10_c_high=0.0, num_c=3, tolerance=1e-4, max_iterations=20
    )

    def probe():
        choice = linear.choose(made["train"], made["val"], params)
        found.append(linear.measure(choice, made["train"], made["val"], made["test"]))

    found = []
    probe()
    monkeypatch.setattr(scratch, "LARGE", 2**16)
    monkeypatch.setattr(scratch, "CHUNK", 500)
    assert peak_bytes(probe) < 80 * 2 * ROWS  # train and val; their features, twice, have 256 each
    assert found[0] == found[1]
    assert scratch.empty((2**15,), np.float32).base is not None


def test_no_room_for_working_arrays_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(UserError, match=r"no room for 0\.2 GiB of working arrays .*TMPDIR"):
        scratch.empty((2**26,), np.float32)
