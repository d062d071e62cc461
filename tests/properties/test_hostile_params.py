"""Any YAML document: accepted and hashed, or one line; never another exception."""

import json

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sslbench import presets
from sslbench.commands.docs import params_schema
from sslbench.core import params, pipeline
from sslbench.pretraining.settings import Budget, Recipe
from tests.conftest import ROOT
from tests.properties.hostile import ANYTHING, accepted, mutated

SMOKE = yaml.safe_load(presets.compose("smoke", conf=ROOT / "conf"))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
# Pieces of YAML's grammar, put together at random.
PIECES = st.sampled_from(
    ["a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", "!!set ",
     "!!python/name:os.system",
     "!!binary ", "'", '"', "\\ud800", "<<: ", "? ", "|", ">", "#", "---", "...", "%YAML 9", "1",
     "2020-13-45", "0x", "1e9", ".inf", "~", "\t", "\x00", "é", ","]
)  # fmt: skip


def load(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("p") / "params.yaml"
    path.write_bytes(content)
    return path, accepted(params.load, path)


@given(st.lists(PIECES, max_size=30).map("".join).map(str.encode) | st.binary(max_size=60))
@example(b"a: &a [*a]")
@example(b"a: " + b"[" * 100_000)
def test_any_text_is_a_mapping_or_one_line(tmp_path_factory, content):
    _, found = load(tmp_path_factory, content)
    if found is not None:
        json.dumps(found, sort_keys=True)


@given(st.dictionaries(st.text(max_size=5), PLAIN))
def test_a_plain_document_comes_back_as_it_was_written(tmp_path_factory, content):
    """As the values that JSON keeps; YAML 1.2's floats are not 1.1's, which composing sees to."""
    text = yaml.safe_dump(content, allow_unicode=True)
    path, found = load(tmp_path_factory, text.encode("utf-8", "surrogatepass"))
    if found is not None:
        path.write_text(yaml.safe_dump(found))
        assert params.load(path) == found == yaml.load(text, Loader=params._Loader)


@given(mutated(SMOKE))
def test_a_grid_of_any_shape_makes_sound_cells_or_one_line(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("g")
    (folder / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    (folder / "params.yaml").write_text(json.dumps(values))
    for cell in accepted(pipeline.cells, folder) or ():
        assert set("".join(cell.outs)) <= set("abcdefghijklmnopqrstuvwxyz0123456789_/.")
        assert not set(cell.command) & set(";&|$`'\"\\<>(){}*?~#\n")
        assert ".." not in cell.command


@given(ANYTHING, st.sampled_from([Budget, Recipe]))
def test_a_block_of_any_shape_is_built_or_one_line(values, kind):
    accepted(params.build, kind, values, "block")


@given(mutated(SMOKE["recipes"]["rotation"]))
def test_a_recipe_with_one_fault_is_built_or_one_line(values):
    accepted(params.build, Recipe, values, "recipes.rotation")


@settings(max_examples=max(10, settings.default.max_examples // 10))  # a third of a second each
@given(st.text("[]{}:,&*!|>-'\"\n 1a.", max_size=20), st.sampled_from(["grid", "grid.methods"]))
def test_any_change_composes_or_is_one_line(text, key):
    from jsonschema import Draft202012Validator

    made = accepted(presets.compose, "smoke", [f"{key}={text}"], ROOT / "conf")
    if made is not None and Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(made)):
        assert params.parse(made)["grid"]["seeds"] == [0, 1]


SCHEMA = params_schema()
