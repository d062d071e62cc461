"""List the data sets: what conf/data knows, and of what kind each is.

example: sslbench datasets --json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench import params, pipeline
from sslbench.commands._listing import describe_listing, show
from sslbench.data.torchvision_sets import SETS
from sslbench.presets import CONF

describe = describe_listing


def execute(arguments: argparse.Namespace) -> int:
    """Print them."""
    path = Path(pipeline.PARAMS)
    used = params.load(path)["grid"]["datasets"] if path.exists() else []
    rows = []
    files = sorted((CONF / "data").glob("*.yaml"))
    for file in files:
        for name, block in params.load(file).items():
            rows.append(
                {
                    "name": name,
                    "kind": block["kind"],
                    "status": "in the grid" if name in used else "available",
                    "block": f"data/{file.stem}",
                }
            )
    named = {params.load(f).get(n, {}).get("name") for f in files for n in params.load(f)}
    rows += [
        {"name": name, "kind": "torchvision", "status": "available", "block": "kind: torchvision"}
        for name in SETS
        if name not in named
    ]
    show(rows, as_json=arguments.json)
    return 0
