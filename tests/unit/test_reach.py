"""From data, files, parameters and commits to the evaluations that they touch."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sslbench import presets
from sslbench.core import pipeline
from sslbench.core.errors import UserError
from sslbench.reach import reach

ROOT = Path(__file__).parents[2]
KNN = {f"{data}/{m}/knn" for data in ("scenes", "digits") for m in ("random_init", "rotation")}
ALL = KNN | {name.replace("knn", "linear") for name in KNN}
CHANGES = ["grid.targets=[scenes,digits]", "grid.methods=[random_init,rotation]"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A repository with the graph, a small grid, and one commit for each kind of change."""
    folder = tmp_path_factory.mktemp("reach")
    shutil.copy2(ROOT / "dvc.yaml", folder)
    text = presets.compose("smoke", CHANGES, ROOT / "conf")
    (folder / "params.yaml").write_text(text)
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    commit(folder, "all")
    (folder / "params.yaml").write_text(text.replace("k: [5, 20, 100]", "k: [5]"))
    commit(folder, "parameter")
    (folder / "sslbench/methods").mkdir(parents=True)
    (folder / "sslbench/methods/rotation.py").write_text("")
    commit(folder, "method")
    graph = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(
        graph.replace("python -m stages.probe", "python -m  stages.probe -q")
    )
    commit(folder, "command")
    (folder / "README.md").write_text("")
    commit(folder, "words")
    return folder


def commit(folder, name):
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    if not (folder / ".git").exists():
        subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", name], check=True)
    subprocess.run([*git, "tag", name], check=True)


@pytest.mark.parametrize(
    ("what", "kind", "touched"),
    [
        ("data/scenes/train.arrow", "file", ALL),
        ("sslbench/evaluation/protocols/knn.py", "file", KNN),
        ("sslbench/views/colour.py", "file", ALL),
        ("runs/rotation/seed1", "file", {name for name in ALL if "rotation" in name}),
        ("digits", "data set", {name for name in ALL if name.startswith("digits")}),
        ("probe.knn.k", "parameter", KNN),
        ("probe", "parameter", ALL),
        ("methods.rotation", "parameter", {name for name in ALL if "rotation" in name}),
        ("parameter", "commit", KNN),
        ("method", "commit", {name for name in ALL if "rotation" in name}),
        ("command", "commit", ALL),
        ("words", "commit", set()),
    ],
)
def test_what_is_touched(tree, what, kind, touched):
    found = reach(what, tree)
    assert found.kind == kind
    assert set(found.numbers) == touched
    assert set(found.first) <= set(found.cells)


def test_cells_come_in_running_order_and_end_with_the_report(tree):
    found = reach("probe.knn.k", tree)
    order = [cell.name for cell in pipeline.cells(tree)]
    assert list(found.cells) == sorted(found.cells, key=order.index)
    assert found.cells[-1] == "report"


def test_the_grid_is_said_to_be_no_input(tree):
    with pytest.raises(UserError, match=r"grid.seeds decides which cells there are"):
        reach("grid.seeds", tree)


@pytest.mark.parametrize("what", ["", "nothing/here.py", "--help", "probe.knn.kk.x", "HEAD~99"])
def test_nonsense_is_one_line(tree, what):
    with pytest.raises(UserError, match=r"no cell reads|no key"):
        reach(what, tree)
