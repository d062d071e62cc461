"""Questions to git; the answer is None where git, the repository or the object is missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def ask(root: Path, *arguments: str) -> str | None:
    """Return what a git command prints, without space around it, or None where it fails."""
    command = ["git", "-C", str(root), *arguments]
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    return done.stdout.strip() if done.returncode == 0 else None


def commit(name: str, root: Path) -> str | None:
    """Return the full id of a commit by any of its names, or None."""
    asked = f"{name}^{{commit}}"
    return ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", asked)
