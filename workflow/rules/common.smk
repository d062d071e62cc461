# Path patterns and wildcard constraints; no logic. Code dependencies come from dvc.yaml.
import os

from sslbench.core import pipeline
from sslbench.core.params import select
from sslbench.core.pipeline import EVALUATIONS

GRID = config["grid"]
SOURCE = GRID["source"]
SUCCESSORS = [method for method in GRID["methods"] if method not in GRID["roots"]]
SPLITS = ("train", "val", "test")
CHECKPOINT = "runs/{method}/seed{seed}/checkpoint"
FEATURES = "runs/{method}/seed{seed}/features/{dataset}"
# What a stage that can use a GPU asks for: a turn on one machine, a GPU on a cluster.
NUM_GPUS = 0 if os.environ.get("SSLBENCH_DEVICE") == "cpu" else 1


wildcard_constraints:
    dataset="[a-z0-9_]+",
    method="[a-z0-9_]+",
    protocol="[a-z0-9_]+",
    seed="[0-9]+",


def predecessor(wildcards):
    return GRID["successors"][f"{wildcards.method}-{wildcards.seed}"]["predecessor"]


def cell_of(stage, wildcards):
    item = dict(wildcards.items())
    if stage == "continue_pretraining":
        item["predecessor"] = predecessor(wildcards)
    return pipeline.find_by_item(stage, item)


def code(stage):
    return lambda wildcards: [
        d for d in cell_of(stage, wildcards).deps if d.endswith(".py")
    ]


def packages(stage):
    """Return every file of the folders of code that a stage depends on."""
    return lambda wildcards: pipeline.folder_files(cell_of(stage, wildcards))


def slice_of(stage):
    """Return the slices of params.yaml that a cell may read: the trigger for a re-run."""
    return lambda wildcards: {
        k: select(config, k) for k in cell_of(stage, wildcards).params
    }


def records(targets, protocols):
    return expand(
        "metrics/{dataset}/{protocol}/{method}/seed{seed}.json",
        dataset=GRID[targets],
        protocol=[name for axis in protocols for name in GRID[axis]],
        method=GRID["methods"],
        seed=GRID["seeds"],
    )
