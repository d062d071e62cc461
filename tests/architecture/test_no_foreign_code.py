"""Nothing that we run turns bytes into code: no pickle, no eval, no shell, no unchecked archive.

Every file of ours is looked at, so the import closure of all stages and commands too.
"""

import ast

import pytest

from tests.architecture import source

MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
# Called by these names, whatever they belong to.
CALLS = {
    "extractall", "unpack_archive", "read_pickle", "to_pickle", "unsafe_load", "full_load",
    "run_path", "run_module",
}  # fmt: skip
# Of these modules alone: `load` and `save` are words for safe things too.
OF_MODULE = {
    "torch": {"load", "save", "hub"},
    "np": {"load", "save", "savez"},
    "numpy": {"load", "save", "savez"},
    "os": {"system", "popen", "execv", "spawnv", "spawnl"},
}
KEYWORDS = {"allow_pickle": None, "shell": True, "weights_only": None, "trust_remote_code": None}
# The only files that import by a name, each of which looks the name up in a list of files first;
# and the only one that calls yaml.load, with a loader made from the safe one.
BY_NAME = {
    "sslbench/core/listing.py", "sslbench/backbones/__init__.py", "sslbench/data/prepare.py",
    "sslbench/cli.py", "sslbench/commands/docs.py",
}  # fmt: skip
YAML = {"sslbench/core/params.py"}


def faults_of(text, name=""):
    """Return what in a file's text could run what it reads."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            found += _call_faults(node, name)
    return found


def _call_faults(call, name):
    function, owner = call.func, ""
    if isinstance(function, ast.Attribute):
        owner = ast.unparse(function.value)
        called = function.attr
    else:
        called = function.id if isinstance(function, ast.Name) else ""
    found = []
    if called in CALLS or (called in BUILTINS and not owner):
        found.append(called)
    if called in OF_MODULE.get(owner, ()):
        found.append(f"{owner}.{called}")
    if called == "import_module" and name not in BY_NAME:
        found.append(called)
    if (owner, called) == ("yaml", "load") and name not in YAML:
        found.append("yaml.load")
    if called == "YAML" and any(ast.unparse(k.value) == "'unsafe'" for k in call.keywords):
        found.append("YAML(typ='unsafe')")
    return found + [k.arg for k in call.keywords if _is_bad(k)]


def _is_bad(keyword):
    if keyword.arg not in KEYWORDS:
        return False
    wanted = KEYWORDS[keyword.arg]
    return wanted is None or getattr(keyword.value, "value", True) == wanted


@pytest.mark.parametrize("path", source.library_files(), ids=source.label)
def test_nothing_runs_what_it_reads(path):
    assert faults_of(path.read_text(), source.label(path)) == []


def test_yaml_is_read_with_a_safe_loader():
    import yaml

    from sslbench.core import params

    assert issubclass(params._Loader, yaml.SafeLoader | getattr(yaml, "CSafeLoader", ()))
    assert not issubclass(params._Loader, yaml.UnsafeLoader | yaml.FullLoader)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "import joblib as j", "eval(text)",
        "exec(text)",
        "torch.load(path)", "torch.load(path, weights_only=True)", "np.load(path)",
        "np.frombuffer(x, allow_pickle=True)", "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)", "subprocess.run(text, shell=True)", "run(text, shell=flag)",
        "os.system(text)", "tarfile.open(path).extractall(folder)", "shutil.unpack_archive(path)",
        "importlib.import_module(name)", "YAML(typ='unsafe').load(text)", "pd.read_pickle(path)",
        "torch.hub('x')", "compile(text, '', 'exec')", "__import__(name)",
    ],
)  # fmt: skip
def test_the_scan_sees(text):
    assert faults_of(text)


@pytest.mark.parametrize(
    "text",
    ["re.compile('a')", "network.eval()", "methods.load(name)", "json.loads(text)",
     "subprocess.run(words)", "run(words, shell=False)", "yaml.safe_load(text)"],
)  # fmt: skip
def test_the_scan_leaves_alone(text):
    assert faults_of(text) == []
