"""A chain of methods, for real: both engines order it and agree on its bytes."""

from __future__ import annotations

import json

import pytest

from sslbench.core import provenance
from tests.golden.test_pipeline import checkout, hashes, run, snakemake, sslbench

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pipeline")]
CHANGES = (
    # Not in running order: the graph's edges must order them.
    "grid.methods=[simclrv2_distill, simclrv2_finetune, simclrv2]",
    "grid.seeds=[0]",
    "grid.probes=[knn]",
    "methods.simclrv2_finetune.labels.per_class=2",
)
CHAIN = [
    "pretrain@simclrv2-0",
    "continue_pretraining@simclrv2_finetune-0",
    "continue_pretraining@simclrv2_distill-0",
]


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("dvc"), *CHANGES)
    run(folder, "dvc", "repro", "-q")
    return folder


def test_both_engines_run_the_chain_and_accept_each_other(by_dvc, tmp_path):
    by_snakemake = checkout(tmp_path, *CHANGES)
    snakemake(by_snakemake)
    sslbench(by_snakemake, "sync", "dvc")
    assert hashes(by_dvc) == hashes(by_snakemake)
    assert "Running stage" not in run(by_snakemake, "dvc", "repro").stdout
    sslbench(by_dvc, "sync", "snakemake")
    assert "Nothing to be done" in snakemake(by_dvc, "-n").stdout


def test_a_number_of_the_last_method_is_traced_through_all_three(by_dvc):
    traced = json.loads(
        sslbench(by_dvc, "trace", "scenes/simclrv2_distill/knn/top1", "--json").stdout
    )
    names = [cell["cell"] for cell in traced["cells"]]
    assert [name for name in names if name in CHAIN] == CHAIN
    locked = provenance.lock(by_dvc)
    assert all(
        cell["fingerprint"] == provenance.fingerprint_from_lock(cell["cell"], locked[cell["cell"]])
        for cell in traced["cells"]
    )


def test_verify_recomputes_the_chain_bit_for_bit(by_dvc):
    assert "faults" not in sslbench(by_dvc, "verify").stdout
    done = sslbench(by_dvc, "verify", "scenes/simclrv2_distill/knn/top1", "--recompute")
    assert "identical, bit for bit" in done.stdout


def test_publish_makes_a_run_of_every_cell_once(by_dvc):
    assert "runs made, 0 were there" in sslbench(by_dvc, "publish").stdout
    assert "0 runs made" in sslbench(by_dvc, "publish").stdout
