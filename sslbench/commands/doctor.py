"""Look at the environment, the devices, the data roots and the stores; say how to mend them.

examples: sslbench doctor
          sslbench doctor --params     only whether params.yaml is safe to hand to an engine: its
                                       names become paths and shell commands
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from sslbench import lineage, presets
from sslbench.commands._schema import validate
from sslbench.core import params, pipeline, provenance
from sslbench.core.errors import UserError

MIN_FREE_GIB = 5


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--params", action="store_true", help="look at params.yaml and no further")


def execute(arguments: argparse.Namespace) -> int:
    """Print one line per check; return 1 if any is bad.

    Raises:
        UserError: asked for params.yaml alone, which is not as its schema says.
    """
    if arguments.params:
        _valid_params()
        return 0
    bad = 0
    for is_good, line in _checks():
        bad += not is_good
        print(("ok    " if is_good else "BAD   ") + line)
    return 1 if bad else 0


def _checks() -> Iterator[tuple[bool, str]]:
    yield _python()
    yield _locked()
    yield _disk()
    yield _writable()
    yield from _params()
    yield _device()
    yield _tracking()


def _python() -> tuple[bool, str]:
    good = sys.version_info >= (3, 11)
    return good, f"Python {sys.version.split()[0]}" + ("" if good else "; needs 3.11 or later")


def _locked() -> tuple[bool, str]:
    """Compare installed versions with the lock."""
    path = Path(provenance.REQUIREMENTS)
    if not path.exists():
        return False, f"{path} is missing; run from the project's root"
    pins = (line.split("==") for line in path.read_text().splitlines() if "==" in line)
    wrong = [name for name, version in pins if _installed(name) != version.split(" ")[0].strip()]
    if wrong:
        return False, f"{len(wrong)} packages differ from the lock ({wrong[0]} ...); `make setup`"
    return True, "every package is at the locked version"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _disk() -> tuple[bool, str]:
    free = shutil.disk_usage(".").free / 2**30
    return free >= MIN_FREE_GIB, f"{free:.0f} GiB free here (a default grid takes about 1)"


def _writable() -> tuple[bool, str]:
    closed = [f for f in ("data", "runs", "metrics", "report", ".") if not _can_write(Path(f))]
    return not closed, f"cannot write to {closed[0]}" if closed else "results can be written"


def _can_write(folder: Path) -> bool:
    return not folder.exists() or os.access(folder, os.W_OK)


def _params() -> Iterator[tuple[bool, str]]:
    try:
        values = _valid_params()
        cells = pipeline.cells()
    except UserError as error:
        yield False, str(error)
        return
    yield True, f"params.yaml: {len(cells)} cells; presets: {', '.join(presets.presets())}"
    for name, block in values["data"].items():
        root = Path(str(block.get("root", "."))).expanduser()
        if not root.exists():
            yield False, f"data.{name}.root: {root} does not exist; put the images there"


def _valid_params() -> dict[str, Any]:
    values = params.load(Path(pipeline.PARAMS))
    validate(values, pipeline.PARAMS)
    pipeline.cells()
    return values


def _device() -> tuple[bool, str]:
    import torch

    if torch.cuda.is_available():
        return True, f"CUDA device {torch.cuda.get_device_name(0)}"
    return True, f"no CUDA device; {provenance.processor('cpu')}, {os.cpu_count()} cores"


def _tracking() -> tuple[bool, str]:
    from sslbench.tracking import store

    try:
        count = len(store.Store().fingerprints()) if store.exists() else 0
    except Exception as error:
        return False, f"MLflow at {store.uri()}: {type(error).__name__}; is the server up?"
    report = "with a report" if (lineage.NUMBERS).exists() else "no report yet"
    return True, f"MLflow at {store.uri()}: {count} finished runs; {report}"
