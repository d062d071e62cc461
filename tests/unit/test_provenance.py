import json
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench.core import pipeline, provenance
from sslbench.core.errors import UserError

GRAPH = """
stages:
  make:
    matrix: {name: "${grid.names}"}
    cmd: python -m stages.make --name ${item.name}
      --out out/${item.name}.txt
    params: ["make.${item.name}"]
    deps: [code, in.txt]
    outs: ["out/${item.name}.txt"]
  join:
    cmd: cat out > all.txt
    deps: [out]
    outs: [all.txt]
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "params.yaml").write_text(
        "grid: {names: [a, b]}\nmake: {a: {rate: 1e-3}, b: {rate: 2}}\n"
    )
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x.py").write_text("x = 1\n")
    (tmp_path / "in.txt").write_text("hello\n")
    return tmp_path


def test_cells_are_expanded_as_dvc_names_them(project):
    cells = pipeline.cells(project)
    assert [cell.name for cell in cells] == ["make@a", "make@b", "join"]
    assert cells[0].command == "python -m stages.make --name a --out out/a.txt"
    assert cells[0].arguments == ["--name", "a", "--out", "out/a.txt"]
    assert cells[0].params == ("make.a",)


def test_ancestors_see_through_folders(project):
    cells = pipeline.cells(project)
    assert [c.name for c in pipeline.ancestors(cells[2], project)] == ["make@a", "make@b", "join"]


def _change_param(project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("1e-3", "1e-4"))


def _change_code(project):
    (project / "code" / "x.py").write_text("x = 2\n")


def _change_input(project):
    (project / "in.txt").write_text("hallo\n")


def _change_command(project):
    path = project / "dvc.yaml"
    path.write_text(path.read_text().replace("--name", "--title"))


@pytest.mark.parametrize("change", [_change_param, _change_code, _change_input, _change_command])
def test_a_fingerprint_follows_every_input(project, change):
    before = provenance.fingerprint(pipeline.find("make@a", project), project)
    change(project)
    assert provenance.fingerprint(pipeline.find("make@a", project), project) != before


def test_a_fingerprint_ignores_another_cells_parameters_and_byte_code(project):
    before = provenance.fingerprint(pipeline.find("make@b", project), project)
    _change_param(project)
    (project / "code" / "__pycache__").mkdir()
    (project / "code" / "__pycache__" / "x.pyc").write_bytes(b"\0")
    assert provenance.fingerprint(pipeline.find("make@b", project), project) == before


def test_a_missing_input_is_named(project):
    (project / "in.txt").unlink()
    with pytest.raises(UserError, match=r"in\.txt: input not found; run"):
        provenance.fingerprint(pipeline.find("make@a", project), project)


@pytest.mark.slow
def test_hashes_and_fingerprints_equal_dvcs_own(project):
    """dvc.lock alone gives the fingerprint that the work tree gives."""
    graph = (project / "dvc.yaml").read_text()
    graph = graph.replace("python -m stages.make --name ${item.name}", "mkdir -p out && echo")
    graph = graph.replace("--out out/${item.name}.txt", "${item.name} > out/${item.name}.txt")
    graph = graph.replace("cat out > all.txt", "cat out/a.txt out/b.txt > all.txt")
    (project / "dvc.yaml").write_text(graph)
    (project / ".gitignore").write_text("/out/\n/all.txt\n")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    (project / ".dvcignore").write_text("__pycache__/\n")
    repro = [sys.executable, "-m", "dvc", "repro", "-q"]
    subprocess.run(repro, cwd=project, check=True, capture_output=True)
    locked = provenance.lock(project)
    assert set(locked) == {"make@a", "make@b", "join"}
    for cell in pipeline.cells(project):
        entry = locked[cell.name]
        theirs = {dep["path"]: dep["md5"] for dep in entry["deps"]}
        assert provenance.hash_deps(cell, project) == theirs
        ours = provenance.fingerprint(cell, project)
        assert provenance.fingerprint_from_lock(cell.name, entry) == ours


def test_the_environment_names_no_machine_or_time(root):
    import socket

    text = json.dumps(provenance.environment("cpu", 2, root))
    assert socket.gethostname() not in text or len(socket.gethostname()) < 3
    assert str(Path.home()) not in text
    assert provenance.environment("cpu", 2, root) == provenance.environment("cpu", 2, root)
