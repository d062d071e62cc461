"""Compose a preset in conf/ into params.yaml, the one file that both engines read.

examples: sslbench compose smoke
          sslbench compose default --set grid.seeds=[0,1,2,3,4] --set pretrain.epochs=24
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from sslbench import presets
from sslbench.commands._schema import validate
from sslbench.core import artifacts
from sslbench.core.pipeline import PARAMS


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("preset", help=f"one of: {', '.join(presets.presets())}")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--out", type=Path, default=Path(PARAMS), help="file to write")


def execute(arguments: argparse.Namespace) -> int:
    """Write params.yaml."""
    text = presets.compose(arguments.preset, arguments.changes)
    validate(yaml.safe_load(text), str(arguments.out))
    artifacts.write_text(arguments.out, text)
    print(f"{arguments.out}: {arguments.preset}")
    return 0
