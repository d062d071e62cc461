"""List the methods: family, paper, and whether the default grid runs them.

example: sslbench methods --json
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

from sslbench import methods
from sslbench.commands._listing import describe_listing, field, show
from sslbench.core import params as parameters
from sslbench.core import pipeline

describe = describe_listing


def facts() -> list[dict[str, str]]:
    """Return one row per method, read from its file's docstring without importing it."""
    grid = _grid()
    rows = []
    for name in methods.names():
        source = Path(methods.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        text = ast.get_docstring(ast.parse(source)) or ""
        rows.append(
            {
                "name": name,
                "family": field(text, "Family"),
                "status": "in the grid" if name in grid else "available",
                "paper": field(text, "Paper"),
                "idea": text.splitlines()[0],
            }
        )
    return rows


def _grid() -> list[str]:
    path = Path(pipeline.PARAMS)
    return list(parameters.load(path)["grid"]["methods"]) if path.exists() else []


def execute(arguments: argparse.Namespace) -> int:
    """Print them."""
    show(facts(), as_json=arguments.json)
    return 0
