"""The probe runner: test stays shut while a protocol chooses, and bad labels are refused."""

import gc
import json
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslbench.core import artifacts, per_sample, seal
from sslbench.core.errors import UserError
from sslbench.core.feature_file import Features, read_features
from sslbench.data.store import Dataset, Split
from sslbench.evaluation import protocols
from sslbench.evaluation.protocols import base
from sslbench.evaluation.protocols.parts import linear_fit
from sslbench.evaluation.protocols.parts.probe import run_probe
from sslbench.evaluation.protocols.parts.transfer import run_transfer

LAYERS = ("first", "second")
KNN = {"k": (1, 5, 20), "temperature": (0.07, 1.0)}
LINEAR = {
    "log10_c_low": -4.0, "log10_c_high": 1.0, "num_c": 5, "tolerance": 1e-4, "max_iterations": 500,
}  # fmt: skip


def probe(name, features_dir, **changes):
    module = protocols.load(name)
    params = module.Params(**{**{"knn": KNN, "linear": LINEAR}[name], **changes})
    return run_probe(module, features_dir, LAYERS, params)


@pytest.fixture
def reads(monkeypatch):
    """The splits read so far, in order."""
    seen = []
    read = artifacts.read_arrays

    def spy(path):
        seen.append(path.stem)
        return read(path)

    monkeypatch.setattr(artifacts, "read_arrays", spy)
    return seen


def cheat(choose, measure=lambda choice, train, val, test: []):
    return types.SimpleNamespace(
        NAME="cheat", VERSION=1, LABELS="one", choose=choose, measure=measure
    )


def test_a_cheating_protocol_finds_no_test_split(features_dir, reads):
    found = {}

    def choose(*given):
        train, _val, _params = given  # nothing else is offered
        found["reads"] = list(reads)
        found["splits"] = {thing.split for thing in gc.get_objects() if type(thing) is Features}
        found["offers"] = [name for name in dir(train) if not name.startswith("_")]

    result = run_probe(cheat(choose), features_dir, LAYERS, None)
    assert found["reads"] == ["train", "val"]
    assert found["splits"] == {"train", "val"}
    assert found["offers"] == ["ids", "labels", "layers", "split", "targets"]
    assert reads == ["train", "val", "test"]
    assert result.test_reads == ((features_dir / "test.safetensors").as_posix(),)


def test_what_a_protocol_gets_cannot_be_changed(features_dir):
    def choose(train, val, params):
        train.layers["first"][0] = 0

    with pytest.raises(ValueError, match="read-only"):
        run_probe(cheat(choose), features_dir, LAYERS, None)


def test_a_protocol_that_knows_where_test_lies_is_refused(features_dir):
    def choose(train, val, params):
        return read_features(features_dir, "test", LAYERS)

    with pytest.raises(RuntimeError, match="test split is shut while a protocol chooses"):
        run_probe(cheat(choose), features_dir, LAYERS, None)
    assert len(read_features(features_dir, "test", LAYERS).labels) == 45, "shut for choose alone"


@pytest.mark.parametrize("spell", [Path.absolute, lambda path: Path("link", path.name)])
def test_a_shut_file_is_shut_by_every_name(tmp_path, monkeypatch, spell):
    monkeypatch.chdir(tmp_path)
    Path("real").mkdir()
    Path("link").symlink_to("real")
    path = Path("real/test.arrow")
    with seal.shut(path), pytest.raises(RuntimeError, match="shut while a protocol chooses"):
        seal.check(spell(path))
    seal.check(spell(path))


@pytest.mark.parametrize(
    "peek",
    [
        lambda subject, train: Split(train.path.with_name("test.arrow")),
        lambda subject, train: Dataset.open(train.path.parent).split("test"),
    ],
)
def test_a_transfer_that_looks_for_test_beside_train_is_refused(checkpoint_dir, dataset_dir, peek):
    protocol = types.SimpleNamespace(
        NAME="cheat", VERSION=1, LABELS="one",
        choose=lambda subject, train, val, params: peek(subject, train),
        measure=lambda choice, subject, train, val, test: [],
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="test split is shut while a protocol chooses"):
        run_transfer(protocol, checkpoint_dir, dataset_dir, None, 0, "cpu")


