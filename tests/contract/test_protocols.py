"""Every file in protocols/ keeps the contract; files are found by listing the folder."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sslbench import presets
from sslbench.core import params
from sslbench.evaluation import protocols

ROOT = Path(__file__).parents[2]
NAMES = protocols.names()
PAGE = ROOT / "docs" / "protocols.md"
# What a probe may import: numbers in, numbers out. No files, no processes, no introspection.
PROBE_IMPORTS = (
    *("__future__", "collections", "dataclasses", "itertools", "math", "typing", "numpy", "scipy"),
    *("sslbench.core.errors", "sslbench.core.feature_file", "sslbench.evaluation"),
)
FORBIDDEN_CALLS = {"open", "eval", "exec", "__import__", "globals", "vars", "input"}


def kinds():
    return [(name, protocols.load(name).KIND) for name in NAMES]


PROBES = [name for name, kind in kinds() if kind == "probe"]


def tree(name):
    return ast.parse(Path(protocols.load(name).__file__).read_text())


def imports(name):
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("name", NAMES)
def test_names_and_version(name):
    module = protocols.load(name)
    assert name == module.NAME
    assert isinstance(module.VERSION, int)
    assert module.VERSION >= 1
    assert module.KIND in ("probe", "transfer", "dense", "video")
    assert module.LABELS in ("one", "several", "either", "none")
    for field in ("Source", "Chosen"):
        assert f"\n{field} " in module.__doc__, f"docstring lacks {field}"
    assert "https://" in module.__doc__


def test_the_documented_versions_are_those_in_code():
    rows = re.findall(r"^\| (\w+)[^|]*\| (\w+) \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
    coded = [protocols.load(name) for name in NAMES]
    assert set(rows) == {(one.NAME, one.KIND, str(one.VERSION)) for one in coded}


@pytest.mark.parametrize("name", NAMES)
def test_params_are_frozen_without_defaults(name):
    kind = protocols.load(name).Params
    assert kind.__dataclass_params__.frozen
    for field in dataclasses.fields(kind):
        assert field.default is dataclasses.MISSING, field.name
        assert field.default_factory is dataclasses.MISSING, field.name
        assert f"{field.name}:" in kind.__doc__, f"{field.name} is not documented"


@pytest.mark.parametrize(("name", "kind"), kinds())
def test_the_choice_is_made_without_test(name, kind):
    module = protocols.load(name)
    subject = [] if kind == "probe" else ["subject"]
    chooses = list(inspect.signature(module.choose).parameters)
    measures = list(inspect.signature(module.measure).parameters)
    assert chooses == [*subject, "train", "val", "params"]
    assert measures == ["choice", *subject, "train", "val", "test"]


@pytest.mark.parametrize(("name", "kind"), kinds())
def test_conf_has_a_block_of_valid_params(name, kind):
    section = "probe" if kind == "probe" else "transfer"
    axis = {"probe": "probes", "transfer": "transfers"}.get(kind, f"{kind}_transfers")
    changes = [f"grid.{axis}=[{name}]", "pretrain.keep_every_epochs=1"]
    content = yaml.safe_load(presets.compose("default", changes, ROOT / "conf"))
    assert params.build(protocols.load(name).Params, content[section][name], f"{section}.{name}")


def test_conf_has_no_block_without_a_protocol():
    content = params.load(ROOT / "conf" / "parts" / "protocols.yaml")
    written = sorted((name, section) for section in content for name in content[section])
    section = {"probe": "probe"}
    assert written == sorted((name, section.get(kind, "transfer")) for name, kind in kinds())


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_reaches_no_files(name):
    for module in imports(name):
        assert module.startswith(PROBE_IMPORTS), f"{name} imports {module}"
    assert not set(imports(name)) & {
        "sslbench.evaluation.protocols.parts.probe",
        "sslbench.evaluation.protocols.parts.transfer",
    }
    called = {
        node.func.id
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & FORBIDDEN_CALLS


def test_no_probe_imports_anything_slow():
    code = (
        "import sys, sslbench.evaluation.protocols.parts.probe, sslbench.evaluation.statistics\n"
        "from sslbench.evaluation import protocols\n"
        f"[protocols.load(name) for name in {PROBES}]\n"
        "slow = ('torch', 'sklearn', 'scipy', 'lightly', 'pyarrow')\n"
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
