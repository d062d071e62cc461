"""Linear and SVM probes on several labels: scikit-learn's optimum, and what cannot be learned."""

import numpy as np
import pytest

from sslbench.core.errors import UserError
from sslbench.core.feature_file import Features, id_hashes, keyed, write_features
from sslbench.evaluation.protocols import linear, svm_map
from sslbench.evaluation.protocols.parts.average_precision import area, eleven_point
from sslbench.evaluation.protocols.parts.probe import run_probe

LINEAR = linear.Params(
    log10_c_low=-2.0, log10_c_high=1.0, num_c=4, tolerance=1e-5, max_iterations=500
)
SVM = svm_map.Params(
    costs=(0.1, 1.0, 10.0), folds=3, positive_weight=2.0, tolerance=1e-6, max_iterations=2000
)
PARAMS = [(linear, LINEAR), (svm_map, SVM)]
DIRECTIONS = np.random.default_rng(5).normal(size=(8, 4))


def split(name, size, seed, change=lambda targets: targets):
    """Four classes, each there where a direction of the clean features says so."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(size, 8))
    targets = (clean @ DIRECTIONS + rng.normal(size=(size, 4)) > 1).astype(np.int8)
    noisy = clean + 4 * rng.normal(size=clean.shape)
    layers = {"first": noisy.astype(np.float32), "second": clean.astype(np.float32)}
    ids = id_hashes([f"{name}/{row}" for row in range(size)])
    return Features(name, np.full(size, -1), layers, ids, change(targets))


def splits(change=lambda targets: targets):
    return split("train", 90, 0, change), split("val", 60, 1, change), split("test", 70, 2, change)


def measure(module, params, train, val, test):
    return module.measure(module.choose(train, val, params), train, val, test)


@pytest.mark.parametrize(("module", "params"), PARAMS)
def test_measurements_on_several_labels(module, params):
    rows = measure(module, params, *splits())
    assert [(row.metric, row.role, row.layer) for row in rows] == [
        ("map_11point", "headline", "second"),
        ("map_area", "headline", "second"),
        ("map_11point", "layer", "first"),
        ("map_11point", "layer", "second"),
    ]
    assert rows[0].value == rows[3].value > rows[2].value
    assert rows[0].per_sample is None
    assert [row.standard_error is not None for row in rows] == [True, True, False, False]
    assert 0 < rows[1].standard_error < 0.1
    assert "classes_left_out" not in rows[0].detail
    assert 0.6 < rows[1].value < 1


@pytest.mark.parametrize(("module", "params"), PARAMS)
def test_the_layer_that_is_best_on_test_is_not_chosen_there(module, params):
    train, val, test = splits()
    turned = {"first": test.layers["second"], "second": test.layers["first"]}
    other = Features("test", test.labels, turned, test.ids, test.targets)
    rows = measure(module, params, train, val, other)
    assert [row.layer for row in rows[:2]] == ["second", "second"]
    assert rows[0].value == rows[3].value < rows[2].value


def test_linear_has_sklearns_margins():
    from sklearn.linear_model import LogisticRegression

    train, val, test = splits()
    rows = measure(linear, LINEAR, train, val, test)
    x = np.concatenate([train.layers["second"], val.layers["second"]])
    y = np.concatenate([train.targets, val.targets])
    mean, deviation = train.layers["second"].mean(0), train.layers["second"].std(0)
    features, queries = ((z - mean) / deviation for z in (x, test.layers["second"]))
    c = rows[0].detail["c"]
    ours = linear._log_odds(features, y, queries, [c], LINEAR)[0]
    aps = []
    for index in range(4):
        theirs = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(features, y[:, index])
        found = theirs.decision_function(queries)
        assert np.abs(ours[:, index] - found).max() < 1e-2
        aps.append(eleven_point(found, test.targets[:, index] == 1))
    assert rows[0].value == pytest.approx(np.mean(aps), abs=0.02)


def test_svm_takes_the_cost_that_cross_validation_prefers():
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import LinearSVC

    train, val, test = splits()
    choice = svm_map.choose(train, val, SVM)
    x = np.concatenate([train.layers["second"], val.layers["second"]]).astype(float)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    queries = test.layers["second"] / np.linalg.norm(test.layers["second"], axis=1, keepdims=True)
    y = 2 * np.concatenate([train.targets, val.targets]).astype(int) - 1
    aps = []
    for index in range(4):
        machines = [
            LinearSVC(C=c, class_weight={1: 2, -1: 1}, dual=True, max_iter=20_000, random_state=0)
            for c in SVM.costs
        ]
        values = [
            cross_val_score(m, x, y[:, index], cv=3, scoring="average_precision").mean()
            for m in machines
        ]
        chosen = int(np.argmax(values))
        assert choice.costs["second"][index] == SVM.costs[chosen]
        machine = machines[chosen].fit(x, y[:, index])
        aps.append(area(machine.decision_function(queries), test.targets[:, index] == 1))
    rows = svm_map.measure(choice, train, val, test)
    assert rows[1].value == pytest.approx(np.mean(aps), abs=1e-3)


@pytest.mark.parametrize(("module", "params"), PARAMS)
def test_an_unsaid_label_is_neither_there_nor_not(module, params):
    """Images of which nothing is known change nothing, wherever they lie."""

    def hide(targets):
        targets = targets.copy()
        targets[::3] = -1
        return targets

    def known(features):
        rows = np.arange(len(features.labels)) % 3 > 0
        layers = {name: values[rows] for name, values in features.layers.items()}
        return Features(features.split, features.labels[rows], layers, features.ids[rows],
                        features.targets[rows])  # fmt: skip

    hidden = splits(hide)
    train, val, test = hidden
    # linear standardises with every image of train, labelled or not: keep the train rows there
    fewer = (train, *(known(s) for s in (val, test)))
    ours, theirs = (measure(module, params, *given) for given in (hidden, fewer))
    assert [row.value for row in ours] == pytest.approx([row.value for row in theirs])


@pytest.mark.parametrize(("module", "params"), PARAMS)
def test_a_class_that_cannot_be_taught_or_tested_is_left_out(module, params):
    def never(targets):
        targets = targets.copy()
        targets[:, 2] = 0
        return targets

    train, val = split("train", 90, 0, never), split("val", 60, 1, never)
    untaught = measure(module, params, train, val, split("test", 70, 2))
    untested = measure(module, params, *splits()[:2], split("test", 70, 2, never))
    for rows in (untaught, untested):
        assert all(row.detail["classes_left_out"] == [2] for row in rows)
        assert all(np.isfinite(row.value) for row in rows)


@pytest.mark.parametrize(("module", "params"), PARAMS)
def test_a_split_without_positives_is_refused(module, params):
    train, val, _ = splits()
    with pytest.raises(UserError, match="the test split: no class was learned and has positives"):
        measure(module, params, train, val, split("test", 70, 2, np.zeros_like))


@pytest.mark.parametrize(("module", "params"), PARAMS)
def test_a_split_without_targets_is_refused(module, params):
    train, val, test = splits()
    bare = Features("test", test.labels, test.layers, test.ids)
    with pytest.raises(UserError, match="the test split: has no targets"):
        measure(module, params, train, val, bare)


def test_svm_gives_a_rare_class_the_lowest_cost():
    def rare(targets):
        targets = targets.copy()
        targets[:, 1] = 0
        targets[:2, 1] = 1
        return targets

    train, val = split("train", 90, 0, rare), split("val", 60, 1, lambda t: t * [1, 0, 1, 1])
    assert svm_map.choose(train, val, SVM).costs["second"][1] == 0.1
    one = np.zeros((90, 4), np.int8)
    one[0] = 1
    poor = split("train", 90, 0, lambda targets: one)
    with pytest.raises(UserError, match="no class has 3 images with and 3 without it"):
        svm_map.choose(poor, split("val", 60, 1, np.zeros_like), SVM)


def test_svm_reads_one_label_as_one_hot(features_dir):
    result = run_probe(svm_map, features_dir, ("first", "second"), SVM)
    assert [row.metric for row in result.measurements] == [
        "map_11point", "map_area", "map_11point", "map_11point",
    ]  # fmt: skip
    assert result.measurements[0].value > 0.7


def test_the_runner_lets_several_labels_through(tmp_path):
    for features in splits():
        arrays = keyed(features.labels, features.layers, features.ids, features.targets)
        write_features(tmp_path, features.split, arrays)
    result = run_probe(linear, tmp_path, ("first", "second"), LINEAR)
    assert result.to_json()["per_sample"] is None
    assert result.measurements[0].metric == "map_11point"


@pytest.mark.parametrize(
    "change", [{"costs": ()}, {"costs": (1.0, 0.1)}, {"folds": 1}, {"tolerance": 0.0}]
)
def test_svm_params_without_meaning_are_refused(change):
    with pytest.raises(ValueError, match=r"ascending|positive numbers"):
        svm_map.Params(**{**SVM.__dict__, **change})