def test_a_sealed_split_opens_once():
    sealed = base.Sealed(lambda: "content", Path("data/test.arrow"))
    assert (sealed.open(), sealed.reads) == ("content", ("data/test.arrow",))
    with pytest.raises(RuntimeError, match="read once"):
        sealed.open()


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_a_value_that_is_no_mean_over_samples_has_its_standard_error(name, features_dir):
    top1, per_class, *layers = probe(name, features_dir).measurements
    assert (top1.standard_error, len(top1.per_sample)) == (None, 45)
    assert 0 < per_class.standard_error < 0.15
    assert per_class.to_json()["standard_error"] == per_class.standard_error
    assert {row.standard_error for row in layers} == {None}


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_other_test_labels_change_no_choice(name, features_dir, rewrite):
    before = probe(name, features_dir)
    rewrite("test", labels=lambda labels: (labels + 1) % 3)
    after = probe(name, features_dir)
    assert [m.detail for m in before.measurements] == [m.detail for m in after.measurements]
    assert before.measurements[0].value > 0.5 > after.measurements[0].value


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_measurements_of_a_probe(name, features_dir):
    result = probe(name, features_dir)
    rows = [(m.metric, m.role, m.layer) for m in result.measurements]
    assert rows == [
        ("top1", "headline", "second"),
        ("mean_per_class", "headline", "second"),
        ("top1", "layer", "first"),
        ("top1", "layer", "second"),
    ]
    assert {(m.split, m.n, m.unit) for m in result.measurements} == {("test", 45, "fraction")}
    assert result.measurements[0].value == result.measurements[3].value
    assert result.measurements[0].detail["val"] > result.measurements[2].detail["val"]


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_a_record_is_json_and_the_same_every_time(name, features_dir):
    first, second = (
        json.dumps(probe(name, features_dir).to_json(), allow_nan=False) for _ in range(2)
    )
    assert first == second
    record = json.loads(first)
    assert record["test_reads"] == [(features_dir / "test.safetensors").as_posix()]
    right = per_sample.decode(record["per_sample"])
    assert right.mean() == record["measurements"][0]["value"]
    assert record["protocol"] == {"name": name, "version": 1}


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_names_of_classes_do_not_matter(name, features_dir, rewrite):
    before = [m.value for m in probe(name, features_dir).measurements]
    for split in artifacts.SPLITS:
        rewrite(split, labels=lambda labels: 10 * labels + 4)
    assert [m.value for m in probe(name, features_dir).measurements] == before


def test_k_above_the_bank_is_clipped_with_a_note(features_dir):
    result = probe("knn", features_dir, k=(100, 500))
    detail = result.measurements[0].detail
    assert detail["k"] == 60
    assert detail["note"] == "k [100, 500] clipped to the bank's 60 images"


def test_a_c_at_the_edge_is_noted(features_dir):
    detail = probe("linear", features_dir, log10_c_low=3.0, log10_c_high=4.0, num_c=2)
    assert "edge" in detail.measurements[0].detail["note"]
    single = probe("linear", features_dir, log10_c_low=0.0, log10_c_high=0.0, num_c=1)
    assert "note" not in single.measurements[0].detail


def test_the_grid_of_c_has_both_ends():
    cs = linear_fit.Params(**LINEAR).cs
    assert np.log10(cs) == pytest.approx([-4, -2.75, -1.5, -0.25, 1])


