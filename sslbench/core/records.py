"""A cell's record as any hand may have written it: its shape, checked before a number is believed.

Names and units end up in tables that browsers, spreadsheets and shells read, so they are plain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslbench.core import artifacts
from sslbench.core.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@-]*")
_UNIT = re.compile(r"(?:[A-Za-z0-9%][A-Za-z0-9 %./^*-]*)?")
_LONGEST = 500  # characters of a value; MLflow takes 8000
LABELS = ("none", "some", "all")  # how many labels pretraining saw, from fewest to most


def read(path: Path) -> dict[str, Any]:
    """Return the content of a record.

    Raises:
        UserError: the file is absent, or no record.
    """
    content = artifacts.read_json(path)
    if what := fault(content):
        raise UserError(f"damaged record: {what}", where=str(path), mend="run its stage again")
    return dict(content)


def fault(content: Any) -> str:
    """Return what is wrong with the shape of a record, or nothing."""
    if not isinstance(content, dict) or not isinstance(content.get("fingerprint"), str):
        return "no fingerprint in it"
    environment = content.get("environment", {})
    if not isinstance(environment, dict) or not _is_environment(environment):
        return "its environment is not names with short plain values"
    outs = content.get("outs", {})
    if not isinstance(outs, dict) or not all(isinstance(digest, str) for digest in outs.values()):
        return "its outs are not paths with their hashes"
    if content.get("labels", "none") not in LABELS:
        return f"its labels are none of {', '.join(LABELS)}"
    entries = content.get("measurements", [])
    if not isinstance(entries, list) or not all(map(_is_measurement, entries)):
        return "a measurement lacks a metric, a unit, a finite value or which way is better"
    return _history_fault(content.get("history", []))


def _is_environment(found: Any, depth: int = 2) -> bool:
    """Whether values are what one line can show, in mappings at most `depth` deep."""
    if not isinstance(found, dict):
        return found is None or (len(str(found)) <= _LONGEST and str(found).isprintable())
    named = all(_NAME.fullmatch(name) for name in found)
    return depth > 0 and named and all(_is_environment(v, depth - 1) for v in found.values())


def _is_measurement(entry: Any) -> bool:
    if not isinstance(entry, dict) or not is_finite(entry.get("value")):
        return False
    if not isinstance(entry.get("n"), int | None) or not isinstance(entry.get("role", ""), str):
        return False
    layer, unit = entry.get("layer"), entry.get("unit")
    names = (entry.get("metric"), entry.get("split", "test"), *(() if layer is None else (layer,)))
    has_names = all(isinstance(name, str) and _NAME.fullmatch(name) for name in names)
    has_unit = isinstance(unit, str) and _UNIT.fullmatch(unit) is not None
    return has_names and has_unit and isinstance(entry.get("detail") or {}, dict)


def is_finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _history_fault(history: Any) -> str:
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        return "no history in it"
    if any(type(entry.get("epoch")) is not int for entry in history):
        return "an entry of the history lacks its epoch"
    if not all(_are_numbers(entry) for entry in history):
        return "a figure of the history is no number"
    return ""


def _are_numbers(entry: Mapping[str, Any]) -> bool:
    """Whether the figures of an epoch, and those in its `parts` and `health`, are numbers."""
    groups = [entry, *(entry.get(name) or {} for name in ("parts", "health"))]
    if not all(isinstance(group, dict) for group in groups):
        return False
    plain = [value for group in groups for value in group.values() if not isinstance(value, dict)]
    return all(value is None or is_finite(value) for value in plain)
