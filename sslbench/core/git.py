"""Questions to git; the answer is None where git, the repository or the object is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def ask(root: Path, *arguments: str) -> str | None:
    """Return what a git command prints, without space around it, or None where it fails.

    Bytes that are not UTF-8 (a diff shows files as they are) come back as escapes.
    """
    command = ["git", "-C", str(root), *arguments]
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="backslashreplace",
        check=False, env=quiet,
    )  # fmt: skip
    return done.stdout.strip() if done.returncode == 0 else None


def commit(name: str, root: Path) -> str | None:
    """Return the full id of a commit by any of its names, or None."""
    asked = f"{name}^{{commit}}"
    return ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", asked)
