"""Names that somebody else wrote: no shell, path or module is reached through one of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sslbench import cli, methods, presets
from sslbench.core import git, params, pipeline
from sslbench.core.errors import UserError
from sslbench.data.prepare import prepare
from sslbench.evaluation import protocols
from sslbench.exporting import formats
from stages import _run

HOSTILE = (
    "x; touch pwned; #", "$(touch pwned)", "`touch pwned`", "x | tee pwned", "x' 'y", 'x"y',
    "../x", "../../etc/passwd", "/etc/passwd", "a/b", "x --out elsewhere", "-x", "x\n", "x\ny",
    "", " ", "X", "é", "x\x00", "\x1b[2J",
)  # fmt: skip
AXES = ("datasets", "roots", "methods", "targets", "probes", "seeds", "source")


@pytest.fixture(scope="module")
def smoke(root):
    """The text of the smoke grid's params.yaml."""
    return presets.compose("smoke", conf=root / "conf")


@pytest.fixture
def project(tmp_path, monkeypatch, root, smoke):
    """The graph and the smoke grid, with nothing run."""
    shutil.copy2(root / "dvc.yaml", tmp_path)
    (tmp_path / "workflow").symlink_to(root / "workflow")
    (tmp_path / "conf").symlink_to(root / "conf")
    (tmp_path / "params.yaml").write_text(smoke)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(folder, axis, name):
    """Put a name into one axis of the grid, and everywhere a block of that name is looked for."""
    values = params.load(folder / "params.yaml")
    values["grid"][axis] = name if axis == "source" else [name]
    for section in ("data", "methods", "recipes", "probe"):
        values[section][name] = next(iter(values[section].values()))
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def refusal(*words):
    """Run a command of ours in this process, which has to end as a person's mistake does."""
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_of_the_grid_that_is_no_id_makes_no_cell(project, axis, name):
    spoil(project, axis, name)
    with pytest.raises(UserError, match="no name of a-z") as caught:
        pipeline.cells(project)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", HOSTILE[:7])
def test_doctor_refuses_it_before_an_engine_runs(project, capsys, axis, name):
    spoil(project, axis, name)
    refusal("doctor", "--params")
    assert capsys.readouterr().err.count("\n") == 1


def test_doctor_accepts_the_grid_of_a_preset(project):
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", "--params"])
    assert not caught.value.code


@pytest.mark.slow
@pytest.mark.parametrize("target", ["reproduce", "snakemake"])
def test_make_starts_no_engine_on_a_hostile_grid(project, root, target):
    """With wrappers that mark what ran in place of an installed environment."""
    shutil.copy2(root / "Makefile", project)
    (project / "requirements.lock").touch()
    spoil(project, "datasets", HOSTILE[0])
    tools = project / "venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("dvc", "snakemake"):
        (tools / name).write_text("#!/bin/sh\ntouch engine-ran\n")
    (tools / "sslbench").write_text(f'#!/bin/sh\nexec {sys.executable} -m sslbench.cli "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    (project / "venv" / ".ready").touch()
    environment = {**os.environ, "PYTHONPATH": str(root), "SSLBENCH_VENV": "venv"}
    done = subprocess.run(
        ["make", target], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode, done.stdout
    assert "params.yaml" in done.stderr
    assert not (project / "engine-ran").exists()


@pytest.mark.slow
def test_dvc_itself_runs_no_method_that_has_no_file(project):
    """A method's and a protocol's file is a dep, so DVC stops before it asks the shell."""
    values = yaml.safe_load((project / "dvc.yaml").read_text())
    kept = values["stages"]["pretrain"]
    kept["deps"] = [dep for dep in kept["deps"] if "item.method" in dep]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"pretrain": kept}}))
    spoil(project, "roots", HOSTILE[0])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro"]):
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, check=False
        )
    assert "No such file" in done.stderr
    assert not list(project.rglob("pwned"))


LOADERS = {"method": methods.load, "protocol": protocols.load, "format": formats.load}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("name", [*HOSTILE, "os", "base", "parts", "parts.teacher", "__init__"])
def test_no_module_is_imported_by_such_a_name(kind, name):
    before = set(sys.modules)
    with pytest.raises(UserError, match=f"unknown {kind}"):
        LOADERS[kind](name)
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_no_data_set_is_written_under_such_a_name(tmp_path, name):
    with pytest.raises(UserError, match="must be of a-z"):
        prepare(name, {"kind": "digits"}, tmp_path / "out")
    assert not list(tmp_path.iterdir())


