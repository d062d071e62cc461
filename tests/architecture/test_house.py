"""The house rules that a reader relies on."""

import ast
import dataclasses
from pathlib import Path

import pytest
import yaml

from sslbench import methods
from tests.architecture import source

ROOT = Path(__file__).parents[2]
METHOD_NAMES = methods.names()
RECIPES = sorted((ROOT / "conf" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_method_inherits_once_and_exports_method_and_params(name):
    tree = ast.parse((ROOT / f"sslbench/methods/{name}.py").read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    bases = {base.id for c in classes for base in c.bases if isinstance(base, ast.Name)}
    assert bases <= {"Method", "Protocol"}
    module = methods.load(name)
    assert dataclasses.is_dataclass(module.Params)
    assert module.METHOD.__mro__[1].__name__ == "Method"
    fields = dataclasses.fields(module.Params)
    assert all(
        f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        for f in fields
    ), "numbers live in params.yaml only"


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize("field", ["Paper", "Code", "Family", "Views", "Differs"])
def test_a_method_says_where_it_comes_from(name, field):
    text = ast.get_docstring(ast.parse((ROOT / f"sslbench/methods/{name}.py").read_text()))
    assert field in text


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipe_blocks_and_method_files_are_the_same_set(path):
    content = yaml.safe_load(path.read_text())
    for section in ("methods", "recipes"):
        if "include" in content:
            assert set(content.get(section, ())) <= set(METHOD_NAMES)
        else:
            assert set(content[section]) == set(METHOD_NAMES)


@pytest.mark.parametrize("path", source.library_files(), ids=source.label)
def test_a_file_has_at_most_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", source.library_files(), ids=source.label)
def test_functions_have_at_most_50_lines(path):
    tree = ast.parse(path.read_text())
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 50
    ]
    assert long == []


@pytest.mark.parametrize("path", sorted((ROOT / "stages").glob("[a-z]*.py")), ids=source.label)
def test_a_stage_has_at_most_100_lines(path):
    assert len(path.read_text().splitlines()) <= 100


def test_the_loop_has_at_most_150_lines():
    assert len((ROOT / "sslbench/pretraining/loop.py").read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", source.library_files(), ids=source.label)
def test_nothing_can_load_a_pickle(path):
    names = source.imported_names(path)
    assert not {"pickle", "cloudpickle", "joblib", "dill", "shelve"} & names
    text = path.read_text()
    for call in ("torch.load(", "torch.save(", "np.save(", "np.load(", "allow_pickle"):
        assert call not in text


def test_only_two_files_import_mlflow():
    users = [p for p in source.library_files() if "mlflow" in source.imported_names(p)]
    names = ["sslbench/tracking/registry.py", "sslbench/tracking/store.py"]
    assert sorted(p.relative_to(ROOT).as_posix() for p in users) == names


def test_no_file_is_called_utils():
    banned = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert not [p for p in source.library_files() if p.name in banned]
