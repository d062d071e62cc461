"""List the data sets: what conf/data knows, and of what kind each is.

example: sslbench datasets --json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.commands._listing import describe_listing, show
from sslbench.core import params, pipeline
from sslbench.data.torchvision_sets import SETS
from sslbench.presets import CONF

describe = describe_listing


def execute(arguments: argparse.Namespace) -> int:
    """Print them."""
    path = Path(pipeline.PARAMS)
    used = params.load(path)["grid"]["datasets"] if path.exists() else []
    rows = [
        {
            "name": name,
            "kind": block["kind"],
            "status": "in the grid" if name in used else "available",
            "block": f"conf/data/{file.stem}.yaml",
        }
        for file in sorted((CONF / "data").glob("*.yaml"))
        for name, block in params.load(file).items()
    ]
    there = {row["name"] for row in rows}
    rows += [
        {"name": name, "kind": "torchvision", "status": "available", "block": "copy cifar10's"}
        for name in SETS
        if name not in there
    ]
    show(rows, as_json=arguments.json)
    return 0
