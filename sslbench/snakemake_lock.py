"""Takes away the lock that a killed Snakemake left; that of a living one stays.

Snakemake's own lock is a file that says what is locked and not by whom, so after `kill -9` it asks
for `--unlock`. Here every Snakemake that reads the Snakefile holds a shared file lock until it
ends, which the kernel takes back from the dead: who can have it alone is alone.
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO

PRESENCE = Path(".snakemake/presence.lock")
LOCKS = Path(".snakemake/locks")
_held: list[IO[str]] = []  # open, and so locked, until this process ends


def join() -> None:
    """Say that this Snakemake is here, and clear a dead one's lock where nobody else is."""
    PRESENCE.parent.mkdir(exist_ok=True)
    handle = PRESENCE.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        shutil.rmtree(LOCKS, ignore_errors=True)
        LOCKS.mkdir(exist_ok=True)  # Snakemake made it before it read the Snakefile
    fcntl.flock(handle, fcntl.LOCK_SH)
    _held.append(handle)
