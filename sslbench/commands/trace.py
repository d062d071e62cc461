"""Show everything that one number of the report stands on.

examples: sslbench trace scenes/simclr/linear/top1
          sslbench trace digits/byol/knn/top1 --json
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from sslbench import lineage
from sslbench.core import provenance


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("id", metavar="ID", help="dataset/method/protocol/metric")
    parser.add_argument("--json", action="store_true", help="for programs")


def execute(arguments: argparse.Namespace) -> int:
    """Print the trace."""
    number = lineage.find_number(arguments.id)
    traced = lineage.trace(arguments.id)
    traced["number"] = dict(number.row)
    traced["git"] = provenance.git_state()
    for step in traced["cells"]:
        step["introduced_by_commit"] = provenance.commit_of(step)
    traced["mlflow"] = _runs(traced["cells"])
    if arguments.json:
        print(json.dumps(traced, indent=2, sort_keys=True))
    else:
        print("\n".join(_lines(traced)))
    return 0


def _runs(cells: list[dict[str, Any]]) -> dict[str, str | None]:
    """Return the MLflow run of each cell, or None where the store has none."""
    from sslbench.tracking import store

    mirror = store.Store() if store.exists() else None
    found: dict[str, str | None] = {}
    for cell in cells:
        run = mirror.find(store.FINGERPRINT, cell["fingerprint"]) if mirror else None
        found[cell["cell"]] = run.info.run_id if run else None
    return found


def _lines(traced: dict[str, Any]) -> list[str]:
    number = traced["number"]
    lines = [
        f"{traced['id']} = {number['value']} [{number['ci_low']}, {number['ci_high']}]"
        f" over seeds {number['seeds']}",
        f"commit {traced['git']['commit'] or 'none'}"
        + (" + uncommitted changes" if traced["git"]["dirty_diff_sha256"] else ""),
    ]
    for cell in traced["cells"]:
        lines += ["", *_cell_lines(cell, traced["mlflow"][cell["cell"]])]
    return lines


def _cell_lines(cell: dict[str, Any], run: str | None) -> list[str]:
    environment = cell["environment"]
    lines = [
        cell["cell"],
        f"  command      {cell['command']}",
        f"  fingerprint  {cell['fingerprint']}",
        f"  commit       {cell['introduced_by_commit'] or 'not committed yet'}",
        f"  mlflow run   {run or 'none in this store; run `sslbench publish`'}",
        f"  computed on  {environment.get('processor')}, {environment.get('threads')} thread(s),"
        f" lock {environment.get('lock_md5')}",
    ]
    lines += [f"  value        {v['metric']} = {v['value']}" for v in cell["values"]]
    lines += [f"  reads        {md5}  {path}" for path, md5 in cell["deps"].items()]
    lines += [f"  params       {key}: {value}" for key, value in cell["params"].items()]
    return lines + [f"  wrote        {md5}  {path}" for path, md5 in cell["outs"].items()]