COMMANDS = (
    *(("trace", f"{name}/simclr/knn/top1", "--at=HEAD") for name in HOSTILE[:10]),
    *(("trace", f"scenes/simclr/knn/{name}") for name in HOSTILE),
    *(("verify", f"scenes/{name}/knn/top1") for name in HOSTILE[:10]),
    *(("trace", "scenes/rotation/knn/top1", f"--at={name}") for name in HOSTILE[:12]),
    *(("trace", f"--touched-by={name}") for name in HOSTILE[:12]),
    ("trace", "scenes/rotation/knn/top1", "--at=--output=pwned"),
    ("trace", "--touched-by=--output=pwned"),
    ("export", "../../x", "0", "--format", "onnx"),
    ("export", "x; touch pwned", "0", "--format", "safetensors"),
    ("compose", "../params"),
    ("compose", "/etc/passwd"),
)


@pytest.mark.parametrize("words", [words for words in COMMANDS if "\x00" not in "".join(words)])
def test_a_command_refuses_such_a_name_in_one_line(project, capsys, words):
    (project / "report").mkdir()
    (project / "report/numbers.csv").write_text("id,value\n")
    before = sorted(project.rglob("*"))
    refusal(*words)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("include: [../../secret]\n", "include"),
        ("include: [smoke]\n", "includes itself"),
        ("include: 5\n", "include"),
        ("include: [/etc/passwd]\n", "include"),
        ("grid: !!python/object/apply:os.system ['touch pwned']\n", "not valid YAML"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: *nowhere\n", "not valid YAML"),
        ("grid: 5\n", "no grid"),
        ("a: 1\na: 2\n", "not valid YAML"),
        ("\xff", "not valid YAML"),
    ],
)
def test_a_hostile_preset_is_one_line(tmp_path, text, says):
    (tmp_path / "smoke.yaml").write_bytes(text.encode("latin-1"))
    (tmp_path.parent / "secret.yaml").write_text("a: 1\n")
    with pytest.raises(UserError, match=says):
        presets.compose("smoke", conf=tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        "grid.methods=!!python/object/apply:os.system ['touch pwned']",
        "grid.methods=5", "grid.methods=[[a]]", "grid.seeds=[a]", "grid=5", "grid=null",
        "grid.source=[a]", "methods=5", "recipes=[a]", "pretrain.epochs=&a [*a]",
        "pretrain.epochs=" + "[" * 5000, "pretrain.epochs=" + "9" * 5000, "pretrain", "=",
        "a.b.c=1",
    ],
)  # fmt: skip
def test_a_hostile_change_is_one_line(root, change):
    with pytest.raises(UserError):
        presets.compose("smoke", [change], root / "conf")


def test_a_change_with_a_line_break_writes_no_line_of_its_own(root):
    text = presets.compose("smoke", ["grid.seeds=[0,\n1]"], root / "conf")
    assert "--set grid.seeds=[0, 1]`" in text.splitlines()[0]
    assert yaml.safe_load(text)["grid"]["seeds"] == [0, 1]


@pytest.mark.parametrize("threads", ["2; touch pwned", 0, -1, True, 1.5, None, [1], 10**9])
def test_threads_are_a_number_that_a_machine_has(threads):
    with pytest.raises(UserError, match="whole number"):
        _run._threads({"compute": {"probe_threads": threads}}, "compute.probe_threads")


DOCUMENTS = {
    "tag": "a: !!python/object/apply:os.system ['touch pwned']",
    "aliases": "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi")),  # noqa: B905
    "itself": "a: &a [*a]",
    "deep": "a: " + "[" * 100_000,
    "long number": "a: " + "1" * 5000,
    "no such day": "a: 2020-13-45",
    "day": "a: 2020-01-02",
    "bytes": "a: !!binary aGVsbG8=",
    "set": "a: !!set {x}",
    "number as key": "1: a",
    "list": "[a]",
    "half a letter": 'a: "\\ud800"',
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_hostile_document_is_one_line(tmp_path, kind):
    path = tmp_path / "params.yaml"
    path.write_text(DOCUMENTS[kind])
    with pytest.raises(UserError, match=r"params\.yaml") as caught:
        params.load(path)
    assert str(caught.value).isprintable()
    assert not (Path.cwd() / "pwned").exists()


def test_an_error_prints_nothing_that_a_terminal_obeys():
    said = str(UserError("\x1b]0;owned\x07 \udcff\n\u202e" + "x" * 10_000, where="a\tb"))
    assert said.isprintable()
    assert len(said) <= 4000
    said.encode()


def test_a_diff_that_is_not_utf8_is_no_traceback(tmp_path):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    (tmp_path / "a.txt").write_bytes(b"caf\xe8\n")
    said = git.ask(tmp_path, "diff", "HEAD")
    assert "\\xe8" in said
    said.encode()
