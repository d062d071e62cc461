"""Faults done for real to a tiny project; afterwards one command must bring the same bytes.

example: python -m tests.faults.campaign --docs docs/reliability.md
         python -m tests.faults.campaign --only flips torn_lock --tries 1

Each fault gets a fresh copy of a project that ran undisturbed, does its damage, and runs the
command that the table names. Some need root (they mount small file systems) or an SSH server, and
say so where they are left out.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.faults.campaign import disks, kills, page, sharing, tracking
from tests.faults.campaign.project import Bench, Try

FAULTS = {
    "stages_dvc": partial(kills.every_stage, "dvc"),
    "stages_snakemake": partial(kills.every_stage, "snakemake"),
    "storm_dvc": partial(kills.storm, "dvc"),
    "storm_snakemake": partial(kills.storm, "snakemake"),
    "schedulers_dvc": partial(kills.schedulers, "dvc"),
    "schedulers_snakemake": partial(kills.schedulers, "snakemake"),
    "orphan_dvc": partial(sharing.orphan, "dvc"),
    "orphan_snakemake": partial(sharing.orphan, "snakemake"),
    "full": disks.full,
    "read_only": disks.read_only,
    "flips": disks.flips,
    "cache_flips": disks.cache_flips,
    "resume_file": disks.resume_file,
    "torn_lock": disks.torn_lock,
    "rwlock": disks.rwlock,
    "lost_remote": sharing.lost_remote,
    "one_cache": sharing.one_cache,
    "clock": sharing.clock,
    "servers": tracking.servers,
    "locked": tracking.locked,
    "journals": tracking.journals,
}
Group = tuple[str, list[Try], float]  # a fault's name, its tries, seconds for all of them
NEEDS = {
    "full": (disks.can_mount, "mounting a file system is not allowed here"),
    "read_only": (disks.can_mount, "mounting a file system is not allowed here"),
    "lost_remote": (sharing.has_ssh_server, "no SSH server here: install openssh-server"),
}


def main() -> None:
    """Do what is asked for; exit 1 if anything did not come back."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--tries", type=int, default=3, help="of each, at other moments")
    parser.add_argument("--seed", type=int, default=0, help="of moments and bits")
    parser.add_argument("--json", type=Path, help="add every try to this file, a line each")
    parser.add_argument("--go-on", action="store_true", help="keep what --json has, do the rest")
    parser.add_argument("--docs", type=Path, help="write the table into this page")
    arguments = parser.parse_args()
    # A shell's background jobs ignore Ctrl-C, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found, skipped = _earlier(arguments), []
    done = {name for name, _, _ in found}
    with tempfile.TemporaryDirectory(prefix="sslbench-faults-") as work:
        bench = None
        for name in (name for name in arguments.only if name not in done):
            able, why = NEEDS.get(name, (lambda: True, ""))
            if not able():
                skipped.append(f"{name} left out: {why}.\n")
                continue
            bench = bench or Bench(Path(work).resolve(), arguments.seed)
            started = time.monotonic()
            tries = _all_of(name, bench, arguments.tries)
            found.append((name, tries, time.monotonic() - started))
            _keep(arguments.json, found[-1])
    everything = [one for _, tries, _ in found for one in tries]
    minutes = sum(seconds for _, _, seconds in found) / 60
    good = sum(one.same and not one.said for one in everything)
    closing = f"{good} of {len(everything)} tries without fault, in {minutes:.0f} minutes.\n"
    text = page.table(everything) + "\n" + "".join(skipped) + closing
    print(text)
    if arguments.docs:
        page.write(arguments.docs, _origin(arguments, {name for name, _, _ in found}) + text)
    sys.exit(good != len(everything))


def _origin(arguments: argparse.Namespace, done: set[str]) -> str:
    """Return which calls a table is of, and which faults it lacks."""
    if arguments.go_on:
        words = f"--json FILE --go-on --tries {arguments.tries} --seed {arguments.seed}"
        calls = f"one or several calls of `python -m tests.faults.campaign {words}`"
    else:
        words = f"--tries {arguments.tries} --seed {arguments.seed}"
        calls = f"`python -m tests.faults.campaign {words}`"
    lacking = ", ".join(name for name in FAULTS if name not in done)
    return f"From {calls}{'; not in it: ' + lacking if lacking else ''}.\n\n"


def _earlier(arguments: argparse.Namespace) -> list[Group]:
    """Return what an earlier call wrote, if this one shall go on from there."""
    if not arguments.go_on or not arguments.json or not arguments.json.exists():
        return []
    rows = [json.loads(line) for line in arguments.json.read_text().splitlines()]
    found = [(row["name"], [Try(**one) for one in row["tries"]], row["seconds"]) for row in rows]
    return sorted(found, key=lambda group: list(FAULTS).index(group[0]))


def _all_of(name: str, bench: Bench, tries: int) -> list[Try]:
    """Return a fault's tries; what goes wrong in the campaign itself is a try that failed."""
    found = []
    try:
        for one in FAULTS[name](bench, tries):
            found.append(one)
            word = "ok " if one.same and not one.said else "BAD"
            print(word, one, file=sys.stderr, flush=True)
    except Exception as error:  # the other faults are still worth doing
        traceback.print_exc()
        found.append(Try(name, "", False, 0, 0, f"the campaign stopped: {error!r}"[:200], ""))
    return found


def _keep(path: Path | None, group: Group) -> None:
    if path:
        name, tries, seconds = group
        row = {"name": name, "seconds": seconds, "tries": [asdict(one) for one in tries]}
        with path.open("a") as handle:
            handle.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
