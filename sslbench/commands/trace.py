"""Show everything that one number stands on, or which numbers something touches.

--at reads an earlier commit's graph and dvc.lock instead of today's: nothing need be on disk,
and values are shown where DVC's cache has their records.

examples: sslbench trace scenes/simclr/linear/top1
          sslbench trace digits/byol/knn/top1 --json
          sslbench trace scenes/simclr/linear/top1 --at v1.0
          sslbench trace --touched-by sslbench/views/colour.py
          sslbench trace --touched-by probe.knn.k       (also a data set, or a commit)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from sslbench import lineage, past
from sslbench.core import provenance
from sslbench.core.errors import UserError
from sslbench.reach import Reach, reach


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("id", metavar="ID", nargs="?", help="dataset/method/protocol/metric")
    parser.add_argument("--at", metavar="COMMIT", help="as that commit's dvc.lock records it")
    parser.add_argument(
        "--touched-by", metavar="WHAT", help="a file, folder, data set, parameter or commit"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def execute(arguments: argparse.Namespace) -> int:
    """Print the trace."""
    if (arguments.id is None) == (arguments.touched_by is None):
        mend = "write `sslbench trace ID`, or `sslbench trace --touched-by WHAT`"
        raise UserError("give the ID of a number, or --touched-by", mend=mend)
    if arguments.touched_by is not None:
        found = reach(arguments.touched_by)
        _print(dataclasses.asdict(found), _reach_lines(found), as_json=arguments.json)
        return 0
    traced = past.trace(arguments.id, arguments.at) if arguments.at else _today(arguments.id)
    traced["mlflow"] = _runs(traced["cells"])
    _print(traced, _lines(traced), as_json=arguments.json)
    return 0


def _print(content: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    print(json.dumps(content, indent=2, sort_keys=True) if as_json else "\n".join(lines))


def _today(identifier: str) -> dict[str, Any]:
    """Return the trace of a number of today's report."""
    number = lineage.find_number(identifier)
    traced = lineage.trace(identifier)
    traced["number"] = dict(number.row)
    traced["git"] = provenance.git_state()
    for step in traced["cells"]:
        step["introduced_by_commit"] = provenance.commit_of(step)
    return traced


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
    lines = _head(traced)
    for cell in traced["cells"]:
        lines += ["", *_cell_lines(cell, traced["mlflow"][cell["cell"]])]
    return lines


def _head(traced: dict[str, Any]) -> list[str]:
    if "number" not in traced:
        return [traced["id"], f"as recorded by commit {traced['commit']}"]
    number, git = traced["number"], traced["git"]
    dirty = " + uncommitted changes" if git["dirty_diff_sha256"] else ""
    ends = f" [{number['ci_low']}, {number['ci_high']}] ({number['interval']})"
    lines = [
        f"{traced['id']} = {number['value']} {number['unit']}"
        f"{ends if number['ci_low'] else ''} of seeds {number['seeds']}",
        f"commit {git['commit'] or 'none'}{dirty}",
    ]
    if changed := sum(cell["changed"] for cell in traced["cells"]):
        lines.append(
            f"stale: {changed} of {len(traced['cells'])} cells ran with other code, parameters or"
            " inputs than below; `sslbench trace ID --at COMMIT` shows a recorded run"
        )
    return lines


def _cell_lines(cell: dict[str, Any], run: str | None) -> list[str]:
    environment = cell["environment"]
    lines = [
        cell["cell"],
        f"  command      {cell['command']}",
        f"  fingerprint  {cell['fingerprint']}"
        + (", not that of what it reads and its params below" if cell.get("changed") else ""),
    ]
    if "introduced_by_commit" in cell:
        lines.append(f"  commit       {cell['introduced_by_commit'] or 'not committed yet'}")
    lines.append(f"  mlflow run   {run or 'none in this store; run `sslbench publish`'}")
    if environment:
        lines.append(
            f"  computed on  {environment.get('processor')}, {environment.get('threads')}"
            f" thread(s), lock {environment.get('lock_md5')}"
        )
    elif cell["record"]:
        lines.append(f"  computed on  not at hand: `dvc fetch` brings {cell['record']}")
    lines += [f"  value        {v['metric']} = {v['value']}" for v in cell["values"]]
    lines += [f"  reads        {md5}  {path}" for path, md5 in cell["deps"].items()]
    lines += [f"  params       {key}: {value}" for key, value in cell["params"].items()]
    return lines + [f"  wrote        {md5}  {path}" for path, md5 in cell["outs"].items()]


def _reach_lines(found: Reach) -> list[str]:
    lines = [
        f"{found.kind} {found.what}: cells that read it: {len(found.first)}, below them:"
        f" {len(found.cells) - len(found.first)}",
        "",
        f"evaluations it touches, all seeds of each: {len(found.numbers)}",
    ]
    return lines + [f"  {name}" for name in found.numbers]
