"""Make one engine accept what the other one made, after checking that it is sound.

examples: sslbench sync dvc         after Snakemake: checks, then `dvc commit`, then checks again
          sslbench sync snakemake   after `dvc repro` or `dvc pull`: checks, then touches
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from sslbench import lineage
from sslbench.core import pipeline
from sslbench.core.errors import UserError

PROFILE = ["--profile", "workflow/profiles/local"]
SHOWN = 5


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("engine", choices=("dvc", "snakemake"), help="the one that shall accept")


def execute(arguments: argparse.Namespace) -> int:
    """Synchronise."""
    (_to_dvc if arguments.engine == "dvc" else _to_snakemake)()
    return 0


def _to_dvc() -> None:
    """Record in DVC what Snakemake made.

    `dvc commit -f` would accept anything on disk, stale outs too, so it runs only if Snakemake
    wants nothing and every record's fingerprint is that of today's inputs. Where dvc.lock and the
    cache hold all of it, there is nothing to commit, which costs the most by far.
    """
    if "Nothing to be done" not in _run("snakemake", *PROFILE, "-n"):
        raise UserError("Snakemake has work left", mend="run `make snakemake` first")
    _refuse(lineage.check(pipeline.cells(), lock=False))
    if not lineage.check(pipeline.cells(), lock=True) and _is_clean():
        print("dvc.lock records this grid already")
        return
    _run("dvc", "commit", "-f", "-q")
    _refuse(lineage.check(pipeline.cells(), lock=True))
    print("dvc.lock records this grid; commit it with git")


def _to_snakemake() -> None:
    """Let Snakemake accept what DVC checked out: mtimes after a pull are in no order."""
    if not _is_clean():
        raise UserError("dvc status is not clean", mend="run `dvc repro` or `dvc checkout` first")
    _refuse(lineage.check(pipeline.cells(), lock=True))
    _run("snakemake", *PROFILE, "--touch", "--forceall")
    if "Nothing to be done" not in _run("snakemake", *PROFILE, "-n"):
        raise UserError("Snakemake still wants to run", mend="see `snakemake -n`")
    print("Snakemake has nothing to do")


def _is_clean() -> bool:
    """Return whether DVC finds every out in the tree and in its cache, as dvc.lock says."""
    done = subprocess.run(["dvc", "status", "-q"], capture_output=True, check=False)
    return not done.returncode


def _refuse(faults: list[lineage.Fault]) -> None:
    if faults:
        for fault in faults[:SHOWN]:
            print(fault, file=sys.stderr)
        raise UserError(f"{len(faults)} faults; nothing was recorded", mend=faults[0].mend)


def _run(*command: str) -> str:
    """Run an engine and return all it printed.

    Raises:
        UserError: it failed; the message ends with its last line.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise UserError(f"`{' '.join(command)}` failed: {lines[-1]}")
    return done.stdout + done.stderr