def test_linear_refits_on_train_and_val(features_dir, rewrite):
    before = probe("linear", features_dir, num_c=1, log10_c_low=0.0, log10_c_high=0.0)
    rewrite("val", labels=lambda y: (y + 1) % 3)
    after = probe("linear", features_dir, num_c=1, log10_c_low=0.0, log10_c_high=0.0)
    same, other = before.measurements[3], after.measurements[3]
    assert same.layer == other.layer, "the choice of a layer hangs on val, too"
    assert same.value != other.value


def test_linear_scales_every_split_by_train(features_dir):
    """Val lies elsewhere: scaled by itself it would look like train."""
    from sklearn.linear_model import LogisticRegression

    train, val = (read_features(features_dir, split, ["second"]) for split in ("train", "val"))
    val = replace(val, layers={"second": val.layers["second"] + 3})
    mean, deviation = (of(train.layers["second"], axis=0) for of in (np.mean, np.std))
    x, queries = ((part.layers["second"] - mean) / deviation for part in (train, val))

    def theirs(features, labels):
        return LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(features, labels)

    params = linear_fit.Params(**{**LINEAR, "log10_c_low": 0.0, "log10_c_high": 0.0, "num_c": 1})
    chosen = linear_fit.choose_layer("second", train, val, params)
    assert chosen.val == theirs(x, train.labels).score(queries, val.labels) < 0.6
    fit = linear_fit.Probe.of(chosen, train, val, params).fit
    both = theirs(np.concatenate([x, queries]), np.concatenate([train.labels, val.labels]))
    np.testing.assert_allclose(fit.weights[:, :-1], both.coef_, atol=0.02)


def test_features_of_no_variance_are_harmless(features_dir, rewrite):
    for split, size in {"train": 60, "val": 30, "test": 45}.items():
        rewrite(split, first=np.full((size, 8), 3.3, np.float32))
    result = probe("linear", features_dir)
    assert result.measurements[2].value == pytest.approx(1 / 3)
    assert probe("knn", features_dir).measurements[2].value == pytest.approx(1 / 3)


def test_a_tie_between_layers_goes_to_the_deeper():
    tied = base.Choice(tuple(base.LayerChoice(name, {}, 0.5) for name in ("a", "b")))
    assert tied.headline.layer == "b"


@pytest.mark.parametrize(
    ("split", "labels", "message"),
    [
        ("train", np.zeros_like, "all labels are class 0.*choose another"),
        ("train", lambda y: np.where(y == 1, -1, y), "20 of 60 images have no label.*grid.targets"),
        ("train", lambda y: np.where(y == 2, 0, y), "val.safetensors: class 2 is not in the train"),
        ("val", lambda y: np.where(y == 1, -1, y), "no label"),
        ("val", lambda y: y + 1, "class 3 is not in the train split; split"),
        ("val", np.zeros_like, "all 30 labels of val are class 0, so it cannot choose"),
        ("test", lambda y: y + 1, "test.safetensors: class 3 is not in the train split"),
        ("test", lambda y: -np.ones_like(y), "45 of 45 images have no label"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(features_dir, rewrite, split, labels, message):
    rewrite(split, labels=labels)
    with pytest.raises(UserError, match=message):
        probe("knn", features_dir)


def test_files_that_cannot_be_used_are_refused(features_dir, rewrite):
    with pytest.raises(UserError, match=r"no layer 'third' \(it has: first, second\); run extract"):
        run_probe(protocols.load("knn"), features_dir, ("third",), None)
    rewrite("train", first=np.full((60, 8), np.nan, np.float32))
    with pytest.raises(UserError, match="'first' holds NaN or infinity; the pretraining diverged"):
        probe("knn", features_dir)
    (features_dir / "train.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(UserError, match="damaged file"):
        probe("knn", features_dir)
    (features_dir / "train.safetensors").unlink()
    with pytest.raises(UserError, match="file not found"):
        probe("knn", features_dir)


def test_unknown_protocol_lists_the_known_ones():
    known = ", ".join(protocols.names())
    with pytest.raises(UserError, match=f"unknown protocol 'base'; known: {known}"):
        protocols.load("base")
