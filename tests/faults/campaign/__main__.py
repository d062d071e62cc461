"""Faults done for real to a tiny project; afterwards one command must bring the same bytes.

example: python -m tests.faults.campaign --docs docs/reliability.md
         python -m tests.faults.campaign --only flips torn_lock --tries 1

Each fault gets a fresh copy of a project that ran undisturbed, does its damage, and runs the
command that the table names. Some need root (they mount small file systems) or an SSH server, and
say so where they are left out.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from tests.faults.campaign import disks, kills, page, sharing, tracking
from tests.faults.campaign.project import Bench, Try

FAULTS = {
    "every_stage": kills.every_stage,
    "storm": kills.storm,
    "schedulers": kills.schedulers,
    "two_runs": sharing.two_runs,
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
    parser.add_argument("--json", type=Path, help="write every try to this file")
    parser.add_argument("--docs", type=Path, help="write the table into this page")
    arguments = parser.parse_args()
    found: list[Try] = []
    started, skipped = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="sslbench-faults-") as work:
        bench = Bench(Path(work).resolve(), arguments.seed)
        for name in arguments.only:
            able, why = NEEDS.get(name, (lambda: True, ""))
            if not able():
                skipped.append(f"{name} left out: {why}.\n")
                continue
            found += _all_of(name, bench, arguments)
    minutes = (time.monotonic() - started) / 60
    good = sum(one.same and not one.said for one in found)
    closing = f"{good} of {len(found)} tries without fault, in {minutes:.0f} minutes.\n"
    text = page.table(found) + "\n" + "".join(skipped) + closing
    print(text)
    if arguments.docs:
        options = [] if arguments.only == list(FAULTS) else ["--only", *arguments.only]
        options += [f"--tries {arguments.tries}", f"--seed {arguments.seed}"]
        command = " ".join(["python -m tests.faults.campaign", *options])
        page.write(arguments.docs, f"`{command}`\n\n{text}")
    sys.exit(good != len(found))


def _all_of(name: str, bench: Bench, arguments: argparse.Namespace) -> list[Try]:
    """Return a fault's tries; what goes wrong in the campaign itself is a try that failed."""
    found = []
    try:
        for one in FAULTS[name](bench, arguments.tries):
            found.append(one)
            word = "ok " if one.same and not one.said else "BAD"
            print(word, one, file=sys.stderr, flush=True)
            _keep(arguments.json, one)
    except Exception as error:  # the other faults are still worth doing
        traceback.print_exc()
        found.append(Try(name, "", False, 0, 0, f"the campaign stopped: {error!r}"[:200], ""))
    return found


def _keep(path: Path | None, one: Try) -> None:
    if path:
        with path.open("a") as handle:
            handle.write(json.dumps(asdict(one)) + "\n")


if __name__ == "__main__":
    main()
