from dataclasses import dataclass
from typing import Literal

import pytest

from sslbench.core import params
from sslbench.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Inner:
    scale: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Outer:
    epochs: int
    rate: float
    name: Literal["sgd", "adam"]
    clip: float | None
    inner: tuple[Inner, ...]


GOOD = {"epochs": 2, "rate": 1, "name": "sgd", "clip": None, "inner": [{"scale": [0.1, 1]}]}


def test_builds_nested_values_with_their_types():
    made = params.build(Outer, GOOD, "outer")
    assert made == Outer(
        epochs=2, rate=1.0, name="sgd", clip=None, inner=(Inner(scale=(0.1, 1.0)),)
    )
    assert isinstance(made.rate, float)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": 3}, "outer: unknown key 'epoch'"),
        ({"epochs": "two"}, "outer.epochs: expected int, found 'two'"),
        ({"epochs": True}, "outer.epochs: expected int, found True"),
        ({"epochs": 2.5}, "outer.epochs: expected int, found 2.5"),
        ({"name": "rmsprop"}, "outer.name: 'rmsprop' is not one of"),
        ({"inner": [{"scale": [0.1]}]}, "outer.inner[0].scale: expected 2 values, found 1"),
        ({"inner": [{}]}, "outer.inner[0]: missing key 'scale'"),
        ({"clip": "high"}, "outer.clip: expected float, found 'high'"),
    ],
)
def test_refuses_with_the_keys_path(change, says):
    with pytest.raises(UserError) as error:
        params.build(Outer, {**GOOD, **change}, "outer")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_number_is_an_error_not_a_default():
    values = {key: value for key, value in GOOD.items() if key != "rate"}
    with pytest.raises(UserError, match="missing key 'rate'"):
        params.build(Outer, values, "outer")


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_reads_small_numbers_as_dvc_does(tmp_path, text):
    from ruamel.yaml import YAML

    path = tmp_path / "params.yaml"
    path.write_text(f"rate: {text}\n")
    assert params.load(path)["rate"] == 1e-3 == YAML(typ="safe").load(path.read_text())["rate"]


def test_select_lists_what_there_is():
    with pytest.raises(UserError, match=r"no key 'a\.c'.*at a: b"):
        params.select({"a": {"b": 1}}, "a.c")


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "\x00"])
def test_a_broken_file_is_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        params.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_yaml_tag_builds_no_object(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError):
        params.load(path)
