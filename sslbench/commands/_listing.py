"""Printing a list of things as an aligned table or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence


def describe_listing(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="a list of objects, for programs")


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows; the first row's keys are the columns."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    if not rows:
        return
    columns = list(rows[0])
    widths = {c: max(len(c), *(len(str(row[c])) for row in rows)) for c in columns}
    for row in ({c: c.upper() for c in columns}, *rows):
        print("  ".join(str(row[c]).ljust(widths[c]) for c in columns).rstrip())


def field(text: str, name: str) -> str:
    """Return a `Name   value` field of a module's docstring, continuation lines joined."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith(f"{name} ") or f"  {name} " in line:
            value = line.split(name, 1)[1].strip()
            for other in ("Views",):
                value = value.split(f"  {other} ")[0].strip() if other != name else value
            for more in lines[number + 1 :]:
                if not more.startswith("   "):
                    break
                value += " " + more.strip()
            return value
    return ""
