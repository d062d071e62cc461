"""Label lists by a rule that cannot drift, and the probe on few labels."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sslbench.core.feature_file import Features, id_hashes
from sslbench.evaluation.protocols import lowshot
from sslbench.evaluation.protocols.parts import label_lists

PARAMS = lowshot.Params(
    shots=(1, 2, 5, 10), percents=(1, 10), draws=3, c=10.0, tolerance=1e-3, max_iterations=200
)


def split(name, size, seed, num_classes=3, noise=1.0):
    centres = np.random.default_rng(9).normal(size=(num_classes, 6))
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % num_classes
    clean = (centres[labels] + noise * rng.normal(size=(size, 6))).astype(np.float32)
    noisy = (clean + 4 * rng.normal(size=clean.shape)).astype(np.float32)
    ids = id_hashes([f"{name}/{row}.png" for row in range(size)])
    return Features(name, labels, {"first": noisy, "second": clean}, ids)


def probe(train, params=PARAMS):
    val, test = split("val", 45, 1), split("test", 60, 2)
    return lowshot.measure(lowshot.choose(train, val, params), train, val, test)


def test_the_rule_is_pinned():
    """A new digest here is a new rule: raise the VERSION of label_lists and of lowshot."""
    ids, labels = id_hashes([f"class{i % 4}/{i}.png" for i in range(80)]), np.arange(80) % 4
    places = label_lists.places(ids, labels, draw=1)
    assert np.flatnonzero(places < 2).tolist() == [4, 13, 15, 18, 46, 47, 56, 73]
    assert label_lists.digest(ids[places < 2]) == (
        "ab0ca2b5cffeb875003dbfcf807e1e11fa88071f63abf3ee0accb425c33a0571"
    )


def test_a_list_does_not_depend_on_order_or_on_what_classes_are_called():
    train = split("train", 60, 0)
    order = np.random.default_rng(0).permutation(60)
    places = label_lists.places(train.ids, train.labels, 0)
    moved = label_lists.places(train.ids[order], 7 - 2 * train.labels[order], 0)
    assert np.array_equal(places[order], moved)
    assert label_lists.digest(train.ids) == label_lists.digest(train.ids[order])


def test_lists_are_nested_balanced_and_differ_between_draws():
    train = split("train", 60, 0)
    draws = [label_lists.places(train.ids, train.labels, draw) for draw in range(5)]
    for places in draws:
        for count in (1, 2, 5, 20):
            assert np.bincount(train.labels[places < count]).tolist() == [count] * 3
            assert set(np.flatnonzero(places < count)) <= set(np.flatnonzero(places < count + 1))
    assert len({label_lists.digest(train.ids[places < 2]) for places in draws}) == 5


def test_first_places_are_drawn_evenly():
    ids, labels = id_hashes([str(i) for i in range(10)]), np.zeros(10, int)
    firsts = [int(label_lists.places(ids, labels, draw).argmin()) for draw in range(2000)]
    counts = np.bincount(firsts, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # chi squared, 9 degrees: 1 in 1,000


def test_measurements_of_few_labels():
    rows = probe(split("train", 120, 0))
    headlines = [row for row in rows if row.role == "headline"]
    names = ["1shot", "2shot", "5shot", "10shot", "1percent", "10percent"]
    assert [row.metric for row in headlines] == [f"top1_{name}" for name in names]
    assert [row.detail["labels"] for row in headlines] == [3, 6, 15, 30, 3, 12]
    assert [(row.metric, row.layer) for row in rows[6:]] == [
        ("top1_1shot", "first"), ("top1_1shot", "second"),
    ]  # fmt: skip
    assert rows[0].value == rows[7].value
    for row in rows:
        assert row.value == pytest.approx(np.mean(row.detail["draws"]))
        assert len(row.detail["draws"]) == len(row.detail["lists"]) == 3
    assert headlines[0].per_sample.mean() == pytest.approx(headlines[0].value)
    assert headlines[0].per_sample.dtype == np.float32
    assert headlines[3].value > max(headlines[0].value, 1 / 3)  # more labels help
    assert headlines[0].detail["lists"] == headlines[4].detail["lists"]  # 1 % of 120 is 1 a class
    json.dumps([row.to_json() for row in rows], allow_nan=False)


def test_values_are_sklearns_on_the_listed_images():
    """Centred by train wherever queries lie, rows of length one; the layer by the most labels."""
    from sklearn.linear_model import LogisticRegression

    params = replace(PARAMS, shots=(2, 10), percents=(), c=100.0, tolerance=1e-5)
    train, val, test = (
        replace(s, layers={name: x + shift for name, x in s.layers.items()})
        for s, shift in ((split("train", 120, 0), 3), (split("val", 45, 1), 3.5),
                         (split("test", 300, 2), 4))
    )  # fmt: skip

    def unit(features, layer):
        centred = features.layers[layer] - train.layers[layer].mean(axis=0)
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)

    def theirs(layer, count, queries):
        for draw in range(params.draws):
            rows = label_lists.places(train.ids, train.labels, draw) < count
            fit = LogisticRegression(C=params.c, tol=1e-8, max_iter=9999)
            fit.fit(unit(train, layer)[rows], train.labels[rows])
            yield fit.score(unit(queries, layer), queries.labels)

    choice = lowshot.choose(train, val, params)
    expected = [np.mean(list(theirs(layer, 10, val))) for layer in train.layers]
    assert [chosen.val for chosen in choice.layers] == pytest.approx(expected, abs=0.01)
    for row, count in zip(lowshot.measure(choice, train, val, test), (2, 10), strict=False):
        drawn = list(theirs(row.layer, count, test))
        assert row.detail["draws"] == pytest.approx(drawn, abs=0.01)


def test_no_other_label_of_train_is_used():
    train = split("train", 60, 0)
    labels, used = train.labels.copy(), np.zeros(60, bool)
    for draw in range(3):
        used |= label_lists.places(train.ids, train.labels, draw) < 1
    features = train.layers["second"].copy()
    features[~used] = features[~used].mean(axis=0)  # the mean, which needs no label, stays
    changed = Features("train", labels, {"second": features}, train.ids)
    one = lowshot.Params(**{**PARAMS.__dict__, "shots": (1,), "percents": ()})
    before = probe(Features("train", labels, {"second": train.layers["second"]}, train.ids), one)
    after = probe(changed, one)
    assert before[0].detail["draws"] == after[0].detail["draws"]


def test_a_class_that_is_too_small_gives_all_it_has():
    rows = probe(split("train", 12, 0))
    assert rows[3].detail["labels"] == 12
    assert rows[3].detail["note"] == "3 of 3 classes have fewer than 10 images"
    assert "note" not in rows[1].detail


@pytest.mark.parametrize(
    "change", [{"shots": (0,)}, {"shots": (), "percents": ()}, {"percents": (101,)}, {"draws": 0},
               {"c": 0.0}],
)  # fmt: skip
def test_params_without_meaning_are_refused(change):
    with pytest.raises(ValueError, match=r"percent|positive"):
        lowshot.Params(**{**PARAMS.__dict__, **change})
