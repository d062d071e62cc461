"""DVC and Snakemake describe one graph: the same commands, inputs, outputs and parameters."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench import presets
from sslbench.core import params as parameters
from sslbench.core import pipeline
from sslbench.core.pipeline import EVALUATIONS

ROOT = Path(__file__).parents[2]
PARTS = ("dvc.yaml", "Snakefile", "workflow", "conf", "stages", "sslbench", "params.yaml")
# Beside the committed grid one whose methods continue each other, and one of every protocol.
GRIDS = {
    "committed": None,
    "successors": ("default", "grid.methods=[simclrv2, simclrv2_finetune, simclrv2_distill]"),
    "protocols": ("evaluation", "grid.methods=[random_init]"),
}


@pytest.fixture(scope="module", params=GRIDS)
def empty(request, tmp_path_factory):
    """A copy of the tree without a single result."""
    folder = tmp_path_factory.mktemp("graph")
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=skip)
        else:
            shutil.copy2(source, folder / name)
    if GRIDS[request.param]:
        preset, *changes = GRIDS[request.param]
        (folder / "params.yaml").write_text(presets.compose(preset, changes, ROOT / "conf"))
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    return folder


@pytest.fixture(scope="module")
def jobs(empty):
    """Snakemake's jobs, read from a forced dry run: outputs -> (inputs, command)."""
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--forceall", "--cores", "2"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    text = done.stdout + done.stderr
    for block in re.split(r"\n(?=rule |localrule )", text):
        outputs = re.search(r"^    output: (.*)$", block, re.M)
        if not outputs:
            continue
        inputs = re.search(r"^    input: (.*)$", block, re.M)
        shell = re.search(r"^Shell command: (.*)$|^(python -m stages.*)$", block, re.M)
        shell_text = (shell.group(1) or shell.group(2)) if shell else ""
        key = frozenset(outputs.group(1).split(", "))
        found[key] = (set(inputs.group(1).split(", ")), " ".join(shell_text.split()))
    return found


def _cells(folder):
    return pipeline.cells(folder)


def test_both_engines_have_the_same_jobs(empty, jobs):
    ours = {frozenset(cell.outs) for cell in _cells(empty)}
    assert ours == set(jobs)


def test_commands_are_the_same(empty, jobs):
    for cell in _cells(empty):
        assert jobs[frozenset(cell.outs)][1] == cell.command, cell.name


def test_inputs_are_the_same(empty, jobs):
    writers = pipeline.producers(empty)
    for cell in _cells(empty):
        expected = set()
        for path in pipeline.expand_inputs(cell, writers):
            if (empty / path).is_dir():
                files = (empty / path).rglob("*.py")
                expected |= {p.relative_to(empty).as_posix() for p in files}
            else:
                expected.add(path)
        assert jobs[frozenset(cell.outs)][0] == expected, cell.name


def test_our_reading_of_the_graph_is_dvcs(empty):
    from dvc.repo import Repo

    with Repo(str(empty)) as repo:
        theirs = {
            stage.name: (
                " ".join(stage.cmd.split()),
                {dep.def_path for dep in stage.deps if dep.def_path != "params.yaml"},
                {out.def_path for out in stage.outs},
                {key for dep in stage.deps for key in getattr(dep, "params", ())},
            )
            for stage in repo.index.stages
        }
    ours = {
        cell.name: (cell.command, set(cell.deps), set(cell.outs), set(cell.params))
        for cell in pipeline.cells(empty)
    }
    assert ours == theirs


def test_snakemake_triggers_on_the_slices_that_dvc_declares():
    text = "".join(p.read_text() for p in (ROOT / "workflow/rules").glob("*.smk"))
    stages = parameters.load(ROOT / "dvc.yaml")["stages"]
    for stage in stages:
        written = "stage" if stage in ("transfer", "dense", "video") else f'"{stage}"'
        assert f"slice=slice_of({written})" in text


def test_the_graph_is_acyclic_and_every_out_has_one_writer(empty):
    for cell in pipeline.cells(empty):
        assert pipeline.ancestors(cell, empty)[-1] == cell
    assert len(pipeline.producers(empty)) == sum(len(c.outs) for c in pipeline.cells(empty))


def test_a_successor_stands_on_its_predecessors_of_the_same_seed(empty):
    for cell in pipeline.cells(empty):
        if cell.stage == "continue_pretraining" and cell.item["method"] == "simclrv2_distill":
            seed = cell.item["seed"]
            names = [ancestor.name for ancestor in pipeline.ancestors(cell, empty)]
            assert names == [
                "prepare@scenes",
                f"pretrain@simclrv2-{seed}",
                f"continue_pretraining@simclrv2_finetune-{seed}",
                f"continue_pretraining@simclrv2_distill-{seed}",
            ]


def test_ids_are_plain(root):
    grid = parameters.load(root / "params.yaml")["grid"]
    for axis in (
        "methods",
        "datasets",
        *(a for on, run in EVALUATIONS.items() for a in (on, *run)),
    ):
        assert all(re.fullmatch("[a-z0-9_]+", name) for name in grid[axis])
