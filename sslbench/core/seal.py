"""Files that nobody may open for a while: the test split, while a protocol chooses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_shut: set[Path] = set()


@contextmanager
def shut(path: Path) -> Iterator[None]:
    """Refuse `check(path)` within the block, in this process."""
    _shut.add(path.resolve())
    try:
        yield
    finally:
        _shut.remove(path.resolve())


def check(path: Path) -> None:
    """Refuse a file that is shut; readers of splits call this first.

    Raises:
        RuntimeError: the file is shut: a protocol looks for what it must not see.
    """
    if _shut and path.resolve() in _shut:
        raise RuntimeError(f"{path}: the test split is shut while a protocol chooses")
