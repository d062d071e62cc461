"""Remove records under metrics/ that today's grid does not name (they would be refused).

examples: sslbench prune         only lists them
          sslbench prune --yes   removes them; `dvc checkout` of an old commit brings them back
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sslbench.core import pipeline


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--yes", action="store_true", help="remove, do not only list")


def execute(arguments: argparse.Namespace) -> int:
    """List or remove."""
    named = set(pipeline.producers())
    stray = [p for p in sorted(Path("metrics").rglob("*")) if p.is_file()]
    stray = [path for path in stray if path.as_posix() not in named]
    for path in stray:
        print(path)
        if arguments.yes:
            path.unlink()
    if arguments.yes:
        folders = sorted((p for p in Path("metrics").rglob("*") if p.is_dir()), reverse=True)
        for folder in folders:
            if not any(folder.iterdir()):
                folder.rmdir()
    elif stray:
        print(f"{len(stray)} stray records; `sslbench prune --yes` removes them")
    return 0
