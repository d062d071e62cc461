"""List the evaluation protocols: kind, version, and what they measure.

example: sslbench protocols --json
"""

from __future__ import annotations

import argparse

from sslbench.commands._listing import describe_listing, show
from sslbench.evaluation import protocols

describe = describe_listing


def execute(arguments: argparse.Namespace) -> int:
    """Print them."""
    rows = []
    for name in protocols.names():
        module = protocols.load(name)
        summary = (module.__doc__ or "").splitlines()[0]
        row = {"name": name, "version": module.VERSION, "kind": module.KIND, "what": summary}
        rows.append(row)
    show(rows, as_json=arguments.json)
    return 0
